"""Functions of a component."""

from __future__ import annotations

from camber import QueryCtx, query


@query
def currency(ctx: QueryCtx) -> str:
    return ctx.env["CURRENCY"]
