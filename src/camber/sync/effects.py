"""What the state machine asks of the shell around it."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from camber.errors import ErrorKind, RequestError
from camber.sync.messages import Authenticate, Call
from camber.sync.subscription import Subscription
from camber.values.timestamp import Timestamp

# Made many times for each message, so they are structs, given by position where that is plain.


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send one frame."""

    frame: bytes


class Push(msgspec.Struct, frozen=True):
    """Send a Transition, without others between its frames; report when it is out."""

    frames: tuple[bytes, ...]


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Get a query's result for `identity` at `ts`; report it under `run`."""

    run: int
    query: Subscription
    identity: Any
    ts: Timestamp


class Unwatch(msgspec.Struct, frozen=True):
    """The `query` does not look at `result` any more."""

    query: Subscription
    result: Any


class Adopt(msgspec.Struct, frozen=True):
    """The socket is one of session `session_id` from now on: no other may start its mutations."""

    session_id: str


class RunMutation(msgspec.Struct, frozen=True, kw_only=True):
    """Run a mutation for `identity`; at most one of a session runs at a time."""

    request_id: int
    call: Call
    identity: Any
    session_id: str | None
    received_ns: int


class RunAction(msgspec.Struct, frozen=True, kw_only=True):
    """Run an action for `identity`."""

    request_id: int
    call: Call
    identity: Any
    session_id: str | None
    received_ns: int


class Verify(msgspec.Struct, frozen=True):
    """Find out who the client is; take in no other message before it is reported."""

    message: Authenticate


class Note(msgspec.Struct, frozen=True):
    """Something for the server's own log."""

    text: str


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """Close the socket, after what was sent before."""

    code: int = 1000
    reason: str = ""


Effect: TypeAlias = (
    Send | Push | RunQuery | Unwatch | Adopt | RunMutation | RunAction | Verify | Note | Close
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
