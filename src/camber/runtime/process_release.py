"""A release whose code is in processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from camber.engine.committer import Ahead
from camber.functions.analysis import Analysis
from camber.functions.application import Application
from camber.functions.definition import FunctionKind
from camber.runtime import frames
from camber.runtime.action_pool import ActionPool
from camber.runtime.executor import (
    Explained,
    FunctionCall,
    MutationExecuted,
    Progress,
    QueryExecuted,
)
from camber.runtime.fair_queue import Lane
from camber.runtime.frames import Moment
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.processes import ExecutorProcess
from camber.runtime.release import TableCheck, routes_of
from camber.runtime.results import ActionResult, HttpResult
from camber.runtime.transaction_pool import TransactionPool

R = TypeVar("R")


class ProcessRelease:
    """A release and the pools that run it. Lives on the event loop."""

    def __init__(
        self, *, analysis: Analysis, transactions: TransactionPool, actions: ActionPool
    ) -> None:
        self.analysis = analysis
        self.transactions = transactions
        self.actions = actions
        self.routes = routes_of(analysis)
        self._has_actions = self.routes is not None or any(
            function.kind is FunctionKind.ACTION
            for declared in analysis.everywhere().values()
            for function in declared.functions.values()
        )

    @property
    def root(self) -> Path:
        """Return where its processes load it from."""
        return self.transactions.root

    async def query(self, call: FunctionCall, moment: Moment) -> QueryExecuted:
        """Run a query."""
        answer = await self.transactions.run(
            call.path,
            lambda id_, process: frames.RunQuery(id=id_, call=call, moment=moment),
            Lane.QUERY,
            call.client,
        )
        match answer:
            case frames.QueryDone():
                return frames.query_executed(answer, moment.ts)
            case frames.Raised(error=error):
                raise frames.request_error(error)
            case _:
                raise _unexpected(answer)

    async def mutation(
        self,
        call: FunctionCall,
        record_id: str | None,
        begin: Callable[[], tuple[Moment, Ahead | None]],
        *,
        is_in_turn: bool,
    ) -> MutationExecuted:
        """Run a mutation at what `begin` says when a process takes it."""
        moment: Moment | None = None

        def message(id_: int, process: ExecutorProcess) -> frames.RunMutation:
            nonlocal moment
            moment, ahead = begin()
            return frames.RunMutation(
                id=id_,
                call=call,
                record_id=record_id,
                moment=moment,
                ahead=None if ahead is None else process.news_of(ahead),
            )

        lane = Lane.IN_TURN if is_in_turn else Lane.MUTATION
        answer = await self.transactions.run(call.path, message, lane, call.client)
        match answer:
            case frames.MutationDone():
                return frames.mutation_executed(answer)
            # Its user code had ended, and what it was interrupted in was told as of a query.
            case frames.QueryDone():
                assert moment is not None
                return frames.mutation_failed(answer, call.path, moment.ts)
            case frames.Raised(error=error):
                raise frames.request_error(error)
            case _:
                raise _unexpected(answer)

    async def explain(self, call: FunctionCall, kind: FunctionKind, moment: Moment) -> Explained:
        """Run a query or mutation and say what it did."""
        answer = await self.transactions.run(
            call.path,
            lambda id_, process: frames.RunExplanation(id=id_, call=call, kind=kind, moment=moment),
            Lane.QUERY,
            call.client,
        )
        match answer:
            case frames.ExplanationDone():
                return answer.explained
            case frames.Raised(error=error):
                raise frames.request_error(error)
            case _:
                raise _unexpected(answer)

    async def action(self, call: FunctionCall, progress: Progress) -> ActionResult:
        """Run an action to its end; tell `progress` each line as it is logged."""
        return await self.actions.run(call, progress)

    async def http_action(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange, progress: Progress
    ) -> HttpResult:
        """Answer an HTTP request; tell `progress` each line as it is logged."""
        return await self.actions.answer(call, request, exchange, progress)

    async def check(
        self, table: str, documents: Sequence[bytes], numbers: Mapping[str, int]
    ) -> TableCheck:
        """Hold packed documents against a declared table."""
        answer = await self.transactions.run(
            f"the check of {table}",
            lambda id_, process: frames.RunCheck(
                id=id_, table=table, documents=list(documents), numbers=dict(numbers)
            ),
            Lane.OWN,
            "",
        )
        if not isinstance(answer, frames.CheckDone):
            raise _unexpected(answer)
        return answer.check

    async def describe(self, function: Callable[[Application], R]) -> R:
        """Return what a function of Camber's own says of the loaded application."""
        name = f"{function.__module__}:{function.__qualname__}"
        answer = await self.transactions.run(
            name,
            lambda id_, process: frames.RunDescription(id=id_, function=name),
            Lane.OWN,
            "",
        )
        if not isinstance(answer, frames.DescriptionDone):
            raise _unexpected(answer)
        return cast("R", answer.value)

    def serve(self) -> None:
        """Start what is not there yet: this release serves now."""
        self.transactions.serve()
        if self._has_actions:
            self.actions.serve()

    def rest(self) -> None:
        """End the processes once nothing runs any more: another release serves."""
        self.transactions.rest()
        self.actions.rest()

    async def close(self) -> None:
        """Let what runs end, then the processes: actions first, which call transactions."""
        await self.actions.close()
        await self.transactions.close()


def _unexpected(answer: Any) -> AssertionError:
    return AssertionError(f"an executor has answered {type(answer).__name__}")
