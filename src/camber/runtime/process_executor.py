"""The executor that runs user code in processes of its own, and the server's own queries here.

Which release a function runs on follows from the timestamp that it runs at, and the server knows
that without a look at the store: it has seen every switch.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from camber import limits
from camber.engine import system_tables
from camber.engine.committer import Ahead
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction
from camber.errors import ActionLost, DeveloperError
from camber.functions.definition import FunctionKind
from camber.measures import Gauge
from camber.occ.interval import Interval
from camber.occ.read_set import ReadSet
from camber.runtime.action_files import ActionFiles
from camber.runtime.action_pool import ActionPool
from camber.runtime.actions import FunctionRunner
from camber.runtime.executor import (
    Explained,
    FunctionCall,
    MutationExecuted,
    Progress,
    QueryExecuted,
)
from camber.runtime.failures import FailureTexts
from camber.runtime.frames import Moment
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.invocation import Serving, find
from camber.runtime.process_release import ProcessRelease
from camber.runtime.processes import Launcher
from camber.runtime.release import LoadedRelease, Routes
from camber.runtime.results import ActionResult, HttpResult, QueryResult
from camber.runtime.transaction_pool import TransactionPool
from camber.runtime.transactions import TransactionRunner, system_query_of
from camber.search.nearest import prepare_to_search
from camber.storage.index_ids import by_id_index
from camber.storage.store import Commit
from camber.values.keys import encode_key
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp


class KnownReleases(Serving, Protocol):
    """Knows which release serves, and the releases themselves."""

    def of(self, number: int) -> LoadedRelease:
        """Return the release with this number, or the newest one if its code is gone.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class _Switch:
    since: Timestamp
    number: int


class ProcessExecutor:
    """Runs functions in processes. Made on the event loop, and lives there."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: KnownReleases,
        texts: FailureTexts,
        system: TransactionRunner,
        runner: FunctionRunner,
        files: ActionFiles,
        size: int,
    ) -> None:
        self._engine = engine
        self._releases = releases
        self._texts = texts
        self._system = system
        self._runner = runner
        self._files = files
        self._size = size
        self._thread = engine.host.worker("camber-system")
        #: By when they were loaded.
        self._open: weakref.WeakValueDictionary[int, ProcessRelease] = weakref.WeakValueDictionary()
        self._loads = itertools.count()
        with closing(engine.begin("releases")) as transaction:
            packed = transaction.get(system_tables.RELEASE_ID)
        #: The newest last; those before are for reads at older timestamps.
        self._switches = [_Switch(since=0, number=0 if packed is None else _number(packed))]
        engine.on_publish(self._published)

    async def load(self, launcher: Launcher, actions: Launcher, *, name: str) -> ProcessRelease:
        """Load a release into a process; the others start when it serves.

        Raises:
            LoadError: it does not load.
            ExecutorEnded: its process ended meanwhile.
        """
        transactions = TransactionPool(
            host=self._engine.host, launcher=launcher, size=self._size, release=name
        )
        try:
            first = await transactions.open()
        except BaseException:
            await transactions.close()
            raise
        assert first.analysis is not None
        if first.analysis.has_vectors:
            # What is written is held against watched searches here.
            await asyncio.to_thread(prepare_to_search)
        release = ProcessRelease(
            analysis=first.analysis,
            transactions=transactions,
            actions=ActionPool(
                host=self._engine.host,
                launcher=actions,
                size_max=max(2, self._size),
                runner=self._runner,
                files=self._files,
                catalog_since=lambda: self._engine.catalog_at(self._engine.newest_ts).since,
            ),
        )
        self._open[next(self._loads)] = release
        return release

    async def query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        """Run a query at exactly `ts`."""
        if system_query_of(call, FunctionKind.QUERY) is not None:
            return await self._thread.run(self._system_query, call, ts)
        release = self._release_at(ts)
        try:
            return await release.query(call, self._moment(ts))
        except DeveloperError as error:
            result = QueryResult(
                ts=ts,
                packed=None,
                failure=self._texts.refused(error, call.request_id),
                log_lines=(),
                journal=None,
            )
            return QueryExecuted(
                result=result, reads=_release_read(), read_identity=True, observed_time=True
            )

    async def mutation(
        self,
        call: FunctionCall,
        record_id: str | None,
        ahead: Callable[[], Ahead | None] | None,
    ) -> MutationExecuted:
        """Run a mutation at the newest snapshot that there is when a process takes it."""
        ts = self._engine.newest_ts
        release = self._release_at(ts)
        try:
            return await release.mutation(
                call, record_id, lambda: self._last(release, ahead), is_in_turn=ahead is not None
            )
        except DeveloperError as error:
            failure = self._texts.refused(error, call.request_id)
            return MutationExecuted(
                value=None,
                failure=replace(failure, was_lost=True),
                log_lines=(),
                transaction=FinishedTransaction(
                    begin_ts=ts, reads=_release_read(), changes=(), source=call.path
                ),
            )

    async def explain(self, call: FunctionCall, kind: FunctionKind, ts: Timestamp) -> Explained:
        """Run a query or mutation at `ts` and say what it did."""
        return await self._release_at(ts).explain(call, kind, self._moment(ts))

    async def action(self, call: FunctionCall, progress: Progress) -> ActionResult:
        """Run an action to its end; tell `progress` each line as it is logged."""
        release = self._release_at(self._engine.newest_ts)
        try:
            return await release.action(call, progress)
        except ActionLost as error:
            failure = self._texts.refused(error, call.request_id)
            return ActionResult(value=None, failure=failure, log_lines=())

    async def http_action(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange, progress: Progress
    ) -> HttpResult:
        """Answer an HTTP request; tell `progress` each line as it is logged."""
        release = self._release_at(self._engine.newest_ts)
        try:
            return await release.http_action(call, request, exchange, progress)
        except ActionLost as error:
            failure = self._texts.refused(error, call.request_id)
            return HttpResult(status=None, failure=failure)

    def routes(self) -> Routes:
        """Return the HTTP routes of the release that serves."""
        return self._release_at(self._engine.newest_ts).routes

    def kind_of(self, call: FunctionCall) -> FunctionKind | None:
        """Return the kind of the function that is called, or None if there is none."""
        release = self._release_at(self._engine.newest_ts)
        function = find(release.analysis, call)
        return None if function is None else function.kind

    @property
    def pools(self) -> list[ProcessRelease]:
        """Return the releases that may have processes."""
        return list(self._open.values())

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Return how many processes there are, and what they have to do."""
        open_ = self._open
        return [
            *_pool_gauges("transactions", lambda: [each.transactions for each in open_.values()]),
            *_pool_gauges("actions", lambda: [each.actions for each in open_.values()]),
            Gauge(
                name="camber_http_actions_running",
                description="HTTP requests that actions answer, or that wait for a process.",
                labels={},
                read=lambda: sum(each.actions.answering for each in open_.values()),
            ),
        ]

    async def close(self) -> None:
        """Cancel actions, which may call functions while they clean up, and end the processes."""
        releases = self.pools
        grace_s = limits.action_grace_s
        await asyncio.gather(*(release.actions.stop(grace_s=grace_s) for release in releases))
        await asyncio.gather(*(release.transactions.close() for release in releases))
        await asyncio.to_thread(self._thread.close)

    def _system_query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        with closing(self._engine.begin(call.path, ts=ts)) as transaction:
            return self._system.query(call, transaction)

    def _moment(self, ts: Timestamp) -> Moment:
        return Moment(ts, self._engine.catalog_at(ts).since, self._engine.host.now_ns())

    def _last(
        self, release: ProcessRelease, ahead: Callable[[], Ahead | None] | None
    ) -> tuple[Moment, Ahead | None]:
        """Return the newest moment at which a release serves, and what leads there.

        A mutation that waited while another took over runs before that, and so conflicts with it.
        """
        newest = self._switches[-1]
        if self._releases.of(newest.number) is not release:
            return self._moment(newest.since - 1), None
        laid = None if ahead is None else ahead()
        return self._moment(self._engine.newest_ts if laid is None else laid.ts), laid

    def _release_at(self, ts: Timestamp) -> ProcessRelease:
        number = next(s.number for s in reversed(self._switches) if s.since <= ts)
        release = self._releases.of(number)
        assert isinstance(release, ProcessRelease), f"{release!r} is not in a process"
        return release

    def _published(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for change in commit.changes:
                if change.id == system_tables.RELEASE_ID and change.after is not None:
                    self._switched(commit.ts, _number(change.after))

    def _switched(self, ts: Timestamp, number: int) -> None:
        self._switches.append(_Switch(since=ts, number=number))
        # Read at a timestamp before the first, the oldest that is known serves.
        del self._switches[1 : -limits.releases_kept]
        serving = self._releases.of(number)
        for release in self.pools:
            if release is serving:
                release.serve()
            else:
                release.rest()


def _pool_gauges(
    kind: str, pools: Callable[[], Sequence[TransactionPool | ActionPool]]
) -> list[Gauge]:
    return [
        Gauge(
            name="camber_executors",
            description="Processes that run functions.",
            labels={"kind": kind},
            read=lambda: sum(len(pool.pids) for pool in pools()),
        ),
        Gauge(
            name="camber_executor_requests",
            description="Functions that run in processes, or wait for one.",
            labels={"kind": kind},
            read=lambda: sum(pool.in_flight for pool in pools()),
        ),
        Gauge(
            name="camber_executor_losses",
            description="Processes of the releases in use that ended without being told to.",
            labels={"kind": kind},
            read=lambda: sum(pool.losses for pool in pools()),
        ),
    ]


def _release_read() -> ReadSet:
    """Return the read set of a run that left none: a push may mend what ended it."""
    reads = ReadSet()
    key = encode_key([system_tables.RELEASE_ID])
    reads.record(by_id_index(system_tables.RELEASES_NUMBER), Interval.point(key), prefix=key)
    return reads


def _number(packed: bytes) -> int:
    document = unpack(packed)
    assert isinstance(document, dict)
    number = document["number"]
    assert isinstance(number, int)
    return number
