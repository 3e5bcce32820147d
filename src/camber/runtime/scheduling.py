"""Scheduling for functions: within a mutation's transaction, or by the server for an action."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import msgspec

from camber import limits
from camber.engine import scheduled
from camber.engine.backlog import Backlog
from camber.engine.catalog import TableNumbers, tables_of
from camber.engine.engine import Engine
from camber.engine.scheduled import Lane, RetryPolicy
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import ArgumentValidationError, DeveloperError, FunctionError, RequestError
from camber.functions.application import Application
from camber.functions.calls import Callee
from camber.functions.definition import FunctionKind
from camber.functions.logs import Log
from camber.functions.system_documents import ScheduledFunction
from camber.host import Host
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.runtime.handles import Handles
from camber.runtime.invocation import resolve
from camber.schema.annotations import Id
from camber.values.packed import pack, unpack
from camber.values.paths import FunctionPath
from camber.values.size import value_size
from camber.values.value import Value, canonical, canonical_float

#: What actions ask of the server. No client reaches these: they are no functions.
_SCHEDULE: Final = "_system/scheduler:schedule"
_CANCEL: Final = "_system/scheduler:cancel"


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A function to schedule."""

    #: The component that asks for it, and where the function is.
    owner: str
    component: str
    path: str
    arguments: Value
    due_ms: float
    lane: Lane
    retry: RetryPolicy | None

    def on(self, transaction: Transaction, parent: str | None) -> str:
        return scheduled.schedule(
            transaction,
            component=self.component,
            path=self.path,
            name=FunctionPath.parse(self.path).canonical,
            arguments=self.arguments,
            due_ms=self.due_ms,
            lane=self.lane,
            retry=self.retry,
            parent=parent,
            owner=self.owner,
        )

    def message(self) -> dict[str, Value]:
        """Return it as an action tells the server; the arguments are packed already."""
        retry = None if self.retry is None else canonical(msgspec.to_builtins(self.retry))
        return {
            "owner": self.owner,
            "component": self.component,
            "path": self.path,
            "arguments": pack(self.arguments),
            "due_ms": canonical_float(self.due_ms),
            "lane": self.lane.value,
            "retry": retry,
        }

    @staticmethod
    def of(message: dict[str, Any]) -> _Wanted:
        """Return what a message of an action asks for."""
        return _Wanted(
            owner=message["owner"],
            component=message["component"],
            path=message["path"],
            arguments=unpack(message["arguments"]),
            due_ms=float(message["due_ms"]),
            lane=Lane(message["lane"]),
            retry=msgspec.convert(message["retry"], RetryPolicy | None),
        )


def _wanted(
    handles: Handles,
    application: Application,
    caller: Application,
    due_ms: float,
    callee: Callee[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    retry: RetryPolicy | None,
    tables: TableNumbers,
) -> _Wanted:
    """Return what to schedule. The function must be there now; arguments are checked when it runs.

    Raises:
        FunctionNotFound: it is not there.
        DeveloperError: the arguments cannot be sent, or options do not fit the function.
    """
    resolved = resolve(handles, application, caller, callee)
    function, component = resolved.function, resolved.component.component
    arguments = function.arguments.encode_call(args, kwargs, tables_of(tables, component))
    if value_size(arguments) > limits.arguments_bytes_max:
        msg = (
            f"the arguments of {function.path} are larger than {limits.arguments_bytes_max} bytes, "
            "the most for one call. Store the data in documents, and give their ids"
        )
        raise ArgumentValidationError(msg)
    if retry is not None and function.kind is not FunctionKind.ACTION:
        msg = (
            f"a Retry is for actions, and {function.path} is a {function.kind.value}: what the "
            "server could not run or commit is run again anyway, and what has failed by itself "
            "would fail again"
        )
        raise DeveloperError(msg, code="InvalidRetry")
    return _Wanted(
        owner=caller.component,
        component=component,
        path=function.path,
        arguments=arguments,
        due_ms=due_ms,
        lane=lane_of(function),
        retry=retry,
    )


class _Kind(Protocol):
    @property
    def kind(self) -> FunctionKind: ...


def lane_of(function: _Kind) -> Lane:
    """Return where a function waits for its time."""
    return Lane.ACTION if function.kind is FunctionKind.ACTION else Lane.MUTATION


class TransactionSchedules(msgspec.Struct, frozen=True):
    """Scheduling as part of a transaction."""

    transaction: Transaction
    handles: Handles
    application: Application
    component: Application
    call: FunctionCall
    log: Log

    def now_ms(self) -> float:
        """Return the transaction's time."""
        return self.transaction.now_ns / 1e6

    def schedule(
        self,
        due_ms: float,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        retry: RetryPolicy | None,
    ) -> Id[ScheduledFunction]:
        """Add a scheduled function to what the transaction writes."""
        wanted = _wanted(
            self.handles,
            self.application,
            self.component,
            due_ms,
            callee,
            args,
            kwargs,
            retry,
            self.transaction,
        )
        _warn_of_size(self.log, wanted)
        return cast("Id[ScheduledFunction]", wanted.on(self.transaction, self.call.job))

    def cancel(self, id: str) -> None:
        """Cancel a scheduled function with what the transaction writes.

        Raises:
            DeveloperError: it is the very one that runs.
        """
        if self.call.runs_job and id == self.call.job:
            msg = (
                f"{self.call.path} runs as {id} and cannot cancel itself: it is done when it "
                "returns. Raise an error to undo what it has written"
            )
            raise DeveloperError(msg, code="ScheduledFunctionCancelingItself")
        scheduled.cancel_own(self.transaction, id, self.component.component)


class _Runner(Protocol):
    async def run(self, call: FunctionCall, kind: FunctionKind) -> Any: ...


class _Reading(Protocol):
    @property
    def catalog(self) -> TableNumbers: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSchedules:
    """Scheduling for an action: the server does it, in a transaction of its own each time."""

    host: Host
    reading: _Reading
    runner: _Runner
    handles: Handles
    application: Application
    component: Application
    call: FunctionCall
    log: Log
    loop: asyncio.AbstractEventLoop

    def now_ms(self) -> float:
        """Return the time now."""
        return self.host.now_ns() / 1e6

    async def schedule(
        self,
        due_ms: float,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        retry: RetryPolicy | None,
    ) -> Id[ScheduledFunction]:
        """Have the server schedule a function."""
        wanted = _wanted(
            self.handles,
            self.application,
            self.component,
            due_ms,
            callee,
            args,
            kwargs,
            retry,
            self.reading.catalog,
        )
        _warn_of_size(self.log, wanted)
        return cast("Id[ScheduledFunction]", await self._ask(_SCHEDULE, wanted.message()))

    async def cancel(self, id: str) -> None:
        """Have the server cancel a scheduled function."""
        await self._ask(_CANCEL, {"id": id, "owner": self.component.component})

    def block(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for the server on the thread of a plain function."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def _ask(self, path: str, what: dict[str, Value]) -> Any:
        call = FunctionCall(
            path=path,
            arguments=pack(what),
            identity=self.call.identity,
            caller=Caller.APPLICATION,
            request_id=self.call.request_id,
            origin=Origin.ACTION,
            parent_execution_id=self.call.execution_id,
            traceparent=self.call.traceparent,
            job=self.call.job,
        )
        try:
            done = await self.runner.run(call, FunctionKind.MUTATION)
        except RequestError as error:
            msg = f"the server could not do what {self.call.path} asked of its scheduler: {error}"
            raise FunctionError(msg) from error
        return unpack(done.value)


def is_scheduling(call: FunctionCall) -> bool:
    """Return whether an action asks the server to schedule or to cancel."""
    return call.origin is Origin.ACTION and call.path in {_SCHEDULE, _CANCEL}


async def carry_out(engine: Engine, backlog: Backlog, call: FunctionCall) -> bytes:
    """Do what an action asks of its scheduler; return its packed result once that is durable.

    Raises:
        ScheduleFull: too many functions wait for their time.
    """
    what: Any = unpack(call.arguments)
    if call.path == _CANCEL:
        await write(
            engine, "ctx.scheduler", lambda tx: scheduled.cancel_own(tx, what["id"], what["owner"])
        )
        return pack(None)
    wanted = _Wanted.of(what)
    return pack(
        await write(
            engine, "ctx.scheduler", lambda tx: wanted.on(tx, call.job), admit=backlog.admit
        )
    )


def _warn_of_size(log: Log, wanted: _Wanted) -> None:
    size = value_size(wanted.arguments)
    if size > limits.scheduled_arguments_bytes_large:
        log.line(
            "WARN",
            [
                f"warning:ScheduledFunctionArgumentsLarge {wanted.path} was scheduled with arguments "
                f"of {size} bytes, which are stored and read again when it runs. Store the data in "
                "documents, and give their ids"
            ],
        )
