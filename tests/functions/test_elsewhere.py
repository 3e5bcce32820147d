"""What a context does not have is told with where it is, by functions that really run."""

from __future__ import annotations

import pytest

from camber import FunctionError
from tests.functions.projects import project_app

CODE = """
    from typing import Any
    from camber import *

    def look(ctx: Any, dotted: str) -> None:
        found = ctx
        for name in dotted.split("."):
            found = getattr(found, name)

    @query
    def of_query(ctx: QueryCtx, dotted: str) -> None:
        look(ctx, dotted)

    @mutation
    def of_mutation(ctx: MutationCtx, dotted: str) -> None:
        look(ctx, dotted)

    @action
    async def of_action(ctx: ActionCtx, dotted: str) -> None:
        look(ctx, dotted)

    @action
    def of_sync_action(ctx: SyncActionCtx, dotted: str) -> None:
        look(ctx, dotted)

    @mutation
    def asks_first(ctx: MutationCtx) -> bool:
        return hasattr(ctx.storage, "store")

    @mutation
    def of_its_own(ctx: MutationCtx) -> None:
        "text".store
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("elsewhere"), code=CODE) as app:
        yield app


@pytest.mark.parametrize(
    ("kind", "dotted", "told"),
    [
        ("mutation", "storage.store", (
            "AttributeError: ctx.storage of a mutation has no 'store': an async def action and a "
            "plain def action have it. A client may upload to what ctx.storage.generate_upload_url",
            "Here there are delete, generate_upload_url, get_metadata and get_url",
        )),
        ("mutation", "storage.get", ("Queries and mutations have no content of files",)),
        ("query", "storage.delete", (
            "ctx.storage of a query has no 'delete': a mutation, an async def action and a plain def "
            "action have it. Queries only read. Here there are get_metadata and get_url",
        )),
        ("query", "scheduler", ("ctx of a query has no 'scheduler'", "Queries only read")),
        ("query", "db.insert", ("ctx.db of a query has no 'insert': a mutation has it",)),
        ("mutation", "run_action", ("ctx.scheduler.run_after(0, …)",)),
        ("action", "db", (
            "ctx of an async def action has no 'db': a query and a mutation have it. Read and write "
            "by ctx.run_query and ctx.run_mutation. Here there are auth, env,",
        )),
        ("sync_action", "storage.nothing", ("ctx.storage of a plain def action has no 'nothing'. Here",)),
        ("sync_action", "scheduler.runAfter", ("has no 'runAfter': it is 'run_after' in Python",)),
        ("mutation", "storage.generateUploadUrl", ("it is 'generate_upload_url' in Python",)),
        ("query", "db.system.insert", ("ctx.db.system of any function has no 'insert'",)),
    ],
)  # fmt: skip
def test_what_is_elsewhere_is_told_with_where_it_is(app, kind, dotted, told):
    run = app.query if kind == "query" else app.mutation if kind == "mutation" else app.action
    with pytest.raises(FunctionError) as refused:
        run(f"code:of_{kind}", dotted=dotted)
    for part in told:
        assert part in str(refused.value)


def test_it_is_an_attribute_error_as_any_other(app):
    assert app.mutation("code:asks_first") is False
    with pytest.raises(FunctionError, match="AttributeError: 'str' object has no attribute"):
        app.mutation("code:of_its_own")
