"""Running a mutation until it commits.

A mutation that lost to a concurrent commit is run again from the start at a newer snapshot, after
the commit that it lost to is visible (semantics 4.4). What a client is told is durable.
"""

from __future__ import annotations

from collections.abc import Callable

from camber import limits
from camber.engine.committer import CommitConflict, Visible
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction
from camber.errors import WriteConflict
from camber.functions.definition import FunctionKind
from camber.host import Host
from camber.runtime.executor import Executor, FunctionCall, MutationExecuted, SessionRequest
from camber.runtime.function_log import Conflict, Execution, FunctionLog, ran_attributes
from camber.runtime.results import MutationResult
from camber.values.timestamp import Timestamp


class Mutations:
    """Runs and commits mutations. Lives on the event loop."""

    def __init__(self, *, engine: Engine, executor: Executor, log: FunctionLog) -> None:
        self._engine = engine
        self._executor = executor
        self._log = log

    async def run(
        self,
        call: FunctionCall,
        session: SessionRequest | None,
        visible: Callable[[], None] | None = None,
    ) -> MutationResult:
        """Run a mutation; return once it is durable, or its failure.

        `visible` is called as its commit becomes readable.

        Raises:
            WriteConflict: it lost each of its attempts to another commit.
            Overloaded: too many commits wait.
        """
        execution = self._log.begin(call, FunctionKind.MUTATION)
        try:
            with execution.current():
                return await self._until_committed(execution, session, visible)
        except Exception as error:
            execution.raised(error)
            raise

    async def _until_committed(
        self,
        execution: Execution,
        session: SessionRequest | None,
        visible: Callable[[], None] | None,
    ) -> MutationResult:
        call = execution.call
        while True:
            executed = await self._attempt(execution, session)
            if executed.recorded_ts is not None:
                execution.repeated()
                return _result(executed, executed.recorded_ts)
            if executed.failure is not None:
                execution.ended(executed.run, executed.failure, 0)
                return _result(executed, None)
            try:
                ts = await self._commit(executed.transaction, visible)
            except CommitConflict as conflict:
                execution.lost_to(Conflict(table=self._table(conflict), source=conflict.source))
                if execution.retries > limits.conflict_retries_max:
                    raise WriteConflict(
                        f"{call.path} lost {execution.retries} times to other commits, the last "
                        f"time to {conflict.source}, which wrote {conflict.place} after "
                        f"{call.path} had read it. Read less, or write that document less often"
                    ) from None
                await self._engine.committer.published(conflict.ts)
                await self._back_off(self._engine.host, execution.retries - 1)
            else:
                execution.ended(executed.run, None, len(executed.value or b""))
                return _result(executed, ts)

    async def _attempt(
        self, execution: Execution, session: SessionRequest | None
    ) -> MutationExecuted:
        tracing = self._log.tracing
        if tracing is None:
            return await self._executor.mutation(execution.call, session)
        asked_s = self._engine.host.monotonic()
        with tracing.step("attempt", {"camber.attempt": execution.retries + 1}) as span:
            executed = await self._executor.mutation(execution.call, session)
            span.set_attributes(ran_attributes(executed.run, asked_s))
            return executed

    async def _commit(
        self, transaction: FinishedTransaction, visible: Callable[[], None] | None
    ) -> Timestamp:
        tracing = self._log.tracing
        if tracing is None:
            return await self._engine.committer.commit(transaction, visible=_told(visible))
        with tracing.step("commit", {"camber.documents": len(transaction.changes)}) as span:

            def seen(ts: Timestamp) -> None:
                tracing.commit_visible(ts, span)
                if visible is not None:
                    visible()

            return await self._engine.committer.commit(transaction, visible=seen)

    def _table(self, conflict: CommitConflict) -> str | None:
        """Return the table whose index both have used."""
        for table in self._engine.catalog.tables():
            if any(index.id == conflict.index for index in table.indexes.values()):
                return table.name
        return None

    async def _back_off(self, host: Host, attempt: int) -> None:
        longest = min(limits.conflict_backoff_s_min * 2**attempt, limits.conflict_backoff_s_max)
        jitter = int.from_bytes(host.random_bytes(4), "big") / 2**32
        await host.sleep(longest * jitter)


def _told(visible: Callable[[], None] | None) -> Visible | None:
    return None if visible is None else lambda ts: visible()


def _result(executed: MutationExecuted, ts: Timestamp | None) -> MutationResult:
    return MutationResult(
        ts=ts, value=executed.value, failure=executed.failure, log_lines=executed.log_lines
    )
