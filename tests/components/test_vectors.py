"""Vector indexes of components: each mount searches what is its own."""

from __future__ import annotations

import textwrap

import pytest

from camber import FunctionError
from camber.testing import TestApp
from camber.testing.app import Subscription

APP = """
    from camber import App, Component

    app = App()
    one = app.use(Component("places", path="places"), name="one")
    two = app.use(Component("places", path="places"), name="two")
"""
SCHEMA = """
    from camber import Table, VectorIndex

    class Place(Table, table="places"):
        name: str
        at: list[float]
        by_at = VectorIndex("at", dimensions=2)
"""
NEAR = """
    from camber import ActionCtx, Id, MutationCtx, QueryCtx, VectorHit, action, mutation, query

    from .schema import Place

    @mutation
    def add(ctx: MutationCtx, name: str, at: list[float]) -> Id[Place]:
        return ctx.db.insert(Place(name=name, at=at))

    @query
    def names(ctx: QueryCtx, at: list[float]) -> list[str]:
        return [ctx.db.get(hit.id).name for hit in ctx.vector_search(Place.by_at, at)]

    @action
    async def hits(ctx: ActionCtx, at: list[float]) -> list[VectorHit[Place]]:
        return await ctx.vector_search(Place.by_at, at)
"""
CODE = """
    from typing import Any
    from camber import ActionCtx, MutationCtx, QueryCtx, action, mutation, query
    from .app import one, two
    from places import near

    @mutation
    def add(ctx: MutationCtx, mount: str, name: str, at: list[float]) -> str:
        return ctx.run_mutation((one if mount == "one" else two)[near.add], name=name, at=at)

    @query
    def names(ctx: QueryCtx, mount: str) -> list[str]:
        return ctx.run_query((one if mount == "one" else two)[near.names], at=[1.0, 0.0])

    @action
    async def hits(ctx: ActionCtx, mount: str) -> Any:
        hits = await ctx.run_action((one if mount == "one" else two)[near.hits], at=[1.0, 0.0])
        return [[hit.id, hit.score] for hit in hits]

    @query
    def over_the_wall(ctx: QueryCtx, index: str) -> Any:
        return ctx.vector_search(index, [1.0, 0.0])

    @action
    async def over_the_wall_in_action(ctx: ActionCtx, index: str) -> Any:
        return await ctx.vector_search(index, [1.0, 0.0])
"""


def test_each_mount_searches_its_own_and_nobody_elses(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    for file, text in (
        ("backend/app.py", APP),
        ("backend/code.py", CODE),
        ("places/schema.py", SCHEMA),
        ("places/near.py", NEAR),
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(textwrap.dedent(text))
    with TestApp(tmp_path) as app:
        ids: list[str] = [
            app.mutation("code:add", mount=mount, name=name, at=at)
            for mount, name, at in (
                ("one", "east", [2.0, 0.0]),
                ("two", "north", [0.0, 1.0]),
                ("one", "north", [0.0, 3.0]),
            )
        ]
        watched: Subscription[list[str]] = app.subscribe("code:names", mount="two")
        assert watched.value == ["north"]
        app.mutation("code:add", mount="one", name="near east", at=[5.0, 1.0])
        assert not watched.is_stale
        assert app.query("code:names", mount="one") == ["east", "near east", "north"]
        found = app.action("code:hits", mount="one")
        assert [found[0], found[-1]] == [[ids[0], 1], [ids[2], 0]]
        assert app.action("code:hits", mount="two") == [[ids[1], 0]]
        # The application has no such table, and components' are not its own.
        assert app.query("code:over_the_wall", index="places.by_at") == []
        assert app.action("code:over_the_wall_in_action", index="places.by_at") == []
        for index in ("one/places.by_at", "_tables.by_name"):
            for call, path in (
                (app.query, "over_the_wall"),
                (app.action, "over_the_wall_in_action"),
            ):
                with pytest.raises(FunctionError, match=r"InvalidTableName|SystemTableError"):
                    call(f"code:{path}", index=index)
