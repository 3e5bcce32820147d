"""Values of every kind, there and back."""

from __future__ import annotations

from typing import Any

from camber import Id, Int64, MutationCtx, QueryCtx, mutation, query

from .schema import Everything


@query
def echo(ctx: QueryCtx, value: Any) -> Any:
    return value


@query
def integer(ctx: QueryCtx, value: int) -> int:
    return value


@query
def real(ctx: QueryCtx, value: float) -> float:
    return value


@query
def big(ctx: QueryCtx, value: Int64) -> Int64:
    return Int64(value + 1)


@query
def kinds(ctx: QueryCtx, value: Any) -> str:
    return type(value).__name__


@mutation
def store(ctx: MutationCtx, document: dict[str, Any]) -> Id[Everything]:
    return ctx.db.insert(Everything, document)


@query
def load(ctx: QueryCtx, id: Id[Everything]) -> Everything | None:
    return ctx.db.get(id)


@mutation
def put(ctx: MutationCtx, table: str, value: dict[str, Any]) -> str:
    return ctx.db.insert(table, value)


@query
def all(ctx: QueryCtx, table: str) -> list[Any]:
    return ctx.db.query(table).collect()
