"""Counters: hot documents."""

from __future__ import annotations

from camber import Id, MutationCtx, QueryCtx, mutation, query

from .schema import Counter


@query
def read(ctx: QueryCtx, name: str) -> int:
    found = ctx.db.query(Counter).with_index(Counter.by_name, name=name).unique()
    return 0 if found is None else found.value


@mutation
def increment(ctx: MutationCtx, name: str, by: int = 1) -> int:
    found = ctx.db.query(Counter).with_index(Counter.by_name, name=name).unique()
    if found is None:
        ctx.db.insert(Counter(name=name, value=by))
        return by
    ctx.db.patch(found.id, value=found.value + by)
    return found.value + by


@mutation
def insert_twice(ctx: MutationCtx, name: str) -> Id[Counter]:
    ctx.db.insert(Counter(name=name))
    return ctx.db.insert(Counter(name=name))


@query
def strict(ctx: QueryCtx, name: str) -> int:
    """As `read`, but a counter that is not there is an error."""
    found = ctx.db.query(Counter).with_index(Counter.by_name, name=name).unique()
    if found is None:
        raise LookupError(name)
    return found.value
