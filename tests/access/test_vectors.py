"""Vector searches under row rules: what may not be read is absent, and others take its place."""

from __future__ import annotations

import pytest

from tests.functions.projects import project_app

SCHEMA = """
    from camber import *

    class Spot(Table, table="spots"):
        owner: str
        angle: float
        place: list[float]
        shared: bool = False
        by_place = VectorIndex("place", dimensions=2, filter_fields=["owner"])

    class Secret(Table, table="secrets"):
        place: list[float]
        by_place = VectorIndex("place", dimensions=2)
"""
ACCESS = """
    from camber import *
    from .schema import Secret, Spot

    access = Access()

    def own_or_shared(ctx: QueryCtx, row: Spot) -> bool:
        user = ctx.auth.get_user_identity()
        return row.shared or (user is not None and row.owner == user.subject)

    access.table(Spot, read=own_or_shared)
    access.table(Secret, read=nobody)
"""
CODE = """
    import math
    from camber import *
    from .schema import Secret, Spot

    @mutation
    def fill(ctx: MutationCtx, owners: list[str]) -> list[Id[Spot]]:
        found = []
        for n, owner in enumerate(owners):
            place = [math.cos(n / 100), math.sin(n / 100)]
            found.append(ctx.db.insert(Spot(owner=owner, angle=float(n), place=place)))
        ctx.db.insert(Secret(place=[1.0, 0.0]))
        return found

    @internal_mutation
    def share(ctx: MutationCtx, id: Id[Spot], shared: bool) -> None:
        ctx.db.unrestricted.patch(id, shared=shared)

    @query
    def near(ctx: QueryCtx, limit: int, owner: str | None = None) -> list[float]:
        where = None if owner is None else {"owner": owner}
        hits = ctx.vector_search(Spot.by_place, [1.0, 0.0], limit=limit, where=where)
        return [ctx.db.get(hit.id).angle for hit in hits]

    @mutation
    def near_in_mutation(ctx: MutationCtx, limit: int) -> list[float]:
        hits = ctx.vector_search(Spot.by_place, [1.0, 0.0], limit=limit)
        return [ctx.db.get(hit.id).angle for hit in hits]

    @query
    def near_for_all(ctx: QueryCtx, limit: int) -> int:
        return len(ctx.unrestricted.vector_search(Spot.by_place, [1.0, 0.0], limit=limit))

    @query
    def secrets(ctx: QueryCtx) -> int:
        return len(ctx.vector_search(Secret.by_place, [1.0, 0.0]))

    @action
    async def near_in_action(ctx: ActionCtx) -> int:
        return len(await ctx.vector_search(Spot.by_place, [1.0, 0.0], limit=100))
"""


@pytest.fixture
def app(tmp_path):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as opened:
        yield opened


def test_hidden_rows_are_not_found_and_others_take_their_places(app):
    owners = ["ann" if n % 7 == 3 else "bob" for n in range(100)]
    app.mutation("code:fill", owners=owners)
    of_ann = [float(n) for n, owner in enumerate(owners) if owner == "ann"]
    ann = app.with_identity(subject="ann")
    for limit in (1, 3, 10, 14, 256):
        assert ann.query("code:near", limit=limit) == of_ann[:limit]
        assert ann.mutation("code:near_in_mutation", limit=limit) == of_ann[:limit]
        assert ann.query("code:near", limit=limit, owner="bob") == []
        assert app.query("code:near", limit=limit) == []
    assert app.query("code:near_for_all", limit=50) == 50
    # In an action there is nobody to ask: what is found is read by a query, whose rules hold.
    assert app.action("code:near_in_action") == 100
    assert app.query("code:secrets") == 0


def test_a_row_that_is_shared_comes_and_one_that_is_not_any_more_goes(app):
    ids = app.mutation("code:fill", owners=["bob", "ann", "bob", "ann"])
    ann = app.with_identity(subject="ann")
    watched = ann.subscribe("code:near", limit=2)
    assert watched.value == [1.0, 3.0]
    app.mutation("code:share", id=ids[0], shared=True)
    assert watched.value == [0.0, 1.0]
    app.mutation("code:share", id=ids[2], shared=True)
    assert not watched.is_stale
    app.mutation("code:share", id=ids[0], shared=False)
    assert watched.value == [1.0, 2.0]
