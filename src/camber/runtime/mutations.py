"""Running a mutation until it commits.

A mutation that lost to a concurrent commit is run again from the start at a newer snapshot, after
the commit that it lost to is visible (semantics 4.4). What a client is told is durable.
"""

from __future__ import annotations

from collections.abc import Callable

from camber import limits
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.errors import WriteConflict
from camber.host import Host
from camber.runtime.executor import Executor, FunctionCall, SessionRequest
from camber.runtime.results import MutationResult


class Mutations:
    """Runs and commits mutations. Lives on the event loop."""

    def __init__(self, *, engine: Engine, executor: Executor) -> None:
        self._engine = engine
        self._executor = executor

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
        attempt = 0
        while True:
            executed = await self._executor.mutation(call, session)
            if executed.failure is not None:
                return MutationResult(
                    ts=None, value=None, failure=executed.failure, log_lines=executed.log_lines
                )
            if executed.recorded_ts is not None:
                return MutationResult(
                    ts=executed.recorded_ts,
                    value=executed.value,
                    failure=None,
                    log_lines=executed.log_lines,
                )
            try:
                ts = await self._engine.committer.commit(executed.transaction, visible=visible)
            except CommitConflict as conflict:
                if attempt == limits.conflict_retries_max:
                    raise WriteConflict(
                        f"{call.path} lost {attempt + 1} times to other commits, the last time to "
                        f"{conflict.source}, which wrote {conflict.place} after {call.path} had "
                        "read it. Read less, or write that document less often"
                    ) from None
                await self._engine.committer.published(conflict.ts)
                await self._back_off(self._engine.host, attempt)
                attempt += 1
            else:
                return MutationResult(
                    ts=ts, value=executed.value, failure=None, log_lines=executed.log_lines
                )

    async def _back_off(self, host: Host, attempt: int) -> None:
        longest = min(limits.conflict_backoff_s_min * 2**attempt, limits.conflict_backoff_s_max)
        jitter = int.from_bytes(host.random_bytes(4), "big") / 2**32
        await host.sleep(longest * jitter)
