"""One query that a client has asked for, its result, and what is asked of whoever runs queries."""

from __future__ import annotations

from typing import Any, Final, Protocol

from camber.sync.messages import Call
from camber.values.timestamp import Timestamp


class Outlet(Protocol):
    """Where the frames of one client go."""

    @property
    def is_full(self) -> bool:
        """Return whether the client takes in too slowly."""

    def write(self, frame: bytes, /) -> None:
        """Write one frame."""


class SharedResult(Protocol):
    """A query's result, shared with all who ask the same."""

    valid_until: Timestamp | None
    #: Transitions that say nothing but this result, by what tells one from another: those of
    #: clients in lock-step are equal. Few, and gone with the result.
    frames: dict[Any, tuple[bytes, ...]] | None
    #: Those whose last Transition said this result, by where it has led them. None for who is
    #: alone there.
    cohorts: dict[Any, Any] | None

    def holds_at(self, ts: Timestamp) -> bool:
        """Return whether this is the query's result at `ts`."""

    def watch(self, watcher: Any, /) -> None:
        """Tell `watcher` when this does not hold any more."""

    def unwatch(self, watcher: Any, /) -> None:
        """Tell `watcher` no more: another watches in its place."""

    @property
    def is_anybodys(self) -> bool:
        """Return whether it is the same for everybody who may ask."""

    @property
    def journal(self) -> str | None:
        """Return what pins the end of its page."""

    @property
    def comparable(self) -> object:
        """Return what is equal for results that a client cannot tell apart."""

    def modification(self, query_id: int) -> bytes:
        """Return the QueryUpdated or QueryFailed of a subscription."""


class Shell(Protocol):
    """What a session is within: who carries out its effects."""

    @property
    def crowd(self) -> Any:
        """Return the shell around all sessions (`cohort.Crowd`); None if this one is to be told by itself."""

    @property
    def outlet(self) -> Outlet:
        """Return where frames go."""

    def find(self, query: Subscription, ts: Timestamp) -> SharedResult | None:
        """Return the query's result at `ts` for the session's identity, if it is known."""

    def invalidated(self, since_s: float | None = None) -> None:
        """Note that a commit has touched a result, now or at `since_s`: a Transition is due."""

    def renew(self, at: Timestamp | None = None) -> None:
        """Let the session begin the Transition that is due; one to `at` will do."""

    def broken(self, error: Exception) -> None:
        """End the connection: it could not be written to."""


class Asker(Protocol):
    """Who has asked: a session."""

    shell: Shell

    def stale(self, query: Subscription) -> None:
        """Take in that the result of a query does not hold any more."""


#: Unlike every result.
_NOTHING: Final[object] = object()


class Subscription:
    """One query that a client has asked for, and what is known of it.

    It watches its result: whoever finds that one stale says so here.
    """

    __slots__ = ("asked", "call", "identity", "journal", "query_id", "result", "sent", "session")

    def __init__(self, session: Asker, query_id: int, call: Call, journal: str | None) -> None:
        self.session = session
        self.query_id = query_id
        self.call = call
        self.journal = journal
        self.result: SharedResult | None = None
        #: The identity version that `result` was computed for.
        self.identity = 0
        #: What was last sent of it on this socket.
        self.sent: object = _NOTHING
        #: The shell's own: under which name it asks for it. None when that has to be found anew.
        self.asked: Any = None

    def invalidated(self, result: object) -> None:
        """Take in that the result does not hold any more."""
        if result is self.result:
            self.session.stale(self)

    def renew(self, at: Timestamp | None = None, landed: object = None) -> None:
        """Ask for the newer result; there is one that holds at `at`, if that is given."""
        del landed
        self.session.shell.renew(at)
