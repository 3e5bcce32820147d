"""What the state machine asks of the shell around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from camber.errors import ErrorKind, RequestError
from camber.sync.messages import Authenticate, Call
from camber.values.timestamp import Timestamp


class SharedResult(Protocol):
    """A query's result, shared with all who ask the same."""

    valid_until: Timestamp | None

    def holds_at(self, ts: Timestamp) -> bool:
        """Return whether this is the query's result at `ts`."""

    @property
    def journal(self) -> str | None:
        """Return what pins the end of its page."""

    @property
    def comparable(self) -> object:
        """Return what is equal for results that a client cannot tell apart."""

    def modification(self, query_id: int) -> bytes:
        """Return the QueryUpdated or QueryFailed of a subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send frames, without others between them. The shell reports when a transition is out."""

    frames: tuple[bytes, ...]
    is_transition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Get a query's result for `identity` at `ts`; report it under `run`."""

    run: int
    call: Call
    journal: str | None
    identity: Any
    ts: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Report when `result`, the one of `query_id` from now on, stops to hold."""

    query_id: int
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatch:
    """The query of `query_id` is not looked at any more."""

    query_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """The socket is one of session `session_id` from now on: no other may start its mutations."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMutation:
    """Run a mutation for `identity`; at most one of a session runs at a time."""

    request_id: int
    call: Call
    identity: Any
    session_id: str | None
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAction:
    """Run an action for `identity`."""

    request_id: int
    call: Call
    identity: Any
    session_id: str | None
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Find out who the client is; take in no other message before it is reported."""

    message: Authenticate


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something for the server's own log."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the socket, after what was sent before."""

    code: int = 1000
    reason: str = ""


Effect: TypeAlias = (
    Send | RunQuery | Watch | Unwatch | Adopt | RunMutation | RunAction | Verify | Note | Close
)

_FATAL = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.CONFLICT})
_FATAL_NAMED = frozenset({ErrorKind.FORBIDDEN, ErrorKind.PAGINATION_LIMIT})
_QUIET = frozenset({ErrorKind.NOT_FOUND, ErrorKind.CLIENT_DISCONNECT})
_INTERNAL = ErrorKind.INTERNAL


def is_fatal(error: RequestError) -> bool:
    """Return whether a client that caused this error must stop for good."""
    return error.kind in _FATAL | _FATAL_NAMED


def close_of(error: RequestError) -> Close:
    """Return how a socket is closed after an error (protocol 3.11, 5.2)."""
    if error.kind in _FATAL:
        return Close()
    if error.kind in _FATAL_NAMED | _QUIET:
        return Close(code=1000, reason=error.code)
    if error.kind is _INTERNAL:
        return Close(code=1011, reason="InternalServerError")
    return Close(code=1013, reason=error.code)
