"""Calls of what is not built yet."""

from camber import ActionCtx, action

from .schema import Article


@action
async def nearest(ctx: ActionCtx) -> object:
    return await ctx.vector_search(Article.by_embedding, [1.0, 2.0, 3.0])
