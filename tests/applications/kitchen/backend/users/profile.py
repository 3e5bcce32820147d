"""Who calls."""

from __future__ import annotations

from typing import Any

from camber import QueryCtx, query


@query
def get(ctx: QueryCtx) -> Any:
    identity = ctx.auth.get_user_identity()
    return None if identity is None else identity.to_dict()


@query
def default(ctx: QueryCtx) -> str:
    return "the default export"
