"""Pages whose rules read much: they end before a limit does, and go on."""

from __future__ import annotations

import pytest

from camber import limits
from tests.functions.projects import project_app

SCHEMA = """
    from camber import *

    class Row(Table, table="rows"):
        number: int

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
