"""Vectors are found after an export and an import as they were before."""

from __future__ import annotations

import json
from typing import Any

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
    from camber import Table, VectorIndex

    class Place(Table, table="places", strict=False):
        by_at = VectorIndex("at", dimensions=3, filter_fields=["kind"])
"""
PLACES = """
    from typing import Any
    from camber import QueryCtx, query
    from .schema import Place

    @query
    def near(ctx: QueryCtx, at: list[float], where: dict[str, Any]) -> list[Any]:
        hits = ctx.vector_search(Place.by_at, at, limit=256, where=where)
        return [[hit.id, hit.score, ctx.db.get(hit.id).to_dict()["kind"]] for hit in hits]
"""
#: Some are no vectors of the index, and there are more than lie in one block.
AT = [
    *([float(n % 7 - 3), float(n % 11), 1.0] for n in range(300)),
    [0.0, 0.0, 0.0],
    [1.0],
    "abc",
    None,
]
SEARCHES: list[tuple[Any, Any]] = [([1.0, 2.0, 3.0], {}), ([-1.0, 0.0, 0.5], {"kind": "a"})]


@pytest.fixture
def project(tmp_path):
    return write_project(tmp_path / "project", schema=SCHEMA, places=PLACES)


async def near(deployment, ts=None):
    found = []
    for at, where in SEARCHES:
        call = FunctionCall(
            path="places:near",
            arguments=pack({"at": at, "where": where}),
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id="test",
        )
        result = await deployment.runtime.query(call, ts=ts or deployment.runtime.newest_ts)
        assert result.failure is None, result.failure
        found.append(unpack(result.packed))
    return found


async def insert(deployment, *documents):
    def change(transaction):
        for document in documents:
            transaction.insert("places", document)

    await write(deployment.engine, "test", change)


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_vectors_are_found_after_an_export_and_an_import(tmp_path, project, store):
    async with serving(tmp_path / "one", root=project, store=store) as (deployment, client):
        await deployment.push()
        await insert(deployment, *({"at": at, "kind": "ab"[n % 2]} for n, at in enumerate(AT)))
        before = await near(deployment)
        assert [len(each) for each in before] == [256, 150]
        _, response = await exported(deployment, client)
    # As the table of another deployment, which has nothing of it, and then over what it has.
    async with serving(tmp_path / "two", root=project, store=store) as (deployment, client):
        await deployment.push()
        state, _ = await imported(deployment, client, response.content, format="zip")
        assert state["state"] == "completed", state
        assert await near(deployment) == before
        await insert(deployment, *({"at": [1.0, 2.0, 3.0], "kind": "a"} for _ in range(2)))
        changed, then = await near(deployment), deployment.runtime.newest_ts
        assert len(changed[1]) == 152
        assert [score for _, score, _ in changed[0][:3]] == [1, 1, before[0][0][1]]
        state, _ = await imported(
            deployment, client, response.content, format="zip", mode="replace"
        )
        assert state["state"] == "completed", state
        assert await near(deployment) == before
        # Whoever looks at the moment before finds what there was.
        assert await near(deployment, then) == changed
        # Beside what there is.
        lines = "".join(json.dumps({"at": at, "kind": "a"}) + "\n" for at in ([2, 4, 6], [1]))
        state, _ = await imported(
            deployment,
            client,
            lines.encode(),
            tableName="places",
            format="jsonLines",
            mode="append",
        )
        assert state["state"] == "completed", state
        more = await near(deployment)
        assert [len(more[1]), more[0][0][1]] == [151, 1]
        assert await near(deployment, then) == changed


async def test_an_import_that_is_given_up_leaves_no_vector(tmp_path, project):
    async with serving(tmp_path / "one", root=project) as (deployment, client):
        await deployment.push()
        await insert(deployment, {"at": [1.0, 0.0, 0.0], "kind": "a"})
        before = await near(deployment)
        lines = "".join(json.dumps({"at": [1, n, 0], "kind": "a"}) + "\n" for n in range(50))
        state, _ = await imported(
            deployment,
            client,
            (lines + "no JSON").encode(),
            tableName="places",
            format="jsonLines",
            mode="append",
        )
        assert state["state"] == "failed", state
        assert await near(deployment) == before
        await insert(deployment, {"at": [1.0, 0.0, 0.0], "kind": "a"})
        assert [len(each) for each in await near(deployment)] == [2, 2]
