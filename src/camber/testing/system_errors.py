"""System errors on demand, where the server was started with `--test-hooks`."""

from __future__ import annotations

from camber.errors import ErrorKind, InjectedError

_KINDS = {
    "OptimisticConcurrencyControlFailure": ErrorKind.WRITE_CONFLICT,
    "TooManyConcurrentRequests": ErrorKind.OVERLOADED,
    "CommitterFullError": ErrorKind.OVERLOADED,
    "ExpiredInQueue": ErrorKind.REJECTED_BEFORE_EXECUTION,
    "SystemTimeoutError": ErrorKind.OVERLOADED,
    "InternalServerError": ErrorKind.INTERNAL,
}


def system_error(code: str) -> InjectedError:
    """Return an error to raise from a function: the run fails as if the server had met it.

    Clients see what they see of a real one: HTTP 503, or the socket closed with 1013. Without
    `--test-hooks` it is an error of the function like any other.

    Raises:
        ValueError: no system error has this code.
    """
    if code not in _KINDS:
        msg = f"{code!r} is no system error; use one of {', '.join(sorted(_KINDS))}"
        raise ValueError(msg)
    return InjectedError("asked for by a test", code=code, kind=_KINDS[code])
