from typing import Any

from camber import MutationCtx, QueryCtx, internal_mutation, internal_query, mutation, query

from .auth import auth
from .schema import Note, User


@query
def me(ctx: QueryCtx) -> User | None:
    return auth.user(ctx)


@query
def session_device(ctx: QueryCtx) -> str | None:
    session = auth.session(ctx)
    return None if session is None else session.device


@mutation
def write(ctx: MutationCtx, text: str) -> str:
    user = auth.require_user(ctx)
    ctx.db.insert(Note(text=text))
    return user.id


@internal_mutation
def leave(ctx: MutationCtx, user: str) -> None:
    auth.end_sessions(ctx, user)


@internal_mutation
def change(ctx: MutationCtx, id: str, fields: dict[str, Any]) -> None:
    ctx.db.patch(id, fields)


@internal_mutation
def add(ctx: MutationCtx, table: str, fields: dict[str, Any]) -> str:
    return ctx.db.insert(table, fields)


@internal_query
def rows(ctx: QueryCtx, table: str) -> list[dict[str, Any]]:
    return [row.to_dict() for row in ctx.db.query(table)]


@internal_mutation
def remove(ctx: MutationCtx, id: str) -> None:
    ctx.db.delete(id)
