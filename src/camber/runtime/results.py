"""What comes out of functions, as everybody above the runtime sees it.

Values are packed; the JSON of one is made when the first client asks for it and shared by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from camber.engine.transaction import NOTHING_USED, Usage
from camber.functions.accounts import ScanReport
from camber.functions.logs import LogLine
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.wire import encode_json, encode_value


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed function. `message` is what its caller reads, redacted where that is set.

    `data` is the packed data of an application error; None means that it was none.
    """

    message: str
    data: bytes | None
    #: The line that names the error, for functions that called this one and for the operator's
    #: log; never sent to clients.
    headline: str
    #: Where it was raised: the application's own frames, innermost first; for the same log.
    frames: tuple[str, ...] = ()
    #: Whether its process was ended under it: another run may well come to its end.
    was_lost: bool = False

    @property
    def full_text(self) -> str:
        """Return all there is to tell, for whoever operates the server."""
        return "\n".join([self.headline, *(f"    at {frame}" for frame in self.frames)])

    @property
    def comparable(self) -> tuple[str, bytes | None]:
        """Return what tells this failure from another: all but the id of the request."""
        return self.message.partition("\n")[2], self.data

    @cached_property
    def data_json(self) -> bytes | None:
        """Return the data's lossless JSON."""
        return None if self.data is None else encode_value(unpack(self.data))


class Run(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How a run of a function went, for the operator. Callers are not told.

    `log_lines` are whole whether or not callers may see them. `user_s` is the processor time of
    the function itself.
    """

    log_lines: tuple[LogLine, ...] = ()
    usage: Usage = NOTHING_USED
    user_s: float = 0.0
    #: The monotonic clock, which processes share, when it began, after it had waited for an
    #: executor; 0 if nobody says.
    began_s: float = 0.0
    #: Scans that read far more than came of them; where a server does not warn of that, none.
    scans: tuple[ScanReport, ...] = ()


class Request(NamedTuple):
    """What makes two query runs the same but for who asks."""

    path: str
    arguments: bytes
    journal: str | None
    caller: str
    component: str


class Watcher(Protocol):
    """Somebody who wants to know when a result stops to hold. Called on the loop."""

    def invalidated(self, result: QueryResult) -> None:
        """Note that `result` does not hold at the newest timestamp."""

    def renew(
        self, at: Timestamp | None = None, landed: QueryResult | None = None
    ) -> Iterator[int] | None:
        """Ask for what has taken the place of an invalidated result.

        Of all who watched the same result one is called first. Once the query has run for that
        one the others are, with a timestamp at which its result holds, and with that if it is the
        same whoever asks.

        Returns what remains to be done, in turns of the loop, and how many it tells in each; None
        if nothing does.
        """


#: Most results are looked at by nobody.
NOBODY: Final[dict[Watcher, None]] = {}


class QueryResult:
    """A query's value or failure, shared by all who asked, and for how long it holds.

    It holds over [ts, valid_until); while `valid_until` is None it holds at the newest timestamp.
    """

    __slots__ = (
        "_comparable",
        "_shared",
        "cohorts",
        "failure",
        "frames",
        "journal",
        "kept_bytes",
        "keys",
        "log_lines",
        "logged",
        "observed_ns",
        "packed",
        "request",
        "ts",
        "valid_until",
        "watchers",
    )

    def __init__(
        self,
        *,
        ts: Timestamp,
        packed: bytes | None,
        failure: Failure | None,
        log_lines: tuple[str, ...],
        journal: str | None,
        logged: tuple[LogLine, ...] = (),
    ) -> None:
        self.ts = ts
        self.packed = packed
        self.failure = failure
        self.log_lines = log_lines
        self.journal = journal
        #: The log lines as the operator's log has them, for each time that this is given out.
        self.logged = logged
        self.valid_until: Timestamp | None = None
        #: When it was asked for, if its function has read the clock.
        self.observed_ns: int | None = None
        #: Told in the order in which they came: that of a set of objects is chance's, and it is how
        #: they lie in memory.
        self.watchers = NOBODY
        #: What the cache knows it by: a request that it is the result of, and where it is kept.
        self.request: Any = None
        self.keys: tuple[Any, ...] = ()
        #: What it counts for in the cache, with what it was asked for: arguments may be large, too.
        self.kept_bytes = 0
        #: Frames that are the same for many clients; see `sync.subscription.SharedResult`.
        self.frames: dict[Any, tuple[bytes, ...]] | None = None
        #: Clients who look at this in lock-step; see `sync.cohort`.
        self.cohorts: dict[Any, Any] | None = None
        self._comparable: object = None
        self._shared: tuple[bytes, bytes] | None = None

    def holds_at(self, ts: Timestamp) -> bool:
        """Return whether this is the query's result at `ts`, the newest timestamp or an older."""
        return self.ts <= ts and (self.valid_until is None or ts < self.valid_until)

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` when this does not hold at the newest timestamp any more."""
        if self.watchers:
            self.watchers[watcher] = None
        else:
            self.watchers = {watcher: None}

    def unwatch(self, watcher: Watcher) -> None:
        """Tell `watcher` no more."""
        self.watchers.pop(watcher, None)

    @property
    def is_anybodys(self) -> bool:
        """Return whether it is the same whoever asks: what depends on that has another key."""
        return type(self.request) is Request

    @property
    def comparable(self) -> object:
        """Return what is equal for results that a client cannot tell apart."""
        if self._comparable is None:
            failure = None if self.failure is None else self.failure.comparable
            self._comparable = self.packed, failure, self.log_lines, self.journal
        return self._comparable

    def modification(self, query_id: int) -> bytes:
        """Return the QueryUpdated or QueryFailed of a subscription (protocol 3.4).

        All but the id is written once and shared by all who subscribe.
        """
        if self._shared is None:
            self._shared = self._write_shared()
        kind, members = self._shared
        return b'{"type":"%b","queryId":%d,%b}' % (kind, query_id, members)

    def _write_shared(self) -> tuple[bytes, bytes]:
        tail = b'"logLines":%b,"journal":%b' % (
            encode_json(self.log_lines),
            encode_json(self.journal),
        )
        if self.failure is None:
            assert self.packed is not None
            return b"QueryUpdated", b'"value":%b,%b' % (encode_value(unpack(self.packed)), tail)
        data = self.failure.data_json
        members = b'"errorMessage":%b,%b' % (encode_json(self.failure.message), tail)
        return b"QueryFailed", members if data is None else members + b',"errorData":' + data

    @property
    def size_bytes(self) -> int:
        """Return about how much memory the result takes."""
        lines = sum(len(text) for line in self.logged for text in line.messages)
        return 512 + 2 * len(self.packed or b"") + sum(map(len, self.log_lines)) + lines


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationResult:
    """A mutation that committed at `ts` with a packed value, or failed and changed nothing."""

    ts: Timestamp | None
    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """An action's packed value, or its failure.

    Its lines have been told one by one while it ran: `run` has none.
    """

    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    run: Run = Run()


class HttpResult(msgspec.Struct, frozen=True, kw_only=True):
    """How an HTTP action ended: what it has answered, or its failure.

    `status` is None if it failed before it had answered anything. One that failed later has a
    response that is cut off.
    """

    status: int | None
    failure: Failure | None
    sent_bytes: int = 0
