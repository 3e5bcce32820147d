"""The executor inside the server process: one thread for transactions, one for actions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from camber.engine.catalog import Catalog
from camber.engine.committer import Ahead
from camber.engine.engine import Engine
from camber.engine.variables import Variables
from camber.functions.definition import FunctionKind
from camber.functions.file_requests import FileAnswer, FileRequest
from camber.functions.logs import LogLine, install_print
from camber.host import Threads
from camber.measures import Gauge
from camber.runtime.action_files import ActionFiles, AskFiles
from camber.runtime.actions import THREADS_MAX, ActionRunner, Completed, FunctionRunner
from camber.runtime.executor import (
    Explained,
    FunctionCall,
    MutationExecuted,
    Progress,
    QueryExecuted,
)
from camber.runtime.failures import FailureTexts
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.in_process_http import InProcessHttp
from camber.runtime.invocation import Serving, application_of, find
from camber.runtime.release import Routes
from camber.runtime.results import ActionResult, HttpResult
from camber.runtime.transactions import TransactionRunner
from camber.values.timestamp import Timestamp


class InProcessExecutor:
    """Runs functions on threads of the server (`executors = 0`). Made on the event loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: Serving,
        texts: FailureTexts,
        variables: Variables,
        transactions: TransactionRunner,
        runner: FunctionRunner,
        files: ActionFiles,
    ) -> None:
        install_print()
        self._engine = engine
        self._files = files
        self._releases = releases
        self._transactions = transactions
        self._transaction_thread = engine.host.worker("camber-transactions")
        self._action_thread = engine.host.loop_thread("camber-actions")
        self._threads = Threads("camber-action", THREADS_MAX)
        self._actions = ActionRunner(
            host=engine.host,
            reading=_Reading(engine, variables),
            texts=texts,
            handles=transactions.handles,
            runner=_OnLoop(runner, asyncio.get_running_loop()),
            threads=self._threads,
        )
        self._http = InProcessHttp(
            host=engine.host, actions=self._actions, thread=self._action_thread
        )

    async def query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        """Run a query at exactly `ts`."""
        return await self._transaction_thread.run(self._query, call, ts)

    async def mutation(
        self,
        call: FunctionCall,
        record_id: str | None,
        ahead: Callable[[], Ahead | None] | None,
    ) -> MutationExecuted:
        """Run a mutation at the newest snapshot, with what is ahead of it laid over."""
        laid = None if ahead is None else ahead()
        return await self._transaction_thread.run(self._mutation, call, record_id, laid)

    async def explain(self, call: FunctionCall, kind: FunctionKind, ts: Timestamp) -> Explained:
        """Run a query or mutation at `ts` and say what it did."""
        return await self._transaction_thread.run(self._explain, call, kind, ts)

    async def action(self, call: FunctionCall, progress: Progress) -> ActionResult:
        """Run an action to its end; tell `progress` each line as it is logged."""
        loop = asyncio.get_running_loop()

        def tell(line: LogLine) -> None:
            # An action that outlives its server logs to nobody.
            if not loop.is_closed():
                loop.call_soon_threadsafe(progress, line)

        with closing(self._engine.begin(call.path)) as transaction:
            application = application_of(self._releases.serving(transaction))
        async with self._asking_files() as ask:
            return await self._action_thread.run(self._actions.run(call, application, tell, ask))

    async def http_action(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange, progress: Progress
    ) -> HttpResult:
        """Answer an HTTP request; tell `progress` each line as it is logged."""
        with closing(self._engine.begin(call.path)) as transaction:
            application = application_of(self._releases.serving(transaction))
        async with self._asking_files() as ask:
            return await self._http.answer(call, application, request, exchange, progress, ask)

    @asynccontextmanager
    async def _asking_files(self) -> AsyncIterator[AskFiles]:
        """Let an action, on its own loop, ask about files within the block."""
        session = self._files.session()
        loop = asyncio.get_running_loop()

        async def ask(request: FileRequest) -> FileAnswer:
            asking = asyncio.run_coroutine_threadsafe(session.ask(request), loop)
            return await asyncio.wrap_future(asking)

        try:
            yield ask
        finally:
            await session.close()

    def routes(self) -> Routes:
        """Return the HTTP routes of the release that serves."""
        with closing(self._engine.begin("which route")) as transaction:
            return self._releases.serving(transaction).routes

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Return nothing: its threads are always there."""
        return ()

    def kind_of(self, call: FunctionCall) -> FunctionKind | None:
        """Return the kind of the function that is called, or None if there is none."""
        with closing(self._engine.begin("which function")) as transaction:
            function = find(self._releases.serving(transaction).analysis, call)
        return None if function is None else function.kind

    async def close(self) -> None:
        """End the threads; actions that still run are cancelled."""
        await self._http.close()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._action_thread.close()
        self._threads.close()
        self._transaction_thread.close()

    def _query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        with closing(self._engine.begin(call.path, ts=ts)) as transaction:
            return self._transactions.noted(self._transactions.query(call, transaction))

    def _explain(self, call: FunctionCall, kind: FunctionKind, ts: Timestamp) -> Explained:
        with closing(self._engine.begin(call.path, ts=ts)) as transaction:
            return self._transactions.look(call, kind, transaction).explained()

    def _mutation(
        self, call: FunctionCall, record_id: str | None, ahead: Ahead | None
    ) -> MutationExecuted:
        with closing(self._engine.begin(call.path, ahead=ahead)) as transaction:
            executed = self._transactions.mutation(call, record_id, transaction)
            return self._transactions.noted(executed)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What actions read of an engine in their own process."""

    engine: Engine
    variables: Variables

    @property
    def catalog(self) -> Catalog:
        return self.engine.catalog

    def variable(self, name: str) -> str | None:
        with closing(self.engine.begin("ctx.env")) as transaction:
            return self.variables.get(transaction, name)


@dataclass(frozen=True, slots=True)
class _OnLoop:
    """Runs functions on the server's event loop, for actions on another."""

    runner: FunctionRunner
    loop: asyncio.AbstractEventLoop

    async def run(self, call: FunctionCall, kind: FunctionKind) -> Completed:
        running = asyncio.run_coroutine_threadsafe(self.runner.run(call, kind), self.loop)
        return await asyncio.wrap_future(running)
