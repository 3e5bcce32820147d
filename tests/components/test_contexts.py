"""What a context offers beside its calls: stale snapshots, metadata, and pages of nested calls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from camber import AppError, PaginationOpts
from camber.identity.identity import Anonymous
from camber.values.packed import unpack
from tests.components.test_components import write_component
from tests.functions.projects import project_app

CODE = """
    from typing import Any
    from camber import *

    @query
    def count(ctx: QueryCtx) -> int:
        return ctx.db.query("things").count()

    @mutation
    def add(ctx: MutationCtx) -> list[int]:
        ctx.db.insert("things", {})
        stale = ctx.options(stale_snapshot=True).run_query(count)
        return [stale, ctx.run_query(count)]

    @mutation
    def read_much(ctx: MutationCtx) -> list[int]:
        before = ctx.meta.get_transaction_metrics().documents_read.used
        ctx.options(stale_snapshot=True).run_query(count)
        return [before, ctx.meta.get_transaction_metrics().documents_read.used]

    @mutation
    def metrics(ctx: MutationCtx) -> dict[str, Any]:
        ctx.db.insert("things", {"a": 1})
        ctx.run_mutation(schedule)
        found = ctx.meta.get_transaction_metrics()
        return {
            "written": [found.documents_written.used, found.documents_written.remaining],
            "bytes": found.bytes_written.used > 0,
            "scheduled": found.functions_scheduled.used,
            "queries": found.database_queries.used > 0,
        }

    @internal_mutation
    def schedule(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(1, noted)

    @internal_mutation
    def noted(ctx: MutationCtx) -> None:
        ctx.db.insert("notes", {"job": ctx.meta.get_request_metadata().scheduled_function_id})

    @query
    def notes(ctx: QueryCtx) -> list[Any]:
        return [note["job"] for note in ctx.db.query("notes")]

    @query
    def myself(ctx: QueryCtx) -> dict[str, str]:
        found = ctx.meta.get_function_metadata()
        return {"name": found.name, "in": found.component_path, "is": found.type + found.visibility}

    @internal_action
    async def acting(ctx: ActionCtx) -> list[str]:
        found = ctx.meta.get_function_metadata()
        return [found.name, found.type, found.visibility, ctx.meta.get_request_metadata().request_id]

    @mutation
    def snapshot_ts(ctx: MutationCtx) -> Int64:
        return ctx.meta.get_snapshot_ts()
"""


@pytest.fixture
def app(tmp_path):
    with project_app(tmp_path, code=CODE) as app:
        yield app


def test_a_stale_snapshot_has_none_of_the_mutations_writes(app):
    assert [app.mutation("code:add") for _ in range(3)] == [[0, 1], [1, 2], [2, 3]]


def test_what_is_read_of_a_stale_snapshot_counts_and_is_not_depended_on(app):
    app.mutation("code:add")
    assert app.mutation("code:read_much") == [0, 1]


def test_metrics_are_those_of_the_whole_transaction(app):
    found = app.mutation("code:metrics")
    assert found["scheduled"] == 1
    assert found["written"][0] == 1
    assert sum(found["written"]) == 16_000
    assert found["bytes"]
    assert found["queries"]


def test_a_function_knows_its_name_and_what_it_runs_for(app):
    assert app.query("code:myself") == {"name": "code:myself", "in": "", "is": "querypublic"}
    name, kind, visibility, request = app.action("code:acting")
    assert (name, kind, visibility, bool(request)) == ("code:acting", "action", "internal", True)
    app.mutation("code:metrics")
    app.advance(seconds=2)
    (job,) = app.query("code:notes")
    assert job is not None
    assert app.mutation("code:snapshot_ts") > 0


def test_a_function_of_a_component_knows_where_it_is(tmp_path):
    package = f"meta_{tmp_path.name}"
    write_component(
        tmp_path,
        package,
        me="""
            from camber import *

            @query
            def path(ctx: QueryCtx) -> str:
                return ctx.meta.get_function_metadata().component_path
        """,
    )
    modules = {
        "app": f"""
            from camber import *
            app = App()
            inner = app.use(Component("inner", path="{package}"), name="here")
        """,
        "code": """
            from camber import *
            from .app import inner

            @query
            def path(ctx: QueryCtx) -> str:
                return ctx.run_query(inner["me:path"])
        """,
    }
    with project_app(tmp_path, **modules) as app:
        assert app.query("code:path") == "here"


def test_pages_of_a_component_that_are_watched_neither_lose_nor_repeat(tmp_path):
    package = f"pages_{tmp_path.name}"
    write_component(tmp_path, package)
    modules = {
        "app": f"""
            from camber import *
            app = App()
            things = app.use(Component("things", path="{package}"))
        """,
        "code": f"""
            from typing import Any
            from camber import *
            from {package} import items
            from .app import things

            @mutation
            def add(ctx: MutationCtx, name: str) -> None:
                ctx.run_mutation(things[items.add], name=name)

            @mutation
            def remove(ctx: MutationCtx, name: str) -> None:
                ctx.run_mutation(things[items.remove], name=name)

            @query
            def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[str]:
                return ctx.run_query(things[items.page], opts=opts).map(lambda item: item.name)

            @query
            def two(ctx: QueryCtx, opts: PaginationOpts) -> list[list[str]]:
                pages = [ctx.run_query(things[items.page], opts=opts) for _ in range(2)]
                return [[item.name for item in page.page] for page in pages]
        """,
    }
    with project_app(tmp_path, **modules) as app:
        for name in "abc":
            app.mutation("code:add", name=name)
        first = app.query("code:page", opts=PaginationOpts(num_items=2))
        assert (first.page, first.is_done) == (["a", "b"], False)
        rest = app.query(
            "code:page", opts=PaginationOpts(num_items=2, cursor=first.continue_cursor)
        )
        assert (rest.page, rest.is_done) == (["c"], True)
        assert app.query("code:two", opts=PaginationOpts(num_items=1)) == [["a"], ["a"]]
        with pytest.raises(AppError) as raised:
            app.query("code:page", opts=PaginationOpts(num_items=2, cursor="x"))
        assert raised.value.data["paginationError"] == "InvalidCursor"

        # A client that watches its first two pages keeps them: what is gone from one leaves a gap.
        core = app._core
        journals = []
        for path, count in (("code:page", 2), ("code:two", 1)):
            opts = PaginationOpts(num_items=count)
            _, call = core.call(path, (), {"opts": opts}, Anonymous())
            result = core.wait(core.deployment.runtime.query(call))
            journals.append((call, result.journal))
        app.mutation("code:remove", name="a")
        shown: list[Any] = []
        for call, journal in journals:
            pinned = msgspec.structs.replace(call, journal=journal)
            result = core.wait(core.deployment.runtime.query(pinned))
            shown.append(unpack(result.packed))
        assert shown[0]["page"] == ["b"]
        assert shown[1] == [[], []]
        fresh = app.query("code:page", opts=PaginationOpts(num_items=2))
        assert fresh.page == ["b", "c"]
