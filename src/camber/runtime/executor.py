"""What runs an application's functions, as the rest of the server sees it.

An executor runs user code at a snapshot and answers with what came out: the result, what was read
and written, the log lines, and whether the identity and the clock were read. It never writes to
the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from camber.engine.committer import Ahead
from camber.engine.transaction import FinishedTransaction
from camber.functions.accounts import CalledFunction, ScanReport, SearchedBy
from camber.functions.definition import FunctionKind
from camber.functions.logs import LogLine
from camber.identity.identity import Admin, Identity
from camber.measures import Gauge
from camber.occ.read_set import ReadSet, RecordedRow, RecordedSearch
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.release import Routes
from camber.runtime.results import ActionResult, Failure, HttpResult, QueryResult, Run
from camber.values.pending import Places
from camber.values.timestamp import Timestamp


class Caller(Enum):
    """Who asks for a function, which decides which functions there are for them."""

    #: A client: public functions only.
    CLIENT = "client"
    #: An admin key: internal functions too.
    ADMIN = "admin"
    #: A function of the application itself, or the server.
    APPLICATION = "application"
    #: An action or HTTP action, before it begins: not to be run, only whether its caller may.
    GUARD = "guard"


class Origin(Enum):
    """What a call came from, as the log of functions has it (protocol 8.5)."""

    SYNC_WORKER = "SyncWorker"
    HTTP_API = "HttpApi"
    HTTP_ENDPOINT = "HttpEndpoint"
    TESTER = "Tester"
    CRON = "Cron"
    SCHEDULER = "Scheduler"
    ACTION = "Action"


class SessionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which of a client's mutations this is, across all its sockets (semantics 4.7)."""

    session: str
    request: int


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """From where a client calls. What is not known is None.

    `ip` is its address, in the form in which there is one text for each; `user_agent` is what it says of
    itself.
    """

    ip: str | None
    user_agent: str | None


class FunctionCall(msgspec.Struct, frozen=True, kw_only=True):
    """One function to run.

    `path` is a function's key (`messages:send`) in `component`, which is the path of a mount
    (`ledger/spare`), or empty for the application itself; `arguments` is a packed value, an object unless
    the caller got it wrong; `journal` only matters to queries. Arguments that encode no value at
    all are empty, and `arguments_error` says why. `client` is who asks, as against others who do: a
    session, an address. Mutations and actions, and what these call, have the `sender` of a client's
    request; what is scheduled has none.

    What follows is for the operator: `execution_id` is set for actions, so that what they call can
    name it as its `parent_execution_id`; `traceparent` is the W3C header of the span that the
    call is part of.

    `job` is the scheduled function or cron job that it runs for: `runs_job` says whether it is that
    itself, or something that it has called. The arguments of a mutation that is it itself are read
    in its own transaction.
    """

    path: str
    arguments: bytes
    identity: Identity
    caller: Caller
    request_id: str
    journal: str | None = None
    component: str = ""
    arguments_error: str | None = None
    origin: Origin = Origin.HTTP_API
    client: str = ""
    sender: Sender | None = None
    execution_id: str | None = None
    parent_execution_id: str | None = None
    traceparent: str | None = None
    job: str | None = None

    @property
    def runs_job(self) -> bool:
        """Return whether it is what was scheduled, and not called by that."""
        return self.job is not None and self.origin in _JOBS

    @property
    def asks_guard(self) -> bool:
        """Return whether the guard of the function is asked: of users and whoever acts as one.

        An admin that acts as nobody may do all, and what a function calls is its own affair.
        """
        if self.caller is Caller.ADMIN:
            return isinstance(self.identity, Admin) and self.identity.acting_as is not None
        return self.caller is Caller.CLIENT or self.origin is Origin.TESTER

    def to_guard(self, path: str) -> FunctionCall:
        """Return the call that asks the guard of an action or route, by its own path."""
        return replace(self, path=path, caller=Caller.GUARD, origin=Origin.ACTION)


_JOBS = frozenset({Origin.SCHEDULER, Origin.CRON})

#: Takes a line that a running action has logged; on the loop of whoever asked for the action.
Progress: TypeAlias = Callable[[LogLine], None]


class QueryExecuted(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run of a query.

    `observed_time` says that it has read the clock, so that its result grows old by itself.
    """

    result: QueryResult
    reads: ReadSet
    read_identity: bool
    observed_time: bool
    run: Run = Run()


class MutationExecuted(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run of a mutation, which has not committed.

    `value` is packed. `recorded_ts` is the commit of an earlier run of the same session request,
    whose result this is: there is nothing to commit then.
    """

    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    transaction: FinishedTransaction
    #: Where the value has the commit timestamp.
    value_places: Places = ()
    recorded_ts: Timestamp | None = None
    run: Run = Run()


class Written(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a mutation would have done to the documents of one table."""

    component: str
    table: str
    inserted: int
    changed: int
    deleted: int


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a query or mutation that was only to be looked at: nothing of it has been written.

    `is_refused` says that the failure came before anything ran.
    """

    ts: Timestamp
    kind: FunctionKind
    failure: Failure | None
    is_refused: bool
    result_bytes: int
    reads: Sequence[RecordedRow]
    searches: Sequence[RecordedSearch]
    read_identity: bool
    observed_time: bool
    functions: tuple[CalledFunction, ...]
    scans: tuple[ScanReport, ...]
    scans_dropped: int
    searched: tuple[SearchedBy, ...]
    written: tuple[Written, ...]
    scheduled: int
    run: Run


class Executor(Protocol):
    """Runs functions of one release, many at a time."""

    async def query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        """Run a query at exactly `ts`.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """

    async def mutation(
        self,
        call: FunctionCall,
        record_id: str | None,
        ahead: Callable[[], Ahead | None] | None,
    ) -> MutationExecuted:
        """Run a mutation at the newest snapshot; with `record_id`, answer from that record if there is one.

        What `ahead` returns as the run begins is laid over the snapshot.
        """

    async def explain(self, call: FunctionCall, kind: FunctionKind, ts: Timestamp) -> Explained:
        """Run a query or mutation at `ts` and say what it did. Nothing is written."""

    async def action(self, call: FunctionCall, progress: Progress) -> ActionResult:
        """Run an action to its end; tell `progress` each line as it is logged."""

    async def http_action(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange, progress: Progress
    ) -> HttpResult:
        """Answer an HTTP request by the release that serves; return when its action has ended.

        Raises:
            Overloaded: there are too many at once.
        """

    def routes(self) -> Routes:
        """Return the HTTP routes of the release that serves.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Return what operators may see of it."""

    def kind_of(self, call: FunctionCall) -> FunctionKind | None:
        """Return the kind of the function that is called, or None if there is none for the caller."""

    async def close(self) -> None:
        """End the threads or processes; actions that still run are cancelled."""
