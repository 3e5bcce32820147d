"""Every function of a deployment, run: queries through the cache, mutations until they commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias, assert_never
from uuid import UUID

from msgspec.structs import replace

from camber.engine.backlog import Backlog
from camber.engine.engine import Engine
from camber.functions.definition import FunctionKind
from camber.measures import Gauge
from camber.runtime.actions import FunctionRunner
from camber.runtime.executor import Caller, Executor, FunctionCall, SessionRequest
from camber.runtime.explanations import Explanation, NotExplained, reads_in_words
from camber.runtime.function_log import FunctionLog
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.mutations import Mutations
from camber.runtime.permissions import check_permission
from camber.runtime.queries import Queries
from camber.runtime.release import Routes
from camber.runtime.results import ActionResult, Failure, HttpResult, MutationResult, QueryResult
from camber.runtime.scheduling import carry_out, is_scheduling
from camber.runtime.system_functions.declaring import SYSTEM_PREFIX
from camber.runtime.vector_searches import is_vector_search
from camber.tracing import Tracing
from camber.values.packed import pack
from camber.values.timestamp import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came out of a function of any kind. `value` is packed."""

    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]


#: Makes what runs functions, given what carries out the calls that actions make.
MakeExecutor: TypeAlias = Callable[[FunctionRunner], Executor]


class Runtime:
    """Runs functions. Lives on the event loop that made it."""

    def __init__(
        self, *, engine: Engine, make_executor: MakeExecutor, tracing: Tracing | None = None
    ) -> None:
        self._engine = engine
        self.log = FunctionLog(engine.host, tracing)
        self.backlog = Backlog(engine)
        self.executor = make_executor(self)
        self.queries = Queries(engine=engine, executor=self.executor, log=self.log)
        self._mutations = Mutations(
            engine=engine, executor=self.executor, log=self.log, backlog=self.backlog
        )

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Return what waits, and what the executor shows of itself."""
        return [self._mutations.gauge, *self.executor.gauges]

    @property
    def newest_ts(self) -> Timestamp:
        """Return the newest published timestamp."""
        return self._engine.newest_ts

    async def query(self, call: FunctionCall, *, ts: Timestamp | None = None) -> QueryResult:
        """Return a query's result at `ts`, or at the newest timestamp.

        Raises:
            PermissionDenied: the caller's key does not allow it; so for all functions.
        """
        check_permission(call)
        return await self.queries.run(call, self.newest_ts if ts is None else ts)

    async def mutation(
        self,
        call: FunctionCall,
        *,
        session: SessionRequest | None = None,
        visible: Callable[[], None] | None = None,
    ) -> MutationResult:
        """Run a mutation; return once it is durable, or its failure."""
        check_permission(call)
        return await self._mutations.run(call, session, visible)

    async def action(self, call: FunctionCall) -> ActionResult:
        """Run an action to its end."""
        check_permission(call)
        call = replace(call, execution_id=self._new_execution_id())
        execution = self.log.begin(call, FunctionKind.ACTION)
        try:
            result = await self.executor.action(execution.call, execution.progress)
        except Exception as error:
            execution.raised(error)
            raise
        execution.ended(result.run, result.failure, len(result.value or b""))
        return result

    async def http_action(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange
    ) -> HttpResult:
        """Answer an HTTP request; return when its action has ended and all is with the client.

        Nobody is kept from it by a key: routes are public.
        """
        call = replace(call, execution_id=self._new_execution_id())
        execution = self.log.begin(call, FunctionKind.HTTP_ACTION)
        try:
            result = await self.executor.http_action(
                execution.call, request, exchange, execution.progress
            )
        except Exception as error:
            execution.raised(error)
            raise
        execution.answered(result)
        return result

    def routes(self) -> Routes:
        """Return the HTTP routes of the release that serves.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """
        return self.executor.routes()

    async def run(self, call: FunctionCall, kind: FunctionKind) -> Done:
        """Run a function as `kind` and return what came out."""
        if is_scheduling(call):
            value = await carry_out(self._engine, self.backlog, call)
            return Done(value=value, failure=None, log_lines=())
        if is_vector_search(call):
            searched = await self.executor.query(call, self.newest_ts)
            return Done(value=searched.result.packed, failure=None, log_lines=())
        if call.caller is Caller.GUARD:
            return await self._ask_guard(call)
        match kind:
            case FunctionKind.QUERY:
                result = await self.query(call)
                return Done(value=result.packed, failure=result.failure, log_lines=result.log_lines)
            case FunctionKind.MUTATION:
                changed = await self.mutation(call)
                return Done(
                    value=changed.value, failure=changed.failure, log_lines=changed.log_lines
                )
            case FunctionKind.ACTION:
                acted = await self.action(call)
                return Done(value=acted.value, failure=acted.failure, log_lines=acted.log_lines)
            case FunctionKind.HTTP_ACTION:
                raise AssertionError("nobody calls an HTTP action by name")
            case _:
                assert_never(kind)

    async def _ask_guard(self, call: FunctionCall) -> Done:
        """Ask the guard of an action or route, on the newest snapshot; None says that it lets in.

        It is logged where it does not: otherwise the action itself will be.
        """
        execution = self.log.begin(call, FunctionKind.QUERY)
        try:
            executed = await self.executor.query(execution.call, self.newest_ts)
        except Exception as error:
            execution.raised(error)
            raise
        result = executed.result
        if result.failure is None and result.packed == pack(None):
            execution.let_in()
        else:
            execution.ended(executed.run, result.failure, 0)
        return Done(value=result.packed, failure=result.failure, log_lines=result.log_lines)

    async def explain(self, call: FunctionCall) -> Explanation:
        """Run a query or mutation at the newest timestamp, to be looked at: nothing is written.

        Raises:
            PermissionDenied: the caller's key does not allow to run it.
            NotExplained: it is an action, or a query of the server's own.
        """
        check_permission(call)
        kind = self.kind_of(call) or FunctionKind.QUERY
        if call.path.startswith(SYSTEM_PREFIX):
            msg = f"{call.path} is the server's own: functions of the application are explained"
            raise NotExplained(msg)
        if kind not in {FunctionKind.QUERY, FunctionKind.MUTATION}:
            msg = (
                f"{call.path} is an action, which reads nothing itself: explain the queries and "
                "mutations that it runs"
            )
            raise NotExplained(msg)
        ts = self.newest_ts
        cache = self.queries.state_of(call) if kind is FunctionKind.QUERY else None
        explained = await self.executor.explain(call, kind, ts)
        catalog = self._engine.catalog_at(ts).catalog
        reads = reads_in_words(explained, catalog)
        return Explanation(call=call, explained=explained, reads=reads, cache=cache)

    def kind_of(self, call: FunctionCall) -> FunctionKind | None:
        """Return the kind of the function that is called, or None if there is none."""
        return self.executor.kind_of(call)

    def new_request_id(self) -> str:
        """Return a fresh request id: 16 hex digits."""
        return self._engine.host.random_bytes(8).hex()

    def _new_execution_id(self) -> str:
        return str(UUID(bytes=self._engine.host.random_bytes(16), version=4))

    async def close(self) -> None:
        """End the executor."""
        self.log.close()
        await self.executor.close()


def session_request_id(session: SessionRequest) -> str:
    """Return the request id of a client's mutation or action (protocol 5.4).

    The first 16 hex digits of the SHA-256 of `<session id>|<request id>`, so that it is the same
    on every retry.
    """
    return sha256(f"{session.session}|{session.request}".encode()).hexdigest()[:16]
