"""Articles, and which are near to one another."""

from camber import ActionCtx, Id, MutationCtx, QueryCtx, VectorHit, action, mutation, query

from .schema import Article


@mutation
def add(ctx: MutationCtx, title: str, embedding: list[float]) -> Id[Article]:
    return ctx.db.insert(Article(title=title, body="", embedding=embedding))


@action
async def nearest(ctx: ActionCtx, embedding: list[float]) -> list[VectorHit[Article]]:
    return await ctx.vector_search(Article.by_embedding, embedding, limit=2)


@query
def nearest_now(ctx: QueryCtx, embedding: list[float]) -> object:
    return ctx.vector_search(Article.by_embedding, embedding, limit=2)
