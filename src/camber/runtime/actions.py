"""Running actions: user code on an event loop of its own, with calls back into the server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from camber import limits
from camber.engine.catalog import TableNumbers, tables_of
from camber.errors import (
    AccessDenied,
    ActionLost,
    AppError,
    DeveloperError,
    FunctionError,
    RequestError,
)
from camber.functions.application import Application, Resolved
from camber.functions.calls import Callee
from camber.functions.contexts import ActionCtx, Auth, SyncActionCtx
from camber.functions.current import Contexts, running
from camber.functions.database import search_of
from camber.functions.definition import Function, FunctionKind
from camber.functions.environment import Environment
from camber.functions.logs import Log, capturing
from camber.functions.metadata import FunctionMetadata, RequestMetadata
from camber.functions.vector_search import VectorHit, place_of
from camber.host import Host, Threads
from camber.identity.identity import user_of
from camber.runtime.action_files import AskFiles
from camber.runtime.executor import Caller, FunctionCall, Origin, Progress
from camber.runtime.failures import FailureTexts
from camber.runtime.handles import Handles
from camber.runtime.invocation import (
    admitted,
    bound,
    encoded_arguments,
    encoded_result,
    function_metadata,
    handle_of,
    not_admitted,
    request_metadata,
    resolve,
)
from camber.runtime.results import ActionResult, Failure
from camber.runtime.scheduling import ActionSchedules
from camber.runtime.vector_searches import hits_of, search_call
from camber.schema.plan import TableNames
from camber.values.packed import unpack

R = TypeVar("R")


class BlockingCall(DeveloperError):
    """A call that blocks, where it would stop all that runs."""

    code = "BlockingCall"


class FunctionRunner(Protocol):
    """Runs functions through the cache and the committer; awaited on the actions' event loop."""

    async def run(self, call: FunctionCall, kind: FunctionKind) -> Completed:
        """Run a function of `kind` and return what came out.

        Raises:
            RequestError: it failed as a request.
        """


class Reading(Protocol):
    """What an action reads without a function: names of tables, and deployment variables."""

    @property
    def catalog(self) -> TableNumbers:
        """Return the tables that there are now."""

    def variable(self, name: str) -> str | None:
        """Return a deployment variable as it is now.

        Raises:
            VariableUnreadable: it was sealed under another secret.
        """


class Completed(Protocol):
    """What every finished function has."""

    @property
    def value(self) -> bytes | None:
        """Return the packed result."""

    @property
    def failure(self) -> Failure | None:
        """Return what went wrong, if something did."""

    @property
    def log_lines(self) -> tuple[str, ...]:
        """Return the log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a call was not let in by a guard: the guard denied it, or has failed."""

    denied: AccessDenied | None = None
    failure: Failure | None = None

    def told(self, texts: FailureTexts, call: FunctionCall) -> Failure:
        """Return what the caller is told."""
        if self.failure is not None:
            return self.failure
        assert self.denied is not None
        return texts.thrown(self.denied, call.request_id)


@dataclass(frozen=True, kw_only=True)
class ActionRunner:
    """Runs actions on whatever event loop it is awaited on."""

    host: Host
    reading: Reading
    texts: FailureTexts
    handles: Handles
    runner: FunctionRunner
    #: Threads for actions that are plain functions.
    threads: Threads

    async def run(
        self,
        call: FunctionCall,
        application: Application,
        progress: Progress,
        ask_files: AskFiles,
    ) -> ActionResult:
        """Run an action to its end, or until its time is up or it is cancelled.

        `progress` is told each line, where it is logged; `ask_files` is awaited on this loop.
        """
        log = Log(self.host.now_ns, progress)
        try:
            function = admitted(application, call, FunctionKind.ACTION)
            keywords = bound(function, call.arguments, self.names(call.component))
        except DeveloperError as error:
            return self._result(None, not_admitted(self.texts, error, call), log)
        time_limit = asyncio.timeout(limits.action_s_max)
        try:
            with capturing(log):
                async with time_limit:
                    if function.guard is not None and call.asks_guard:
                        refused = await self.refusal(call, call.path)
                        if refused is not None:
                            return self._result(None, refused.told(self.texts, call), log)
                    result = await self._invoke(
                        application, function, keywords, call, log, ask_files
                    )
        except asyncio.CancelledError:
            reason = "the server is ending" if is_being_cancelled() else "it cancelled itself"
            lost = ActionLost(
                f"{call.path} was cancelled: {reason}. It may have done part of its work"
            )
            return self._result(None, self.texts.refused(lost, call.request_id), log)
        # Whatever user code raises is its failure, SystemExit too: it must not end the server.
        except BaseException as error:  # noqa: BLE001
            if time_limit.expired():
                late = self.texts.refused(self.out_of_time(call), call.request_id)
                return self._result(None, late, log)
            return self._result(None, self.texts.thrown(error, call.request_id), log)
        try:
            packed = encoded_result(function, result, self.names(call.component))
            return self._result(packed, None, log)
        except DeveloperError as error:
            return self._result(None, self.texts.refused(error, call.request_id), log)

    async def refusal(self, call: FunctionCall, path: str) -> Refusal | None:
        """Ask the guard of an action, or of the route at `path`; return why it refuses, if it does.

        It is asked as a query is run: in a transaction of its own, on the newest snapshot.
        """
        try:
            answer = await self.runner.run(call.to_guard(path), FunctionKind.QUERY)
        except RequestError as error:
            return Refusal(failure=self.texts.refused(error, call.request_id))
        if answer.failure is not None:
            return Refusal(failure=answer.failure)
        assert answer.value is not None
        code = unpack(answer.value)
        if code is None:
            return None
        return Refusal(denied=AccessDenied.of(str(code)))

    def names(self, component: str) -> TableNames:
        """Return the tables that a component has now."""
        return tables_of(self.reading.catalog, component)

    def out_of_time(self, call: FunctionCall) -> ActionLost:
        """Return what is told of an action that has had its time."""
        return ActionLost(
            f"{call.path} has run for {limits.action_s_max:.0f} s, the most for one action. "
            "Split the work over several actions",
            code="ActionTimeout",
        )

    def _result(self, value: bytes | None, failure: Failure | None, log: Log) -> ActionResult:
        lines = self.texts.log_lines(log.texts)
        return ActionResult(value=value, failure=failure, log_lines=lines)

    def contexts(
        self, application: Application, call: FunctionCall, log: Log, ask_files: AskFiles
    ) -> Contexts:
        """Return what an action is given, by the kind of function that it is."""
        component = application.in_component(call.component)
        assert component is not None, f"{call.component} was admitted"
        auth = Auth(component.no_identity if call.component else lambda: user_of(call.identity))
        env = Environment(lambda name: component.variable(name, self._variable))
        loop = asyncio.get_running_loop()
        calls = _Calls(self, application, component, call, log, loop)
        schedules = ActionSchedules(
            host=self.host,
            reading=self.reading,
            runner=self.runner,
            handles=self.handles,
            application=application,
            component=component,
            call=call,
            log=log,
            loop=loop,
        )
        files = _FileCalls(self.reading, ask_files, calls, component.component)
        return Contexts(
            awaiting=ActionCtx(
                auth=auth, env=env, log=log, calls=calls, schedules=schedules, files=files
            ),
            blocking=SyncActionCtx(
                auth=auth, env=env, log=log, calls=calls, schedules=schedules, files=files
            ),
        )

    async def _invoke(
        self,
        application: Application,
        function: Function[..., Any],
        keywords: dict[str, Any],
        call: FunctionCall,
        log: Log,
        ask_files: AskFiles,
    ) -> Any:
        contexts = self.contexts(application, call, log, ask_files)
        if function.is_async:
            with running(contexts):
                return await function.handler(contexts.awaiting, **keywords)

        def run() -> Any:
            with capturing(log), running(contexts):
                return function.handler(contexts.blocking, **keywords)

        return await asyncio.wrap_future(self.threads.submit(run))

    def _variable(self, name: str) -> str | None:
        return self.reading.variable(name)


@dataclass(frozen=True, slots=True)
class _Calls:
    """The calls of one action."""

    actions: ActionRunner
    application: Application
    component: Application
    call: FunctionCall
    log: Log
    loop: asyncio.AbstractEventLoop

    async def query(
        self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        return await self._call(FunctionKind.QUERY, callee, args, kwargs)

    async def mutation(
        self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        return await self._call(FunctionKind.MUTATION, callee, args, kwargs)

    async def action(
        self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        return await self._call(FunctionKind.ACTION, callee, args, kwargs)

    async def nearest(
        self, index: object, vector: object, limit: object, where: object
    ) -> list[VectorHit[Any]]:
        table, name = place_of(index)
        component = self.component
        names = self.actions.names(component.component)
        declared = component.tables.get(table)
        asked = search_of(declared, names, table, name, vector, limit, where)
        try:
            done = await self.actions.runner.run(search_call(self.call, asked), FunctionKind.QUERY)
        except RequestError as error:
            msg = f"the server could not search for {self.call.path}: {error}"
            raise FunctionError(msg) from error
        return hits_of(done.value)

    def function(self) -> FunctionMetadata:
        found = self.component.functions.get(self.call.path)
        if found is not None:
            return function_metadata(self.component, found)
        # A route is no function that anybody could call.
        return FunctionMetadata(
            name=self.call.path,
            component_path=self.call.component,
            type="httpAction",
            visibility="public",
        )

    def request(self) -> RequestMetadata:
        return request_metadata(self.call, self.component)

    def handle(self, callee: Callee[..., Any]) -> str:
        return handle_of(self.actions.handles, self._resolved(callee))

    def _resolved(self, callee: Callee[..., Any]) -> Resolved:
        return resolve(self.actions.handles, self.application, self.component, callee)

    def block(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if asyncio._get_running_loop() is self.loop:  # noqa: SLF001  # None where there is none
            coroutine.close()
            msg = (
                "a blocking call on the event loop of actions would wait for itself: await the "
                "methods of an ActionCtx there"
            )
            raise BlockingCall(msg)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def _call(
        self,
        kind: FunctionKind,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        resolved = self._resolved(callee)
        function, component = resolved.function, resolved.component.component
        call = FunctionCall(
            path=function.path,
            component=component,
            arguments=encoded_arguments(function, args, kwargs, self.actions.names(component)),
            identity=self.call.identity,
            caller=Caller.APPLICATION,
            request_id=self.call.request_id,
            origin=Origin.ACTION,
            sender=self.call.sender,
            parent_execution_id=self.call.execution_id,
            traceparent=self.call.traceparent,
            job=self.call.job,
        )
        try:
            completed = await self.actions.runner.run(call, kind)
        except RequestError as error:
            raise FunctionError(f"{resolved.display} failed: {error}") from error
        self.log.show(completed.log_lines)
        failure = completed.failure
        if failure is not None:
            failed: AppError | FunctionError
            if failure.data is not None:
                failed = AppError(unpack(failure.data))
            else:
                failed = FunctionError(f"{resolved.display} failed: {failure.headline}")
            failed.frames = failure.frames
            raise failed
        assert completed.value is not None
        # A document's id may be of a table that this very call has created.
        return function.returns.decode(unpack(completed.value), self.actions.names(component))


@dataclass(frozen=True, slots=True)
class _FileCalls:
    """What one action asks about files."""

    reading: Reading
    ask: AskFiles
    calls: _Calls
    component: str

    @property
    def tables(self) -> TableNames:
        return self.reading.catalog

    def block(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return cast("R", self.calls.block(coroutine))


def is_being_cancelled() -> bool:
    """Return whether somebody else has cancelled the task that runs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


#: Plain `def` actions at once: each has a thread while it runs.
THREADS_MAX = limits.actions_in_flight_max
