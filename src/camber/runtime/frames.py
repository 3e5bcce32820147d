"""What the server and its executors say to each other, and how it is framed.

A frame is the length of its body in four bytes, then the body: one message as msgpack. Nothing
here sends or receives. Messages to a process are answered in the order in which they were sent by
a process that runs transactions, in any order by one that runs actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from camber import limits
from camber.engine.stamps import Stamp
from camber.engine.transaction import FinishedTransaction
from camber.errors import ErrorKind, RequestError
from camber.functions.analysis import Analysis
from camber.functions.definition import FunctionKind
from camber.functions.file_requests import FileAnswer, FileRequest
from camber.functions.logs import LogLine
from camber.occ.read_set import ReadSet, RecordedRow, RecordedSearch
from camber.runtime.executor import (
    Explained,
    FunctionCall,
    MutationExecuted,
    QueryExecuted,
)
from camber.runtime.http_requests import HttpRequest
from camber.runtime.release import TableCheck
from camber.runtime.results import ActionResult, Failure, HttpResult, QueryResult, Run
from camber.storage.store import DocumentChange
from camber.values.packed import ext_hook
from camber.values.pending import Places
from camber.values.timestamp import Timestamp

_LENGTH_BYTES: Final = 4


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """One message."""


# To a process.


class Start(_Message, frozen=True):
    """The first message: what to load and how to serve it.

    `store` is the store to read, as the deployment names it; `root` and `functions` are where the
    release's code is, `search` is where else its modules are looked for. The keys are derived from the instance secret, which stays in the server.
    """

    store: str
    root: str
    functions: str
    search: list[str]
    cursor_key: bytes
    variables_key: bytes
    capabilities_key: bytes
    handles_key: bytes
    redact: bool
    urls: dict[str, str]
    test_hooks: bool
    memory_bytes_max: int
    #: Whether runs say which of their scans read far too much.
    warns_of_scans: bool = False


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """At which timestamp to read, which catalog holds there, and what time it is."""

    ts: Timestamp
    catalog_since: Timestamp
    now_ns: int


class AheadCommit(msgspec.Struct, frozen=True, array_like=True):
    """A commit that is assigned, and may not be in the store yet."""

    ts: Timestamp
    changes: tuple[DocumentChange, ...]


class AheadNews(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is ahead of the store that the process has not been told.

    What it was told stays so, but for commits up to `published`, which are in the store, and those
    of another epoch, which have failed or are there as well.
    """

    epoch: int
    published: Timestamp
    commits: list[AheadCommit]


class RunQuery(_Message, frozen=True):
    """Run a query; answered by `QueryDone` or `Raised`."""

    id: int
    call: FunctionCall
    moment: Moment


class RunMutation(_Message, frozen=True):
    """Run a mutation; answered by `MutationDone` or `Raised`.

    With `ahead` the moment may be later than what the store has.
    """

    id: int
    call: FunctionCall
    record_id: str | None
    moment: Moment
    ahead: AheadNews | None


class RunExplanation(_Message, frozen=True):
    """Run a query or mutation to be looked at; answered by `ExplanationDone` or `Raised`."""

    id: int
    call: FunctionCall
    kind: FunctionKind
    moment: Moment


class RunCheck(_Message, frozen=True):
    """Hold documents against a table; answered by `CheckDone`."""

    id: int
    table: str
    documents: list[bytes]
    numbers: dict[str, int]


class RunDescription(_Message, frozen=True):
    """Describe the application by a function of Camber's own; answered by `DescriptionDone`."""

    id: int
    function: str


class Forget(_Message, frozen=True):
    """Do not begin these requests: somebody else runs them. They are not answered."""

    ids: list[int]


class RunAction(_Message, frozen=True):
    """Run an action; answered by `ActionDone`."""

    id: int
    call: FunctionCall
    catalog_since: Timestamp


class RunHttpAction(_Message, frozen=True):
    """Answer an HTTP request; what is said of it meanwhile has its id. Answered by `HttpDone`."""

    id: int
    call: FunctionCall
    request: HttpRequest
    catalog_since: Timestamp


class Heard(_Message, frozen=True):
    """The client of a request has sent something, or is gone: an ASGI message."""

    id: int
    message: dict[str, Any]


class Taken(_Message, frozen=True):
    """So many bytes of what was said of a request have got to where they go. Both ways."""

    id: int
    size: int


class Called(_Message, frozen=True):
    """What came of a `Call`: a packed value, or a failure."""

    id: int
    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    catalog_since: Timestamp


class CallRaised(_Message, frozen=True):
    """A `Call` that failed as a request."""

    id: int
    error: PackedError
    catalog_since: Timestamp


class CallRefused(_Message, frozen=True):
    """A `Call` that cannot be; told to the action as its own mistake."""

    id: int
    code: str
    sentence: str
    catalog_since: Timestamp


class FileAnswered(_Message, frozen=True):
    """What came of an `AskFile`."""

    id: int
    answer: FileAnswer


class FileRefused(_Message, frozen=True):
    """An `AskFile` that cannot be; told to the action as its own mistake."""

    id: int
    code: str
    sentence: str


class Stop(_Message, frozen=True):
    """Cancel what runs, give it some seconds to end, answer, and end."""

    grace_s: float


# From a process.


class PackedError(msgspec.Struct, frozen=True, array_like=True):
    """A `RequestError` on its way."""

    kind: ErrorKind
    code: str
    sentence: str


class Loaded(_Message, frozen=True):
    """The release is there."""

    analysis: Analysis


class LoadFailed(_Message, frozen=True):
    """The release does not load; the process ends."""

    place: str
    reason: str
    trace: str


class QueryDone(_Message, frozen=True):
    """A finished run of a query. `leaving`: the process ends now, and takes nothing more."""

    id: int
    packed: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    journal: str | None
    reads: Sequence[RecordedRow]
    searches: Sequence[RecordedSearch]
    read_identity: bool
    observed_time: bool
    run: Run
    leaving: bool


class MutationDone(_Message, frozen=True):
    """A finished run of a mutation."""

    id: int
    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    begin_ts: Timestamp
    reads: Sequence[RecordedRow]
    searches: Sequence[RecordedSearch]
    changes: tuple[DocumentChange, ...]
    source: str
    scheduled: int
    recorded_ts: Timestamp | None
    run: Run
    leaving: bool
    stamps: tuple[Stamp, ...] = ()
    value_places: Places = ()


class Raised(_Message, frozen=True):
    """A run that failed as a request."""

    id: int
    error: PackedError
    leaving: bool


class Exhausted(_Message, frozen=True):
    """A run that found no memory; the process ends now."""

    id: int


class ExplanationDone(_Message, frozen=True):
    """A run that was to be looked at."""

    id: int
    explained: Explained
    leaving: bool


class CheckDone(_Message, frozen=True):
    """What a check found."""

    id: int
    check: TableCheck


class DescriptionDone(_Message, frozen=True):
    """What a description says: any value of strings, numbers, lists and objects."""

    id: int
    value: Any


class ActionDone(_Message, frozen=True):
    """An action that has ended."""

    id: int
    result: ActionResult


class HttpDone(_Message, frozen=True):
    """An HTTP action that has ended."""

    id: int
    result: HttpResult


class Said(_Message, frozen=True):
    """An HTTP action sends something to its client: an ASGI message."""

    id: int
    message: dict[str, Any]


class Progressed(_Message, frozen=True):
    """A running action has logged a line."""

    id: int
    line: LogLine


class Call(_Message, frozen=True):
    """A running action calls a function; answered by `Called`, or why not."""

    id: int
    call: FunctionCall
    kind: FunctionKind


class AskFile(_Message, frozen=True):
    """The action that runs as `job` asks about files; answered by `FileAnswered` or `FileRefused`."""

    id: int
    job: int
    request: FileRequest


class LoopStatus(_Message, frozen=True):
    """How long the event loop of actions has stood still, in what, and where."""

    still_s: float
    path: str | None
    where: str | None


ToExecutor: TypeAlias = (
    Start
    | RunQuery
    | RunMutation
    | RunExplanation
    | RunCheck
    | RunDescription
    | Forget
    | RunAction
    | RunHttpAction
    | Heard
    | Taken
    | Called
    | CallRaised
    | CallRefused
    | FileAnswered
    | FileRefused
    | Stop
)
FromExecutor: TypeAlias = (
    Loaded
    | LoadFailed
    | QueryDone
    | MutationDone
    | ExplanationDone
    | Raised
    | Exhausted
    | CheckDone
    | DescriptionDone
    | ActionDone
    | HttpDone
    | Said
    | Taken
    | Progressed
    | Call
    | AskFile
    | LoopStatus
)

_encoder = msgspec.msgpack.Encoder()
to_executor = msgspec.msgpack.Decoder(ToExecutor, ext_hook=ext_hook)
from_executor = msgspec.msgpack.Decoder(FromExecutor, ext_hook=ext_hook)


def frame(message: ToExecutor | FromExecutor) -> bytes:
    """Return a message as a frame.

    Raises:
        RequestError: it is larger than a frame may be.
    """
    buffer = bytearray(_LENGTH_BYTES)
    try:
        _encoder.encode_into(message, buffer, _LENGTH_BYTES)
    except UnicodeEncodeError as error:
        msg = f"a {type(message).__name__} holds text that no encoding has: {error.reason}"
        raise RequestError(msg, code="InternalServerError") from None
    size = len(buffer) - _LENGTH_BYTES
    if size > limits.frame_bytes_max:
        msg = (
            f"a {type(message).__name__} of {size} bytes; a message between the server and an "
            f"executor may have {limits.frame_bytes_max}. Read or write less at once"
        )
        raise RequestError(msg, code="FrameTooLarge")
    buffer[:_LENGTH_BYTES] = size.to_bytes(_LENGTH_BYTES, "big")
    return bytes(buffer)


class FrameBuffer:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes in; return the bodies that are complete now."""
        held = self._bytes
        if held:
            held += data
            with memoryview(held) as view:
                bodies, at = _cut(view)
            del held[:at]
        else:
            # Whole frames are what mostly comes, and they are not copied together first.
            bodies, at = _cut(memoryview(data))
            held += data[at:]
        return bodies


def _cut(data: memoryview) -> tuple[list[bytes], int]:
    """Return the bodies of all whole frames, and where what is left begins."""
    bodies: list[bytes] = []
    at, last = 0, len(data) - _LENGTH_BYTES
    while at <= last:
        begin = at + _LENGTH_BYTES
        end = begin + int.from_bytes(data[at:begin], "big")
        if end > len(data):
            break
        bodies.append(bytes(data[begin:end]))
        at = end
    return bodies, at


# What executors answer, as messages and back.


def query_done(id: int, executed: QueryExecuted, *, leaving: bool) -> QueryDone:
    """Return the answer that carries a finished query."""
    result = executed.result
    return QueryDone(
        id=id,
        packed=result.packed,
        failure=result.failure,
        log_lines=result.log_lines,
        journal=result.journal,
        reads=executed.reads.rows(),
        searches=executed.reads.searches,
        read_identity=executed.read_identity,
        observed_time=executed.observed_time,
        run=executed.run,
        leaving=leaving,
    )


def query_executed(done: QueryDone, ts: Timestamp) -> QueryExecuted:
    """Return the finished query, run at `ts`, that an answer carries."""
    result = QueryResult(
        ts=ts,
        packed=done.packed,
        failure=done.failure,
        log_lines=done.log_lines,
        journal=done.journal,
        logged=done.run.log_lines,
    )
    return QueryExecuted(
        result=result,
        reads=ReadSet.from_rows(done.reads, done.searches),
        read_identity=done.read_identity,
        observed_time=done.observed_time,
        run=done.run,
    )


def mutation_done(id: int, executed: MutationExecuted, *, leaving: bool) -> MutationDone:
    """Return the answer that carries a finished mutation."""
    transaction = executed.transaction
    return MutationDone(
        id=id,
        value=executed.value,
        failure=executed.failure,
        log_lines=executed.log_lines,
        begin_ts=transaction.begin_ts,
        reads=transaction.reads.rows(),
        searches=transaction.reads.searches,
        changes=transaction.changes,
        source=transaction.source,
        scheduled=transaction.scheduled,
        recorded_ts=executed.recorded_ts,
        run=executed.run,
        leaving=leaving,
        stamps=transaction.stamps,
        value_places=executed.value_places,
    )


def mutation_executed(done: MutationDone) -> MutationExecuted:
    """Return the finished mutation that an answer carries."""
    return MutationExecuted(
        value=done.value,
        failure=done.failure,
        log_lines=done.log_lines,
        transaction=FinishedTransaction(
            begin_ts=done.begin_ts,
            reads=ReadSet.from_rows(done.reads, done.searches),
            changes=done.changes,
            source=done.source,
            scheduled=done.scheduled,
            stamps=done.stamps,
        ),
        value_places=done.value_places,
        recorded_ts=done.recorded_ts,
        run=done.run,
    )


def mutation_failed(done: QueryDone, source: str, ts: Timestamp) -> MutationExecuted:
    """Return the mutation at `ts` that was interrupted after its user code had ended."""
    return MutationExecuted(
        value=None,
        failure=done.failure,
        log_lines=done.log_lines,
        transaction=FinishedTransaction(
            begin_ts=ts,
            reads=ReadSet.from_rows(done.reads, done.searches),
            changes=(),
            source=source,
        ),
        run=done.run,
    )


def packed_error(error: RequestError) -> PackedError:
    """Return an error as it travels."""
    return PackedError(error.kind, error.code, error.sentence)


def request_error(packed: PackedError) -> RequestError:
    """Return an error that has travelled."""
    return RequestError(packed.sentence, code=packed.code, kind=packed.kind)
