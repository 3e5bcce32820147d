"""Running a mutation until it commits.

A mutation that lost to another is run again from the start, in its turn: behind those that arrived
earlier and want the same keys, and as soon as the one before it has its timestamp, whose writes it
sees though they are not durable yet. One of a function whose calls are in each other's way waits for
its turn before it runs at all. What a client is told is durable, and so is all that it follows from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from camber import limits
from camber.engine import session_requests
from camber.engine.backlog import Backlog
from camber.engine.committer import Ahead, CommitConflict, Visible
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction
from camber.errors import Overloaded, WriteConflict
from camber.functions.definition import FunctionKind
from camber.measures import Gauge
from camber.occ.interval import IndexId
from camber.occ.turns import Claim, Ticket, Turns
from camber.occ.write_log import Conflict as LostTo
from camber.runtime.executor import Executor, FunctionCall, MutationExecuted, SessionRequest
from camber.runtime.foresight import Foresight, Pattern
from camber.runtime.function_log import Conflict, Execution, FunctionLog, ran_attributes
from camber.runtime.results import MutationResult
from camber.storage.store import index_writes
from camber.tracing import Tracing
from camber.values.pending import stamped
from camber.values.timestamp import Timestamp


class Mutations:
    """Runs and commits mutations. Lives on the event loop."""

    def __init__(
        self, *, engine: Engine, executor: Executor, log: FunctionLog, backlog: Backlog
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._log = log
        self._backlog = backlog
        self.turns = Turns()
        self._foresight = Foresight()
        self._asleep: dict[Ticket, asyncio.Future[None]] = {}
        #: What mutations committed of late, as against all others who commit.
        self._ordered: deque[Timestamp] = deque(maxlen=limits.commit_queue_max)

    @property
    def gauge(self) -> Gauge:
        """Return how many wait."""
        return Gauge(
            name="camber_mutations_waiting",
            description="Mutations that wait for their turn.",
            labels={},
            read=lambda: self.turns.waiting,
        )

    async def run(
        self,
        call: FunctionCall,
        session: SessionRequest | None,
        visible: Callable[[], None] | None = None,
    ) -> MutationResult:
        """Run a mutation; return once it is durable, or its failure.

        `visible` is called as its commit becomes readable.

        Raises:
            WriteConflict: it lost again and again to commits that do not wait for their turn.
            Overloaded: too many commits wait.
            ScheduleFull: too many functions wait for their time.
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
        ticket, tracing = self.turns.arrive(execution.call.path), self._log.tracing
        record_id = None
        if session is not None:
            record_id = session_requests.record_id(session.session, session.request)
        try:
            foretold = self._foretold(execution.call)
            if foretold:
                await self._turn(ticket, foretold)
            while True:
                ahead = self._ahead(ticket) if ticket.claims else None
                if tracing is None:
                    executed = await self._executor.mutation(execution.call, record_id, ahead)
                else:
                    executed = await self._attempt(tracing, execution, record_id, ahead)
                if foretold:
                    _judge(foretold, executed.transaction)
                    foretold = {}
                transaction = executed.transaction
                failed = executed.recorded_ts is not None or executed.failure is not None
                if session is not None and record_id is not None and not failed:
                    transaction = self._recorded(executed, session, record_id)
                if failed or not transaction.changes:
                    self._leave(ticket)
                    if not await self._engine.committer.settled(transaction.begin_ts):
                        # What it would tell follows from something that is not so.
                        self._count_loss(execution, None, "a write that failed")
                        continue
                    ts = executed.recorded_ts if failed else transaction.begin_ts
                else:
                    committed = await self._ordered_at(execution, ticket, transaction, visible)
                    if committed is None:
                        continue
                    ts = committed
                if executed.recorded_ts is not None:
                    execution.repeated()
                else:
                    execution.ended(executed.run, executed.failure, len(executed.value or b""))
                return _result(executed, ts)
        finally:
            self._leave(ticket)

    async def _attempt(
        self,
        tracing: Tracing,
        execution: Execution,
        record_id: str | None,
        ahead: Callable[[], Ahead | None] | None,
    ) -> MutationExecuted:
        asked_s = self._engine.host.monotonic()
        with tracing.step("attempt", {"camber.attempt": execution.retries + 1}) as span:
            executed = await self._executor.mutation(execution.call, record_id, ahead)
            span.set_attributes(ran_attributes(executed.run, asked_s))
            return executed

    def _recorded(
        self, executed: MutationExecuted, session: SessionRequest, record_id: str
    ) -> FinishedTransaction:
        """Return what a run wants to change, its record included."""
        assert executed.value is not None
        return session_requests.with_record(
            executed.transaction,
            id=record_id,
            session=session.session,
            request=session.request,
            result=executed.value,
            result_places=executed.value_places,
            log_lines=executed.log_lines,
            now_ns=self._engine.host.now_ns(),
        )

    def _ahead(self, ticket: Ticket) -> Callable[[], Ahead | None]:
        """Return what says, when it runs, what it reads before that is durable."""
        return lambda: self._engine.committer.ahead_of(ticket.claims)

    async def _ordered_at(
        self,
        execution: Execution,
        ticket: Ticket,
        transaction: FinishedTransaction,
        visible: Callable[[], None] | None,
    ) -> Timestamp | None:
        """Return when the transaction has committed; None when it is its turn to run again."""
        committer, tracing = self._engine.committer, self._log.tracing
        while True:
            if not committer.is_open:
                await committer.opened()
            found = len(self.turns) and self.turns.in_the_way(
                ticket, index_writes(transaction.changes, transaction.staged)
            )
            if not found:
                break
            claim, holder = found
            if ticket.claims or transaction.reads.meets(*claim):
                # The holder has most likely written what was read: nothing to wait for.
                self._count_loss(execution, claim[0], holder.source)
                self._learn(execution.call, claim)
                await self._turn(ticket, [claim])
                return None
            self.turns.stand_aside(ticket, claim)
            await self._sleep(ticket)
        try:
            if tracing is None:
                return await self._submit(ticket, transaction, _told(visible))
            return await self._commit(tracing, ticket, transaction, visible)
        except CommitConflict as lost:
            await self._lost(execution, ticket, lost.conflict)
            return None

    async def _commit(
        self,
        tracing: Tracing,
        ticket: Ticket,
        transaction: FinishedTransaction,
        visible: Callable[[], None] | None,
    ) -> Timestamp:
        with tracing.step("commit", {"camber.documents": len(transaction.changes)}) as span:

            def seen(ts: Timestamp) -> None:
                tracing.commit_visible(ts, span)
                if visible is not None:
                    visible()

            return await self._submit(ticket, transaction, seen)

    def _submit(
        self, ticket: Ticket, transaction: FinishedTransaction, visible: Visible | None
    ) -> asyncio.Future[Timestamp]:
        committer = self._engine.committer
        if transaction.scheduled:
            self._backlog.admit(transaction)
        done = committer.submit(transaction, visible)
        self._ordered.append(committer.assigned_ts)
        # Whoever is next reads what has just been assigned.
        self._leave(ticket)
        return done

    # Losing, and waiting for a turn.

    async def _lost(self, execution: Execution, ticket: Ticket, conflict: LostTo) -> None:
        """Wait for the turn to run again after a conflict.

        Raises:
            WriteConflict: it has happened too often while it was its turn.
        """
        committer = self._engine.committer
        claim = None if conflict.index is None else _claim(ticket, conflict.index, conflict.prefix)
        if (claim is None or claim in ticket.claims) and conflict.ts not in self._ordered:
            ticket.losses += 1
            if ticket.losses > limits.conflict_retries_max:
                raise WriteConflict(
                    f"{ticket.source} lost {ticket.losses} times in its turn to other commits, the "
                    f"last time to {conflict.source}, which wrote {conflict.place} after "
                    f"{ticket.source} had read it. Read less, or write that less often"
                )
        claims = [*ticket.claims, *([] if claim is None else [claim])]
        if claim is not None and claim not in ticket.claims:
            self._learn(execution.call, claim)
        execution.lost_to(Conflict(table=self._table(conflict.index), source=conflict.source))
        if not committer.can_read(conflict.ts):
            # It would lose again to what it cannot see yet.
            self._leave(ticket)
            await committer.published(conflict.ts)
        if claims:
            await self._turn(ticket, claims)

    def _count_loss(self, execution: Execution, index: IndexId | None, source: str) -> None:
        """Note a run for nothing that the committer has not seen."""
        self._engine.committer.conflicts += 1
        execution.lost_to(Conflict(table=self._table(index), source=source))

    def _learn(self, call: FunctionCall, claim: Claim) -> None:
        now_s = self._engine.host.monotonic()
        self._foresight.lost(call.path, call.arguments, claim, now_s)

    def _foretold(self, call: FunctionCall) -> dict[Claim, Pattern]:
        return self._foresight.called(call.path, call.arguments, self._engine.host.monotonic())

    async def _turn(self, ticket: Ticket, claims: Iterable[Claim]) -> None:
        """Return when it is the turn of one that claims this besides what it has."""
        if self.turns.waiting >= limits.turns_waiting_max:
            raise Overloaded(
                f"{self.turns.waiting} mutations wait for their turn, the most that may; "
                "try again later",
                code="ExecuteFullError",
            )
        self._wake(self.turns.wait(ticket, claims))
        if ticket.waits:
            self._foresight.waited(ticket.source)
            await self._sleep(ticket)

    async def _sleep(self, ticket: Ticket) -> None:
        woken = self._asleep[ticket] = asyncio.get_running_loop().create_future()
        try:
            await woken
        finally:
            self._asleep.pop(ticket, None)

    def _leave(self, ticket: Ticket) -> None:
        if ticket.claims or ticket.aside is not None:
            self._wake(self.turns.leave(ticket))

    def _wake(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            woken = self._asleep.pop(ticket, None)
            if woken is not None and not woken.done():
                woken.set_result(None)

    def _table(self, index: IndexId | None) -> str | None:
        """Return the table of an index, if anybody knows."""
        for table in self._engine.catalog.tables():
            if any(each.id == index for each in table.indexes.values()):
                return table.name
        return None


def _claim(ticket: Ticket, index: IndexId, prefix: bytes) -> Claim:
    """Return what to claim after a conflict: all of an index where one thing led to another."""
    if sum(claim[0] == index for claim in ticket.claims) >= limits.claims_per_index_max:
        return index, b""
    return index, prefix


def _judge(foretold: Mapping[Claim, Pattern], transaction: FinishedTransaction) -> None:
    for claim, pattern in foretold.items():
        pattern.judge(was_right=transaction.reads.meets(*claim))


def _told(visible: Callable[[], None] | None) -> Visible | None:
    return None if visible is None else lambda ts: visible()


def _result(executed: MutationExecuted, ts: Timestamp | None) -> MutationResult:
    value = executed.value
    if executed.value_places:
        assert value is not None
        assert ts is not None
        value = stamped(value, executed.value_places, ts)
    return MutationResult(
        ts=ts, value=value, failure=executed.failure, log_lines=executed.log_lines
    )
