"""Calls of what is not built yet."""

from camber import ActionCtx, MutationCtx, QueryCtx, action, mutation, query

from .app import ledger
from .schema import Article


@query
def search(ctx: QueryCtx) -> list[Article]:
    return ctx.db.query(Article).with_search_index(Article.search_body, "hello").collect()


@mutation
def upload(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()


@query
def component(ctx: QueryCtx) -> int:
    return ctx.run_query(ledger["entries:total"])


@action
async def nearest(ctx: ActionCtx) -> object:
    return await ctx.vector_search(Article.by_embedding, [1.0, 2.0, 3.0])
