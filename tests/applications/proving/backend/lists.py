"""Lists that grow: for histories that are searched for anomalies."""

from __future__ import annotations

from typing import Any

from camber import Index, MutationCtx, QueryCtx, Table, mutation, query


class List(Table, table="lists"):
    key: str
    values: list[float]

    by_key = Index("key", unique=True)


@mutation
def transact(ctx: MutationCtx, operations: list[Any]) -> list[Any]:
    """Append and read, in this order; return what was read."""
    read = []
    for operation in operations:
        found = _find(ctx, operation["key"])
        if "value" not in operation:
            read.append(found.values if found else [])
        elif found is None:
            ctx.db.insert(List(key=operation["key"], values=[operation["value"]]))
        else:
            ctx.db.patch(found.id, values=[*found.values, operation["value"]])
    return read


@query
def look(ctx: QueryCtx, keys: list[str]) -> list[Any]:
    """Return several lists as they are at one moment."""
    return [found.values if found else [] for found in (_find(ctx, key) for key in keys)]


def _find(ctx: QueryCtx, key: str) -> List | None:
    return ctx.db.query(List).with_index(List.by_key, key=key).unique()
