"""Pages whose rules read much: they end before a limit does, and go on."""

from __future__ import annotations

import pytest

from camber import limits
from camber.errors import AppError
from tests.functions.projects import project_app

SCHEMA = """
    from camber import *

    class Row(Table, table="rows"):
        number: int
        text: str = "tree"
        search_text = SearchIndex("text")

    class Seen(Table, table="seen"):
        number: int
        by_number = Index("number")
"""
ACCESS = """
    from camber import *
    from .schema import Row, Seen

    access = Access()

    def looked_up(ctx: QueryCtx, row: Row) -> bool:
        found = ctx.db.query(Seen).with_index(Seen.by_number, number=row.number).first()
        return found is not None

    access.table(Row, read=looked_up)
"""
CODE = """
    from camber import *
    from .schema import Row, Seen

    @mutation
    def fill(ctx: MutationCtx, rows: int, every: int) -> None:
        for number in range(rows):
            ctx.db.insert(Row(number=number))
            if number % every == 0:
                ctx.db.insert(Seen(number=number))

    @query
    def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[int]:
        return ctx.db.query(Row).paginate(opts).map(lambda row: row.number)

    @query
    def search(ctx: QueryCtx, opts: PaginationOpts) -> Page[int]:
        found = ctx.db.query(Row).with_search_index(Row.search_text, "tree")
        return found.paginate(opts).map(lambda row: row.number)

    @mutation
    def add(ctx: MutationCtx, rows: int) -> None:
        for _ in range(rows):
            ctx.db.insert(Row(number=0, text="tree tree"))
"""


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("documents_read_max", 40),
        ("read_intervals_max", 40),
        ("page_ruled_rows_max", 15),
    ],
)
def test_a_page_ends_before_a_limit_does_and_the_next_goes_on(tmp_path, monkeypatch, limit, most):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as app:
        app.mutation("code:fill", rows=200, every=3)
        monkeypatch.setattr(limits, limit, most)
        found: list[int] = []
        cursor, pages = None, 0
        while True:
            opts = {"numItems": 100, "cursor": cursor}
            page = app.query("code:page", paginationOpts=opts)
            found += page.page
            pages += 1
            assert pages < 100
            if page.is_done:
                break
            assert page.page_status == "SplitRequired"
            cursor = page.continue_cursor
        assert found == list(range(0, 200, 3))
        assert pages > 4


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("documents_read_max", 40),
        ("read_intervals_max", 40),
        ("search_results_max", 15),
    ],
)
def test_a_page_of_a_search_does_too(tmp_path, monkeypatch, limit, most):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as app:
        app.mutation("code:fill", rows=200, every=3)
        monkeypatch.setattr(limits, limit, most)
        found: list[int] = []
        cursor, pages = None, 0
        while True:
            opts = {"numItems": 100, "cursor": cursor}
            page = app.query("code:search", paginationOpts=opts)
            found += page.page
            pages += 1
            assert pages < 100
            if page.is_done:
                break
            cursor = page.continue_cursor
        assert found == sorted(range(0, 200, 3), reverse=True)
        assert pages > 4


@pytest.mark.parametrize(
    ("limit", "most"), [("documents_read_max", 40), ("search_results_max", 15)]
)
def test_a_page_of_a_search_that_has_grown_too_much_is_begun_again(
    tmp_path, monkeypatch, limit, most
):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as app:
        app.mutation("code:fill", rows=200, every=3)
        monkeypatch.setattr(limits, limit, most)

        def page(**pinned):
            return app.query("code:search", paginationOpts={"numItems": 100, **pinned})

        first = page(cursor=None)
        pinned = {"cursor": None, "endCursor": first.continue_cursor}
        second = page(cursor=first.continue_cursor)
        # As full as it may be, it says the same once more.
        assert page(**pinned).page == first.page
        app.mutation("code:add", rows=1)
        with pytest.raises(AppError) as raised:
            page(**pinned)
        assert raised.value.data["paginationError"] == "InvalidCursor"
        # What comes after it goes on from where it ended.
        assert page(cursor=first.continue_cursor).page == second.page
        assert page(cursor=None).page[0] == 0
