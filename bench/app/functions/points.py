"""Points in many dimensions, and those that are nearest to one."""

from random import Random

from camber import MutationCtx, QueryCtx, mutation, query

from .schema import Point

DIMENSIONS = 384


@mutation
def seed(ctx: MutationCtx, first: int, count: int) -> None:
    """Insert points that follow from their numbers."""
    for number in range(first, first + count):
        draw = Random(number).random
        vector = [draw() - 0.5 for _ in range(DIMENSIONS)]
        ctx.db.insert(Point(number=number, vector=vector))


@query
def nearest(ctx: QueryCtx, vector: list[float]) -> list[int]:
    """Return the numbers of the ten nearest."""
    hits = ctx.vector_search(Point.by_vector, vector, limit=10)
    found = [ctx.db.get(hit.id) for hit in hits]
    return [point.number for point in found if point is not None]
