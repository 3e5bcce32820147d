"""Texts are found after an export and an import as they were before."""

from __future__ import annotations

import json

import pytest

from camber.deployment.settings import MEMORY
from camber.engine.writing import write
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack, unpack
from tests.functions.projects import write_project
from tests.transfer.harness import exported, imported, serving

pytestmark = pytest.mark.anyio

SCHEMA = """
    from camber import SearchIndex, Table

    class Note(Table, table="notes", strict=False):
        search_body = SearchIndex("body", filter_fields=["channel"])
        search_anyhow = SearchIndex("body", tokenizer="multilingual")
"""
NOTES = """
    from typing import Any
    from camber import QueryCtx, query
    from .schema import Note

    @query
    def found(ctx: QueryCtx, index: str, text: str, where: dict[str, Any]) -> list[Any]:
        query = ctx.db.query(Note).with_search_index(index, text, where)
        return [[note.id, note.to_dict()["body"]] for note in query.collect()]
"""
BODIES = ["a tree", "Tree, tree and tree", "stone", "trees", "été", "東京都", "", 3, None]
SEARCHES = [
    ("search_body", "tree", {}),
    ("search_body", "stone tre", {"channel": "a"}),
    ("search_anyhow", "ete 京都", {}),
]


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path / "project", schema=SCHEMA, notes=NOTES)


async def found(deployment, index, text, where, ts=None):
    call = FunctionCall(
        path="notes:found",
        arguments=pack({"index": index, "text": text, "where": where}),
        identity=Anonymous(),
        caller=Caller.APPLICATION,
        request_id="test",
    )
    result = await deployment.runtime.query(call, ts=ts or deployment.runtime.newest_ts)
    assert result.failure is None, result.failure
    return unpack(result.packed)


async def all_found(deployment, ts=None):
    return [await found(deployment, *search, ts=ts) for search in SEARCHES]


async def insert(deployment, *documents):
    def change(transaction):
        for document in documents:
            transaction.insert("notes", document)

    await write(deployment.engine, "test", change)


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_texts_are_found_after_an_export_and_an_import(tmp_path, project, store):
    async with serving(tmp_path / "one", root=project, store=store) as (deployment, client):
        await deployment.push()
        for number, body in enumerate(BODIES):
            await insert(deployment, {"body": body, "channel": "ab"[number % 2]})
        before = await all_found(deployment)
        assert [len(each) for each in before] == [3, 2, 2]
        _, response = await exported(deployment, client)
    # As the table of another deployment, which has nothing of it, and then over what it has.
    async with serving(tmp_path / "two", root=project, store=store) as (deployment, client):
        await deployment.push()
        state, _ = await imported(deployment, client, response.content, format="zip")
        assert state["state"] == "completed", state
        assert await all_found(deployment) == before
        await insert(deployment, {"body": "tree of after"}, {"body": "a tree more"})
        changed, then = await all_found(deployment), deployment.runtime.newest_ts
        assert len(changed[0]) == 5
        state, _ = await imported(
            deployment, client, response.content, format="zip", mode="replace"
        )
        assert state["state"] == "completed", state
        assert await all_found(deployment) == before
        # Whoever looks at the moment before finds what there was.
        assert await all_found(deployment, then) == changed
        # Beside what there is.
        lines = "".join(json.dumps({"body": body}) + "\n" for body in ("oak tree", "Été"))
        state, _ = await imported(
            deployment, client, lines.encode(), tableName="notes", format="jsonLines", mode="append"
        )
        assert state["state"] == "completed", state
        more = await all_found(deployment)
        assert [len(each) for each in more] == [4, 2, 3]
        assert await all_found(deployment, then) == changed


async def test_an_import_that_is_given_up_leaves_no_text(tmp_path, project):
    async with serving(tmp_path / "one", root=project) as (deployment, client):
        await deployment.push()
        await insert(deployment, {"body": "tree"})
        before = await all_found(deployment)
        lines = "".join(json.dumps({"body": f"tree {n}"}) + "\n" for n in range(50))
        state, _ = await imported(
            deployment,
            client,
            (lines + "no JSON").encode(),
            tableName="notes",
            format="jsonLines",
            mode="append",
        )
        assert state["state"] == "failed", state
        assert await all_found(deployment) == before
        await insert(deployment, {"body": "tree"})
        assert len(await found(deployment, "search_body", "tree", {})) == 2
