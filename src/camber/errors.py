"""Every error that Camber raises or reports.

Three kinds of wrong have three mechanisms. The application's or a caller's mistake is a
`CamberError` with a code. A peer's breach of the sync protocol is a `Close` effect of `sync`. Our
own bug is an `assert`, which stops the operation and is never caught.

A code is stable CapitalCamelCase, tested and logged. A sentence says what was wrong, where, with
which value and limit, and what to do about it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any


class ErrorKind(Enum):
    """What a failed request means to the one who sent it (protocol 5.2)."""

    BAD_REQUEST = "BadRequest"
    PAGINATION_LIMIT = "PaginationLimit"
    CONFLICT = "Conflict"
    UNAUTHENTICATED = "Unauthenticated"
    AUTH_UPDATE_FAILED = "AuthUpdateFailed"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    CLIENT_DISCONNECT = "ClientDisconnect"
    RATE_LIMITED = "RateLimited"
    WRITE_CONFLICT = "OCC"
    OVERLOADED = "Overloaded"
    FEATURE_TEMPORARILY_UNAVAILABLE = "FeatureTemporarilyUnavailable"
    REJECTED_BEFORE_EXECUTION = "RejectedBeforeExecution"
    OUT_OF_RETENTION = "OutOfRetention"
    PAYLOAD_TOO_LARGE = "PayloadTooLarge"
    MISDIRECTED = "MisdirectedRequest"
    TOO_EARLY = "TooEarly"
    INTERNAL = "InternalServerError"


class CamberError(Exception):
    """Base of all errors with a code.

    `str(error)` is `Code: sentence`; `.sentence` is the sentence alone.
    """

    #: Stable CapitalCamelCase tag; an instance may carry a more specific one.
    code: str = "CamberError"

    def __init__(self, sentence: str, *, code: str | None = None) -> None:
        if code is not None:
            self.code = code
        self.sentence = sentence
        super().__init__(f"{self.code}: {sentence}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.sentence, self.code))


def _rebuild(kind: type[CamberError], sentence: str, code: str) -> CamberError:
    return kind(sentence, code=code)


class DeveloperError(CamberError):
    """The application's mistake: a failed function result, delivered to the caller as text.

    Raised inside user code (where it may be caught) or before it runs. Protocol 5.1, class 2.
    """

    code = "DeveloperError"


class ArgumentValidationError(DeveloperError):
    """Arguments did not match what the function declares; nothing was executed."""

    code = "ArgumentValidationError"


class ReturnsValidationError(DeveloperError):
    """A result did not match the function's return annotation; nothing was committed."""

    code = "ReturnsValidationError"


class FunctionNotFound(DeveloperError):
    """No function has this path, or it is internal and the caller may not see it."""

    code = "FunctionNotFound"


class IdentityUnverified(DeveloperError):
    """An HTTP action has asked who calls, and the token or key of the request is not valid here."""

    code = "Unauthenticated"


class InvalidFunctionCall(DeveloperError):
    """A function was called as, or from, a kind that may not call it."""

    code = "InvalidFunctionCall"


class RefusedCall(DeveloperError):
    """A query or mutation did what only actions may do; the code says what kind of thing."""

    code = "RefusedCall"


class FunctionError(DeveloperError):
    """A called function failed with something other than an `AppError`; carries its message.

    `str(error)` is that message alone: it names the function and the error.
    """

    code = "FunctionError"
    #: Where it was raised, innermost first, if that was in a run of its own: for people.
    frames: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.sentence


class ActionLost(DeveloperError):
    """An action that was ended before it had; what it did until then stays done."""

    code = "ActionLost"


class RequestError(CamberError):
    """A request that failed as a whole: bad request, refused, overloaded (protocol 5.1, 3 and 4)."""

    code = "InternalServerError"
    kind: ErrorKind = ErrorKind.INTERNAL

    def __init__(
        self, sentence: str, *, code: str | None = None, kind: ErrorKind | None = None
    ) -> None:
        super().__init__(sentence, code=code)
        if kind is not None:
            self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_system, (type(self), self.sentence, self.code, self.kind))


def _rebuild_system(
    kind: type[RequestError], sentence: str, code: str, error_kind: ErrorKind
) -> RequestError:
    return kind(sentence, code=code, kind=error_kind)


class BadRequest(RequestError):
    """The request itself is malformed."""

    code = "BadRequest"
    kind = ErrorKind.BAD_REQUEST


class AuthenticationFailed(RequestError):
    """A token or key that is not valid here."""

    code = "Unauthenticated"
    kind = ErrorKind.UNAUTHENTICATED


class PermissionDenied(RequestError):
    """A key that is valid but does not allow what was asked."""

    code = "Forbidden"
    kind = ErrorKind.FORBIDDEN


class WriteConflict(RequestError):
    """A mutation lost every one of its attempts to concurrent commits (semantics 4.3, 4.4)."""

    code = "OptimisticConcurrencyControlFailure"
    kind = ErrorKind.WRITE_CONFLICT


class TooLarge(RequestError):
    """A body that has more bytes than it may."""

    code = "BodyTooLarge"
    kind = ErrorKind.PAYLOAD_TOO_LARGE


class RateLimited(RequestError):
    """A client that asks too much at once; it may come back in a moment."""

    code = "TooManyMessages"
    kind = ErrorKind.RATE_LIMITED


class Overloaded(RequestError):
    """A bound on queued work was reached; the caller may try again later."""

    code = "TooManyConcurrentRequests"
    kind = ErrorKind.OVERLOADED


class ScheduleFull(Overloaded):
    """So many functions wait for their time that no more may be scheduled; all else goes on."""

    code = "TooManyFunctionsWaiting"


class FeatureUnavailable(RequestError):
    """Something that will be there later is not there yet; the caller may try again."""

    code = "BackendIsNotRunning"
    kind = ErrorKind.FEATURE_TEMPORARILY_UNAVAILABLE


class OutOfRetention(RequestError):
    """The asked timestamp is older than the history that is kept."""

    code = "InternalServerError"
    kind = ErrorKind.OUT_OF_RETENTION


class StorageFailed(RequestError):
    """The store could not read or write; what was asked for was not done, as far as is known."""

    code = "StorageFailed"


class StorageFull(StorageFailed):
    """The store has no room: nothing was written. It writes again as soon as it has some."""

    code = "StorageFull"
    kind = ErrorKind.OVERLOADED


class StorageDamaged(StorageFailed):
    """What is stored is not what was written: the disk, or another program, has changed it."""

    code = "StorageDamaged"


class OutOfMemory(RequestError):
    """A run that found no memory; it may be repeated in a process that has more."""

    code = "OutOfMemory"


class Interrupted(BaseException):
    """User code was stopped. Not an `Exception`, so that user code does not catch it in passing."""

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence


class InjectedError(RequestError):
    """A system error that a test asked for (`camber.testing.system_error`)."""


class AppError(Exception):
    """An error with data for the caller: Convex's `ConvexError`, and named so on the wire.

    `data` is any storable value; it reaches the client whole, in production too.
    """

    #: Where it was raised, innermost first, if that was in a run of its own: for people.
    frames: tuple[str, ...] = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.data = data


class AccessDenied(AppError):
    """A function that its caller may not call, or a write that it may not make.

    Clients get `{"code": …, "message": …}` and nothing that depends on what they asked for: code
    `Unauthenticated` where signing in may help, `Forbidden` where it does not.
    """

    @staticmethod
    def unauthenticated() -> AccessDenied:
        """Return the error for who has not signed in."""
        return AccessDenied.of("Unauthenticated")

    @staticmethod
    def forbidden() -> AccessDenied:
        """Return the error for who has, or would be refused after that too."""
        return AccessDenied.of("Forbidden")

    @staticmethod
    def of(code: str) -> AccessDenied:
        """Return the error of a code."""
        return AccessDenied({"code": code, "message": _DENIED[code]})

    @property
    def code(self) -> str:
        """Return `Unauthenticated` or `Forbidden`."""
        return str(self.data["code"])


_DENIED = {"Unauthenticated": "Sign in first", "Forbidden": "You may not do this"}
