"""Questions, and those that have been asked before in other words."""

from typing import TypedDict

from camber import (
    ActionCtx,
    AppError,
    Id,
    MutationCtx,
    QueryCtx,
    VectorHit,
    action,
    any_of,
    internal_query,
    mutation,
    query,
)

from ._embedding import embed
from .schema import Question

SHOWN_MAX = 5
TEXT_LENGTH_MAX = 500
#: Cosines below are of questions that share a few letters by chance.
NEAR = 0.25


class Alike(TypedDict):
    """A question that is like another, and how much: 1 is the same."""

    id: Id[Question]
    text: str
    topic: str
    score: float


@query
def like(ctx: QueryCtx, text: str, topics: list[str] | None = None) -> list[Alike]:
    """The questions that are most like a text, nearest first; whoever watches sees new ones come."""
    vector = embed(text)
    if not any(vector):
        return []
    where = {"topic": any_of(*topics)} if topics else None
    hits = ctx.vector_search(Question.by_embedding, vector, limit=SHOWN_MAX, where=where)
    found = [(ctx.db.get(hit.id), hit.score) for hit in hits if hit.score >= NEAR]
    return [
        Alike(id=question.id, text=question.text, topic=question.topic, score=score)
        for question, score in found
        if question is not None
    ]


@mutation
def ask(ctx: MutationCtx, text: str, topic: str) -> Id[Question]:
    """Ask a question, unless the very same has been asked."""
    text = text.strip()
    if len(text) > TEXT_LENGTH_MAX:
        message = f"{len(text)} characters are too many; a question may have {TEXT_LENGTH_MAX}."
        raise AppError({"code": "TOO_LONG", "message": message})
    vector = embed(text)
    if not any(vector):
        raise AppError({"code": "NO_QUESTION", "message": "A question needs some words."})
    # A mutation searches too, and two that ask the same at once find each other out.
    where = {"topic": topic}
    for hit in ctx.vector_search(Question.by_embedding, vector, limit=SHOWN_MAX, where=where):
        known = ctx.db.get(hit.id)
        if known is not None and known.text.casefold() == text.casefold():
            return known.id
    return ctx.db.insert(Question(text=text, topic=topic, embedding=vector))


@mutation
def remove(ctx: MutationCtx, question: Id[Question]) -> None:
    """Take a question away."""
    ctx.db.delete(question)


@action
async def related(ctx: ActionCtx, question: Id[Question]) -> list[str]:
    """The questions that are like another, as it goes with a model or a service: in an action."""
    text = await ctx.run_query(text_of, question)
    vector = embed(text)
    hits = await ctx.vector_search(Question.by_embedding, vector, limit=SHOWN_MAX + 1)
    return await ctx.run_query(texts_of, [hit for hit in hits if hit.id != question])


@internal_query
def text_of(ctx: QueryCtx, question: Id[Question]) -> str:
    found = ctx.db.get(question)
    if found is None:
        raise AppError({"code": "NO_QUESTION", "message": "There is no such question."})
    return found.text


@internal_query
def texts_of(ctx: QueryCtx, hits: list[VectorHit[Question]]) -> list[str]:
    """The texts of hits; one may be gone since it was found."""
    found = [ctx.db.get(hit.id) for hit in hits if hit.score >= NEAR]
    return [question.text for question in found if question is not None]
