"""Calls of what is not built yet."""

from camber import ActionCtx, QueryCtx, action, query

from .schema import Article


@query
def search(ctx: QueryCtx) -> list[Article]:
    return ctx.db.query(Article).with_search_index(Article.search_body, "hello").collect()


@action
async def nearest(ctx: ActionCtx) -> object:
    return await ctx.vector_search(Article.by_embedding, [1.0, 2.0, 3.0])
