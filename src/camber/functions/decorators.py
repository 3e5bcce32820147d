"""The decorators that make functions of an application callable by clients.

Each works bare, or with the name under which clients know the function,
`@query(name="getRateLimit")`, and with who may call it, `@query(allow=signed_in)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from camber.functions.contexts import ActionCtx, MutationCtx, QueryCtx, SyncActionCtx
from camber.functions.definition import DefinitionError, Function, FunctionKind, Visibility
from camber.functions.predicates import Allow, guard_of
from camber.values.paths import is_identifier

P = ParamSpec("P")
R = TypeVar("R")


class QueryDecorator(Protocol):
    """Registers a query."""

    @overload
    def __call__(self, handler: Callable[Concatenate[QueryCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str | None = None, allow: Allow | None = None
    ) -> Callable[[Callable[Concatenate[QueryCtx, P], R]], Function[P, R]]: ...


class MutationDecorator(Protocol):
    """Registers a mutation."""

    @overload
    def __call__(self, handler: Callable[Concatenate[MutationCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str | None = None, allow: Allow | None = None
    ) -> Callable[[Callable[Concatenate[MutationCtx, P], R]], Function[P, R]]: ...


class ActionDecorator(Protocol):
    """Registers an action, `async def` with `ActionCtx` or plain `def` with `SyncActionCtx`."""

    @overload
    def __call__(
        self, handler: Callable[Concatenate[SyncActionCtx, P], R], /
    ) -> Function[P, R]: ...

    @overload
    def __call__(self, handler: Callable[Concatenate[ActionCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str | None = None, allow: Allow | None = None
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Function[P, R]]: ...


class InternalQueryDecorator(Protocol):
    """Registers an internal query, which takes no guard."""

    @overload
    def __call__(self, handler: Callable[Concatenate[QueryCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str
    ) -> Callable[[Callable[Concatenate[QueryCtx, P], R]], Function[P, R]]: ...


class InternalMutationDecorator(Protocol):
    """Registers an internal mutation, which takes no guard."""

    @overload
    def __call__(self, handler: Callable[Concatenate[MutationCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str
    ) -> Callable[[Callable[Concatenate[MutationCtx, P], R]], Function[P, R]]: ...


class InternalActionDecorator(Protocol):
    """Registers an internal action, which takes no guard."""

    @overload
    def __call__(
        self, handler: Callable[Concatenate[SyncActionCtx, P], R], /
    ) -> Function[P, R]: ...

    @overload
    def __call__(self, handler: Callable[Concatenate[ActionCtx, P], R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, name: str
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Function[P, R]]: ...


def _decorator(kind: FunctionKind, visibility: Visibility) -> Any:
    def register(
        handler: Callable[..., Any], name: str | None, allow: Allow | None
    ) -> Function[Any, Any]:
        if isinstance(handler, Function):
            msg = f"{handler!r} is registered twice: use one decorator"
            raise DefinitionError(msg)
        if not inspect.isfunction(handler):
            msg = f"@{kind.value} registers a function, not {handler!r}"
            raise DefinitionError(msg)
        is_async = inspect.iscoroutinefunction(handler)
        if kind is not FunctionKind.ACTION and is_async:
            msg = (
                f"{handler.__module__}.{handler.__name__} is a {kind.value} and `async def`. A "
                "transaction waits for nothing: write `def` and delete the awaits"
            )
            raise DefinitionError(msg)
        if name is not None and not is_identifier(name):
            msg = f"{name!r} cannot name a function: letters, digits and '_', at most 64"
            raise DefinitionError(msg)
        if allow is not None and visibility is Visibility.INTERNAL:
            msg = (
                f"{handler.__module__}.{handler.__name__} is internal and has `allow=`. A guard is asked "
                "of those who call from outside, and they cannot call it: leave it out, or make it public"
            )
            raise DefinitionError(msg)
        guard = None if allow is None else guard_of(allow)
        return Function(handler, kind=kind, visibility=visibility, name=name, guard=guard)

    def decorator(
        handler: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        allow: Allow | None = None,
    ) -> Any:
        if handler is None:
            return lambda wrapped: register(wrapped, name, allow)
        return register(handler, name, allow)

    decorator.__doc__ = f"Register a {visibility.value} {kind.value}."
    return decorator


query: QueryDecorator = _decorator(FunctionKind.QUERY, Visibility.PUBLIC)
mutation: MutationDecorator = _decorator(FunctionKind.MUTATION, Visibility.PUBLIC)
action: ActionDecorator = _decorator(FunctionKind.ACTION, Visibility.PUBLIC)
internal_query: InternalQueryDecorator = _decorator(FunctionKind.QUERY, Visibility.INTERNAL)
internal_mutation: InternalMutationDecorator = _decorator(
    FunctionKind.MUTATION, Visibility.INTERNAL
)
internal_action: InternalActionDecorator = _decorator(FunctionKind.ACTION, Visibility.INTERNAL)
