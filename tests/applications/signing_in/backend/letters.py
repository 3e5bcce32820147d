from camber import MutationCtx, QueryCtx, internal_mutation, internal_query

from .schema import Letter


@internal_mutation
def keep(ctx: MutationCtx, to: str, token: str, url: str, provider: str) -> None:
    ctx.db.insert(Letter(to=to, token=token, url=url, provider=provider))


@internal_query
def newest(ctx: QueryCtx, to: str) -> Letter | None:
    return ctx.db.query(Letter).with_index(Letter.by_to, to=to).order("desc").first()
