"""What HTTP actions have done, for a witness to see."""

from camber import AppError, MutationCtx, QueryCtx, Table, internal_mutation, mutation, query


class Note(Table, table="notes"):
    text: str


@mutation
def add(ctx: MutationCtx, text: str) -> str:
    return ctx.db.insert(Note(text=text))


@internal_mutation
def refuse(ctx: MutationCtx) -> None:
    raise AppError({"code": "NO", "cents": 3})


@query
def texts(ctx: QueryCtx) -> list[str]:
    return [note.text for note in ctx.db.query(Note)]


@query
def me(ctx: QueryCtx) -> str | None:
    user = ctx.auth.get_user_identity()
    return None if user is None else user.name
