"""Pushes that mount, rename and unmount components: nothing of theirs is lost."""

from __future__ import annotations

import pytest

from camber.releases.failures import PushFailed
from tests.components.test_components import write_component
from tests.releases.harness import deployed

APP = """
    from camber import *
    app = App()
    things = app.use(Component("things", path="{package}"), name="{name}", env={env})
"""
CALLS = """
    from camber import *
    from .app import things

    @mutation
    def add(ctx: MutationCtx, name: str) -> str:
        return ctx.run_mutation(things["items:add"], name=name)

    @query
    def names(ctx: QueryCtx) -> list[str]:
        return ctx.run_query(things["items:names"])

    @query
    def handle(ctx: QueryCtx) -> str:
        return ctx.function_handle(things["items:names"])
"""
BARE = "from camber import *\napp = App()\n"
BY_HANDLE = """
    from camber import *

    @query
    def names(ctx: QueryCtx, handle: str) -> list[str]:
        try:
            return ctx.run_query(handle)
        except DeveloperError as error:
            return [error.sentence]
"""


def mounted(package, name="things", env="{}"):
    return APP.format(package=package, name=name, env=env)


@deployed
async def test_what_is_unmounted_is_kept_and_comes_back(it):
    package = f"kept_{it.root.name}"
    write_component(it.root, package)
    report = await it.push(app=mounted(package), calls=CALLS, by=BY_HANDLE)
    assert report.tables_created == ("things/items",)
    await it.run("mutation", "calls:add", name="a")
    handle = await it.run("query", "calls:handle")

    report = await it.push(app=BARE, calls="")
    assert report.changes.tables_removed == ("things/items",)
    assert "things/items:add" in report.changes.functions_removed
    assert it.deployment.engine.catalog.by_name("things/items") is not None
    told = await it.run("query", "by:names", handle=handle)
    assert told == [f"'{handle}' leads nowhere: no component is mounted at 'things'"]

    await it.restart()
    await it.push(app=mounted(package), calls=CALLS)
    assert await it.run("query", "calls:names") == ["a"]
    assert await it.run("query", "by:names", handle=handle) == ["a"]


@deployed
async def test_another_name_is_another_mount(it):
    package = f"renamed_{it.root.name}"
    write_component(it.root, package)
    await it.push(app=mounted(package), calls=CALLS)
    await it.run("mutation", "calls:add", name="a")
    await it.push(app=mounted(package, "others"))
    assert await it.run("query", "calls:names") == []
    await it.push(app=mounted(package))
    assert await it.run("query", "calls:names") == ["a"]


@deployed
async def test_a_component_is_validated_in_each_mount(it):
    package = f"checked_{it.root.name}"
    write_component(it.root, package)
    await it.push(app=mounted(package), calls=CALLS)
    await it.run("mutation", "calls:add", name="a")
    write_component(
        it.root,
        package,
        schema="""
            from camber import *
            class Item(Table, table="items"):
                name: int
                by_name = Index("name")
        """,
    )
    with pytest.raises(PushFailed, match="of table 'things/items' does not fit"):
        await it.push()
    assert await it.run("query", "calls:names") == ["a"]


@deployed
async def test_a_changed_component_serves_from_its_push_on(it):
    package = f"changed_{it.root.name}"
    write_component(it.root, package)
    await it.push(app=mounted(package), calls=CALLS)
    await it.run("mutation", "calls:add", name="a")
    write_component(
        it.root,
        package,
        items="""
            from camber import *
            from .schema import Item

            @query
            def names(ctx: QueryCtx) -> list[str]:
                return [item.name.upper() for item in ctx.db.query(Item)]
        """,
    )
    await it.push()
    assert await it.run("query", "calls:names") == ["A"]


@deployed
async def test_a_push_that_lacks_a_variable_fails_and_says_which(it):
    package = f"variable_{it.root.name}"
    write_component(it.root, package, app="from camber import *\napp = App(env={'KEY': str})\n")
    with pytest.raises(PushFailed, match="not set: THINGS_KEY"):
        await it.push(app=mounted(package, env='{"KEY": Env("THINGS_KEY")}'), calls=CALLS)


@deployed
async def test_clients_and_admins_reach_no_component_by_a_path(it):
    package = f"closed_{it.root.name}"
    write_component(it.root, package)
    await it.push(app=mounted(package), calls=CALLS)
    for path in ("items:names", "things/items:names"):
        result = await it.deployment.runtime.query(it.call(path))
        assert "Could not find public function" in result.failure.message
