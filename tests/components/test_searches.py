"""Searches within components: each mount has its own texts, and nobody else finds them."""

from __future__ import annotations

import pytest

from tests.components.test_components import write_component
from tests.functions.projects import project_app

NOTES = {
    "items": "",
    "app": "from camber import *\napp = App()\n",
    "schema": """
        from camber import *

        class Note(Table, table="notes"):
            body: str
            owner: str = "nobody"
            search_body = SearchIndex("body", filter_fields=["owner"])
    """,
    "notes": """
        from camber import *
        from .schema import Note

        @mutation
        def add(ctx: MutationCtx, body: str, owner: str = "nobody") -> list[str]:
            ctx.db.insert(Note(body=body, owner=owner))
            return ctx.run_query(search, text=body)

        @query
        def search(ctx: QueryCtx, text: str, owner: str | None = None) -> list[str]:
            where = {} if owner is None else {"owner": owner}
            notes = ctx.db.query(Note).with_search_index(Note.search_body, text, where)
            return [note.body for note in notes.take(20)]

        @query
        def page(ctx: QueryCtx, text: str, opts: PaginationOpts) -> Page[Note]:
            return ctx.db.query(Note).with_search_index(Note.search_body, text).paginate(opts)
    """,
}

CODE = """
    from typing import Any
    from camber import *
    from .app import one, two

    MOUNTS = {"one": one, "two": two}

    @mutation
    def call(ctx: MutationCtx, mount: str, args: dict[str, Any]) -> Any:
        return ctx.run_mutation(MOUNTS[mount]["notes:add"], **args)

    @query
    def ask(ctx: QueryCtx, mount: str, args: dict[str, Any]) -> Any:
        return ctx.run_query(MOUNTS[mount]["notes:search"], **args)

    @query
    def page(ctx: QueryCtx, mount: str, text: str, opts: PaginationOpts) -> Any:
        return ctx.run_query(MOUNTS[mount]["notes:page"], text=text, opts=opts)

    @query
    def reach(ctx: QueryCtx, table: str) -> list[Any]:
        return ctx.db.query(table).with_search_index("search_body", "tree").collect()

    @mutation
    def both(ctx: MutationCtx) -> list[Any]:
        found = [ctx.run_mutation(one["notes:add"], body="tree of both")]
        try:
            ctx.run_mutation(fail)
        except AppError as error:
            found.append(error.data)
        return [*found, ctx.run_query(one["notes:search"], text="tree")]

    @internal_mutation
    def fail(ctx: MutationCtx) -> None:
        raise AppError(ctx.run_mutation(one["notes:add"], body="tree that was not"))
"""


@pytest.fixture
def app(tmp_path):
    package = f"notes_{tmp_path.name}"
    write_component(tmp_path, package, **NOTES)
    mounts = f"""
        from camber import *
        app = App()
        one = app.use(Component("notes", path="{package}"), name="one")
        two = app.use(Component("notes", path="{package}"), name="two")
    """
    with project_app(tmp_path, app=mounts, code=CODE) as app:
        yield app


def add(app, mount, **args):
    return app.mutation("code:call", mount=mount, args=args)


def search(app, mount, **args):
    return app.query("code:ask", mount=mount, args=args)


def test_each_mount_finds_its_own_texts(app):
    assert add(app, "one", body="a tree") == ["a tree"]
    assert add(app, "two", body="tree") == ["tree"]
    add(app, "one", body="tree of ada", owner="ada")
    assert search(app, "one", text="tree") == ["a tree", "tree of ada"]
    assert search(app, "one", text="tree", owner="ada") == ["tree of ada"]
    assert search(app, "two", text="tre") == ["tree"]
    # To the application there is no such table.
    assert app.query("code:reach", table="notes") == []


def test_who_watches_one_mount_is_not_run_again_for_the_other(app):
    watched = app.subscribe("code:ask", mount="one", args={"text": "tree"})
    assert watched.value == []
    add(app, "two", body="tree")
    assert not watched.is_stale
    add(app, "one", body="stone")
    assert not watched.is_stale
    add(app, "one", body="trees")
    assert watched.is_stale
    assert watched.value == ["trees"]


def test_a_call_that_fails_leaves_no_text(app):
    assert app.mutation("code:both") == [
        ["tree of both"],
        ["tree that was not", "tree of both"],
        ["tree of both"],
    ]
    assert search(app, "one", text="tree") == ["tree of both"]


def test_pages_of_a_mount_go_on(app):
    for number in range(5):
        add(app, "one", body="tree " + "x " * number)
    seen: list[str] = []
    cursor, is_done = None, False
    while not is_done:
        opts = {"numItems": 2, "cursor": cursor}
        page = app.query("code:page", mount="one", text="tree", paginationOpts=opts)
        seen += [note["body"] for note in page["page"]]
        cursor, is_done = page["continueCursor"], page["isDone"]
    assert seen == ["tree " + "x " * number for number in range(5)]
