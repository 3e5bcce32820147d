"""The log of functions: one entry for each that ended, and for what actions log while they run.

Entries are kept in memory, the newest of them, and are whole: redaction is for callers. A reader
asks for what lies after a cursor, an entry's key. Keys are microseconds since the Unix epoch and
strictly grow, so that they order entries across restarts too.

An answer from the query cache is an entry as well. It is cheap, since a commit may cause thousands
of them: what it is made of is encoded only if somebody reads it, and there is a ring of its own for
them, so that they do not push out the runs that an operator is looking for. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import heapq
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from camber import limits
from camber.engine.transaction import NOTHING_USED, Usage
from camber.errors import RequestError
from camber.functions.definition import FunctionKind
from camber.functions.logs import LogLine
from camber.host import Host
from camber.identity.identity import Admin, Anonymous, Identity, Unverified, User
from camber.measures import SECONDS, Histogram
from camber.runtime.executor import FunctionCall, Origin
from camber.runtime.results import Failure, HttpResult, QueryResult, Request, Run
from camber.runtime.scan_warnings import ScanWarnings
from camber.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NOTHING_RAN = Run()
#: How far apart in time answers may be that are kept as one.
_TOGETHER_NS = 10_000_000
#: Memory that an entry takes beside its texts, about.
_ENTRY_BYTES = 500


class Outcome(Enum):
    """How a function ended."""

    SUCCESS = "success"
    #: The function failed: its caller is told as of any result.
    FAILURE = "failure"
    #: The server could not run or commit it.
    ERROR = "error"


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """The last commit that a mutation lost to; `table` is None where nobody can say."""

    table: str | None
    source: str


class Completion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One function that ended."""

    key: int
    kind: FunctionKind
    path: str
    component: str
    request_id: str
    origin: Origin
    identity_type: str
    execution_id: str | None
    parent_execution_id: str | None
    started_ns: int
    duration_s: float
    cached: bool
    outcome: Outcome
    error: str | None
    #: Of a query or mutation; those of an action were entries before.
    lines: tuple[LogLine, ...]
    usage: Usage
    user_s: float
    return_bytes: int
    retries: int
    conflict: Conflict | None
    #: What an HTTP action has answered; None if nothing, and for all else.
    status: int | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Lines that an action has logged and which runs on."""

    key: int
    kind: FunctionKind
    path: str
    component: str
    request_id: str
    execution_id: str | None
    lines: tuple[LogLine, ...]


class _Hit(msgspec.Struct, frozen=True, gc=False):
    """An answer from the cache, as it is kept: no more than what tells it from others.

    Made by position: by name it would take as long as all else that is done for it.
    """

    key: int
    now_ns: int
    path: str
    component: str
    request_id: str
    origin: Origin
    identity: Identity
    parent_execution_id: str | None
    waited_s: float
    error: str | None
    lines: tuple[LogLine, ...]
    return_bytes: int

    def completion(self) -> Completion:
        """Return the entry that readers get."""
        return Completion(
            key=self.key,
            kind=FunctionKind.QUERY,
            path=self.path,
            component=self.component,
            request_id=self.request_id,
            origin=self.origin,
            identity_type=_identity_type(self.identity),
            execution_id=None,
            parent_execution_id=self.parent_execution_id,
            started_ns=self.now_ns,
            duration_s=self.waited_s,
            cached=True,
            outcome=Outcome.SUCCESS if self.error is None else Outcome.FAILURE,
            error=self.error,
            lines=self.lines,
            usage=NOTHING_USED,
            user_s=0.0,
            return_bytes=self.return_bytes,
            retries=0,
            conflict=None,
        )


class _Answers(msgspec.Struct, gc=False):
    """Answers of one result from the cache, one right after another: a push to many sockets.

    They have one place in the ring, and what they share is kept once. Their keys follow each other.
    """

    key: int
    now_ns: int
    path: str
    component: str
    origin: Origin
    identities: list[Identity]
    error: str | None
    lines: tuple[LogLine, ...]
    return_bytes: int
    #: There are none by one: for `_size`.
    request_id: str = ""

    def completions(self, request_id: Callable[[int], str]) -> Iterator[Completion]:
        """Yield the entries that readers get, the newest first."""
        for back, identity in enumerate(reversed(self.identities)):
            key = self.key - back
            yield _Hit(
                key,
                self.now_ns,
                self.path,
                self.component,
                request_id(key),
                self.origin,
                identity,
                None,
                0.0,
                self.error,
                self.lines,
                self.return_bytes,
            ).completion()


Entry: TypeAlias = Completion | Progress
Listener: TypeAlias = Callable[[Entry], None]


class FunctionLog:
    """The newest entries, who waits for more, and the counts of all there were."""

    def __init__(self, host: Host, tracing: Tracing | None = None) -> None:
        self.host = host
        self.tracing = tracing
        self._runs: _Ring[Entry] = _Ring()
        self._hits: _Ring[_Hit | _Answers] = _Ring()
        #: The newest answers, while more may join them, and of what.
        self._answers: _Answers | None = None
        self._answered: QueryResult | None = None
        self._last_key = 0
        self._id_key = host.random_bytes(16)
        self._listeners: list[Listener] = []
        self._waiting: list[asyncio.Future[None]] = []
        self.is_closed = False
        self.scan_warnings = ScanWarnings()
        #: For metrics: runs by kind and outcome, answers from the cache, conflicts lost.
        self.runs: dict[tuple[FunctionKind, Outcome], int] = {
            (kind, outcome): 0 for kind in FunctionKind for outcome in Outcome
        }
        self.hits = 0
        self.retries = 0
        self.durations = {kind: Histogram(SECONDS) for kind in FunctionKind}

    # Writing.

    def begin(self, call: FunctionCall, kind: FunctionKind) -> Execution:
        """Note that a function begins to run; whoever runs it says how it ended."""
        return Execution(self, call, kind)

    def hit(self, call: FunctionCall, result: QueryResult, waited_s: float = 0.0) -> None:
        """Note that a query was answered by a result that was there, or on its way."""
        if call.path.startswith("_"):
            return
        self.hits += 1
        now_ns = self.host.now_ns()
        key = now_ns // 1000
        if key <= self._last_key:
            key = self._last_key + 1
        self._last_key = key
        failure = result.failure
        self._hits.append(
            _Hit(
                key,
                now_ns,
                call.path,
                call.component,
                call.request_id,
                call.origin,
                call.identity,
                call.parent_execution_id,
                waited_s,
                None if failure is None else failure.full_text,
                result.logged,
                len(result.packed or b""),
            )
        )
        if self._waiting:
            self._wake()

    def answered(
        self,
        request: Request,
        origin: Origin,
        identities: list[Identity],
        result: QueryResult,
        now_ns: int,
    ) -> None:
        """Note what `hit` notes, for some of many to whom the same result goes.

        Their requests have no ids but those that readers are shown.
        """
        group = self._answers
        if (
            self._answered is result
            and group is not None
            and group.key == self._last_key
            and now_ns - group.now_ns < _TOGETHER_NS
            and len(group.identities) < limits.function_log_entries_max
        ):
            self.hits += len(identities)
            self._last_key = group.key = group.key + len(identities)
            group.identities += identities
            if self._waiting:
                self._wake()
            return
        if request.path.startswith("_") or not identities:
            return
        self.hits += len(identities)
        self._last_key = max(self._last_key + len(identities), now_ns // 1000)
        failure = result.failure
        group = _Answers(
            self._last_key,
            now_ns,
            request.path,
            request.component,
            origin,
            identities,
            None if failure is None else failure.full_text,
            result.logged,
            len(result.packed or b""),
        )
        self._answers, self._answered = group, result
        self._hits.append(group)
        if self._waiting:
            self._wake()

    def add(self, entry: Entry) -> None:
        """Keep an entry, tell listeners and readers of it, and forget the oldest."""
        self._runs.append(entry)
        for listener in self._listeners:
            listener(entry)
        if self._waiting:
            self._wake()

    def next_key(self) -> int:
        """Return the key of the next entry."""
        self._last_key = max(self._last_key + 1, self.host.now_ns() // 1000)
        return self._last_key

    # Reading.

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the loop with each entry but answers from the cache."""
        self._listeners.append(listener)

    def after(self, cursor_ms: float) -> list[Entry]:
        """Return what is kept of the entries after a cursor (milliseconds), oldest first."""
        return list(
            heapq.merge(
                self._runs.after(cursor_ms),
                self._hits_after(cursor_ms),
                key=_key_of,
            )
        )

    def _hits_after(self, cursor_ms: float) -> Iterator[Completion]:
        for hit in self._hits.after(cursor_ms):
            if isinstance(hit, _Hit):
                yield hit.completion()
                continue
            newest_first = hit.completions(self._request_id)
            yield from reversed([each for each in newest_first if each.key / 1000 > cursor_ms])

    async def more(self, within_s: float) -> None:
        """Return when there is a new entry, when the log is closed, or after `within_s`."""
        if self.is_closed:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await asyncio.wait([waiting], timeout=within_s)
        if not waiting.done():
            self._waiting.remove(waiting)

    def execution_id(self, entry: Entry) -> str:
        """Return the id of the run: a UUID, the same whenever it is asked for."""
        if entry.execution_id is not None:
            return entry.execution_id
        digest = blake2b(entry.key.to_bytes(8, "big"), digest_size=16, key=self._id_key).digest()
        return str(uuid.UUID(bytes=digest, version=4))

    def _request_id(self, key: int) -> str:
        """Return the request id of an answer that nobody has asked for by one."""
        return blake2b(key.to_bytes(8, "big"), digest_size=8, key=self._id_key).hexdigest()

    def close(self) -> None:
        """Send readers away: the server ends."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()


class Execution:
    """A function that runs."""

    __slots__ = (
        "_buffer", "_log", "_span", "_started_ns", "_started_s", "call", "conflict", "kind", "retries",
    )  # fmt: skip

    def __init__(self, log: FunctionLog, call: FunctionCall, kind: FunctionKind) -> None:
        self._log = log
        self.kind = kind
        self._span: Span | None = None
        # A system query is no entry, and no span.
        if log.tracing is not None and not call.path.startswith("_"):
            self._span, call = _start_span(log.tracing, call, kind)
        self.call = call
        self._started_ns = log.host.now_ns()
        self._started_s = log.host.monotonic()
        self._buffer: list[LogLine] = []
        self.retries = 0
        self.conflict: Conflict | None = None

    def lost_to(self, conflict: Conflict) -> None:
        """Note that an attempt lost to another commit."""
        self.retries += 1
        self.conflict = conflict
        self._log.retries += 1

    def current(self) -> AbstractContextManager[object]:
        """Make its span, if it has one, the current one within the block."""
        if self._span is None:
            return _NO_SPAN
        assert self._log.tracing is not None
        return self._log.tracing.within(self._span)

    def repeated(self) -> None:
        """Note that the function had run before: it was logged then."""
        if self._span is not None:
            self._span.set_attribute("camber.repeated", value=True)
            self._span.end()

    def let_in(self) -> None:
        """Note that a guard has let a caller in: what it guards is logged, and this is not."""
        if self._span is not None:
            self._span.end()

    def progress(self, line: LogLine) -> None:
        """Note a line of an action; those of one turn of the loop are one entry."""
        if not self._buffer:
            asyncio.get_running_loop().call_soon(self._flush)
        self._buffer.append(line)

    def ended(self, run: Run, failure: Failure | None, return_bytes: int) -> None:
        """Note the end of a function that had a result, or failed."""
        if run.scans:
            now_ms = self._log.host.now_ns() // 1_000_000
            run = self._log.scan_warnings.with_lines(
                run, self.call.path, self.call.component, now_ms
            )
        if failure is None:
            self._complete(Outcome.SUCCESS, None, run, return_bytes)
        else:
            self._complete(Outcome.FAILURE, failure.full_text, run, 0)

    def answered(self, result: HttpResult) -> None:
        """Note the end of an HTTP action."""
        failure = result.failure
        outcome = Outcome.SUCCESS if failure is None else Outcome.FAILURE
        error = None if failure is None else failure.full_text
        self._complete(outcome, error, _NOTHING_RAN, result.sent_bytes, result.status)

    def raised(self, error: BaseException) -> None:
        """Note that the server could not run or commit the function."""
        told = str(error) if isinstance(error, RequestError) else _BUG
        self._complete(Outcome.ERROR, told, _NOTHING_RAN, 0)

    def _complete(
        self,
        outcome: Outcome,
        error: str | None,
        run: Run,
        return_bytes: int,
        status: int | None = None,
    ) -> None:
        self._flush()
        call, log = self.call, self._log
        if call.path.startswith("_"):
            return
        if self._span is not None:
            self._end_span(self._span, outcome, error, run)
        duration_s = log.host.monotonic() - self._started_s
        log.runs[self.kind, outcome] += 1
        log.durations[self.kind].observe(duration_s)
        log.add(
            Completion(
                key=log.next_key(),
                kind=self.kind,
                path=call.path,
                component=call.component,
                request_id=call.request_id,
                origin=call.origin,
                identity_type=_identity_type(call.identity),
                execution_id=call.execution_id,
                parent_execution_id=call.parent_execution_id,
                started_ns=self._started_ns,
                duration_s=duration_s,
                cached=False,
                outcome=outcome,
                error=error,
                lines=run.log_lines,
                usage=run.usage,
                user_s=run.user_s,
                return_bytes=return_bytes,
                retries=self.retries,
                conflict=self.conflict,
                status=status,
            )
        )

    def _end_span(self, span: Span, outcome: Outcome, error: str | None, run: Run) -> None:
        tracing = self._log.tracing
        assert tracing is not None
        span.set_attributes(ran_attributes(run, self._started_s))
        if self.conflict is not None:
            span.set_attribute("camber.retries", self.retries)
            span.set_attribute("camber.conflict.source", self.conflict.source)
        if error is not None:
            tracing.fail(span, outcome.value, error)
        span.end()

    def _flush(self) -> None:
        if not self._buffer:
            return
        lines = tuple(self._buffer)
        self._buffer.clear()
        call = self.call
        self._log.add(
            Progress(
                key=self._log.next_key(),
                kind=self.kind,
                path=call.path,
                component=call.component,
                request_id=call.request_id,
                execution_id=call.execution_id,
                lines=lines,
            )
        )


def _start_span(
    tracing: Tracing, call: FunctionCall, kind: FunctionKind
) -> tuple[Span, FunctionCall]:
    """Start the span of a function; return it, and the call that whoever runs it gets."""
    attributes = {
        "camber.function": call.path,
        "camber.kind": kind.value,
        "camber.caller": call.origin.value,
        "camber.request_id": call.request_id,
    }
    span = tracing.start(f"{kind.value} {call.path}", attributes, parent=call.traceparent)
    return span, replace(call, traceparent=tracing.traceparent(span))


def ran_attributes(run: Run, asked_s: float) -> dict[str, int | float]:
    """Return what a span says of a run that was asked for at `asked_s`."""
    waited_s = max(0.0, run.began_s - asked_s) if run.began_s else 0.0
    return {
        "camber.queue_wait_ms": waited_s * 1e3,
        "camber.documents_read": run.usage.documents_read,
        "camber.bytes_read": run.usage.bytes_read,
        "camber.documents_written": run.usage.documents_written,
        "camber.bytes_written": run.usage.bytes_written,
    }


_NO_SPAN = nullcontext()
_BUG = "InternalServerError: the server failed; its output says why"


K = TypeVar("K", bound="Entry | _Hit | _Answers")


class _Ring(Generic[K]):
    """The newest entries, bounded in number and in bytes."""

    __slots__ = ("_bytes", "_entries")

    def __init__(self) -> None:
        self._entries: deque[K] = deque()
        self._bytes = 0

    def append(self, entry: K) -> None:
        self._entries.append(entry)
        self._bytes += _size(entry)
        while (
            len(self._entries) > limits.function_log_entries_max
            or self._bytes > limits.function_log_bytes_max
        ):
            self._bytes -= _size(self._entries.popleft())

    def after(self, cursor_ms: float) -> Iterator[K]:
        """Yield the entries after a cursor: found from the new end, where its readers are."""
        newest_first = []
        for entry in reversed(self._entries):
            if entry.key / 1000 <= cursor_ms:
                break
            newest_first.append(entry)
        return reversed(newest_first)


def _key_of(entry: Entry) -> int:
    return entry.key


def _identity_type(identity: Identity) -> str:
    match identity:
        case Anonymous() | Unverified():
            return "unknown"
        case User():
            return "user"
        case Admin(acting_as):
            return "instance_admin" if acting_as is None else "member_acting_user"


def _size(entry: Entry | _Hit | _Answers) -> int:
    size = _ENTRY_BYTES + len(entry.path) + len(entry.request_id)
    if entry.lines:
        for line in entry.lines:
            size += _ENTRY_BYTES // 2 + sum(map(len, line.messages))
    if not isinstance(entry, Progress) and entry.error is not None:
        size += len(entry.error)
    return size
