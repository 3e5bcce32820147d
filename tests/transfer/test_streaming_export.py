"""Systems that follow a deployment: a listing, then deltas, give what is there."""

from __future__ import annotations

import asyncio
import json
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber.deployment.maintenance import Maintenance
from camber.deployment.settings import MEMORY
from camber.engine.writing import write
from camber.values.ids import encode_id
from camber.values.value import Int64
from camber.values.wire import Format, encode_format
from tests.transfer.harness import documents_of, ids_of, imported, insert, serving, snapshot_of

pytestmark = pytest.mark.anyio


class Follower:
    """What a system keeps that follows: the documents of each table, by id."""

    def __init__(self, client, **asked):
        self._client = client
        self._asked = asked
        self.documents: dict[str, dict[str, object]] = {}
        self._snapshot: dict[str, object] | None = {}
        self.cursor: int | None = None

    async def ask(self, path, **asked):
        response = await self._client.post(path, json={**self._asked, **asked})
        assert response.status_code == 200, response.text
        return response.json()

    async def step(self):
        """Ask for one page; return whether there is more to ask for."""
        if self._snapshot is not None:
            page = await self.ask("/api/list_snapshot", **self._snapshot)
            for row in page["values"]:
                assert "_deleted" not in row
                self._keep(row)
            self.cursor = page["snapshot"]
            cursor = {"snapshot": page["snapshot"], "cursor": page["cursor"]}
            self._snapshot = cursor if page["hasMore"] else None
            return True
        page = await self.ask("/api/document_deltas", cursor=self.cursor)
        for row in page["values"]:
            assert self.cursor < row["_ts"] <= page["cursor"]
            if row.pop("_deleted"):
                assert set(row) == {"_id", "_component", "_table", "_ts"}
                self.documents.get(row["_table"], {}).pop(row["_id"], None)
            else:
                self._keep(row)
        assert [row["_ts"] for row in page["values"]] == sorted(r["_ts"] for r in page["values"])
        self.cursor = page["cursor"]
        return page["hasMore"]

    def _keep(self, row):
        assert row["_component"] == ""
        fields = {n: v for n, v in row.items() if n not in {"_component", "_table", "_ts"}}
        self.documents.setdefault(row["_table"], {})[row["_id"]] = fields

    async def catch_up(self):
        while await self.step():
            pass


def there_is(deployment):
    """The documents of all tables, in the form `json`."""
    found = {}
    for table in deployment.engine.catalog.tables():
        if not table.is_system:
            documents = documents_of(deployment, table.name)
            found[table.name] = {
                id_: json.loads(encode_format(document, Format.CLEAN))
                for id_, document in documents.items()
            }
    return {name: documents for name, documents in found.items() if documents}


operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abc"), st.integers(1, 4)),
        st.tuples(st.just("change"), st.integers(0, 20), st.booleans()),
        st.tuples(
            st.just("import"), st.sampled_from("abc"), st.sampled_from(["append", "replace"])
        ),
        st.tuples(st.just("follow"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@given(operations)
@settings(max_examples=40)
def test_whoever_follows_has_in_the_end_what_is_there(operations):
    async def play(folder):
        async with serving(folder, store=MEMORY) as (deployment, client):
            follower = Follower(client)
            for n, (kind, what, how) in enumerate(operations):
                if kind == "write":
                    await insert(deployment, what, *({"n": n, "i": Int64(n)} for _ in range(how)))
                elif kind == "import":
                    asked = {"tableName": what, "format": "jsonLines", "mode": how}
                    state, _ = await imported(deployment, client, b'{"n":1}\n{"n":2}', **asked)
                    assert state["state"] == "completed"
                elif kind == "renumber":
                    line = json.dumps({"_id": encode_id(10_100 + n, bytes([n] * 16))}).encode()
                    asked = {"tableName": what, "format": "jsonLines", "mode": "replace"}
                    state, _ = await imported(deployment, client, line, **asked)
                    assert state["state"] == "completed"
                elif kind == "follow":
                    await follower.step()
                else:
                    await write(deployment.engine, "test", partial(change, what=what, delete=how))
            await follower.catch_up()
            follower.documents = {t: d for t, d in follower.documents.items() if d}
            assert follower.documents == there_is(deployment)

    def change(transaction, what, delete):
        ids = [
            id_ for table in transaction.user_tables() for id_ in ids_of(transaction, table.name)
        ]
        if ids and delete:
            transaction.delete(ids[what % len(ids)])
        elif ids:
            transaction.replace(ids[what % len(ids)], {"changed": what})

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("camber.limits.snapshot_page_documents_max", 2)
        patch.setattr("camber.limits.deltas_page_documents", 2)
        patch.setattr("camber.limits.deltas_page_commits_max", 2)
        asyncio.run(play(Path(folder)))


async def test_deletions_have_the_name_that_their_table_had(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 1})
        await insert(deployment, "b", {"n": 2})
        follower = Follower(client)
        await follower.catch_up()
        # The two exchange their numbers.
        data = snapshot_of(
            **{
                "a/documents.jsonl": json.dumps({"_id": encode_id(10002, bytes(16))}),
                "b/documents.jsonl": json.dumps({"_id": encode_id(10001, bytes(16))}),
            }
        )
        state, _ = await imported(deployment, client, data, format="zip", mode="replace")
        assert state["state"] == "completed", state
        await follower.catch_up()
        assert follower.documents == there_is(deployment)


async def test_a_listing_is_of_one_moment_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.snapshot_page_documents_max", 3)
    async with serving(tmp_path) as (deployment, client):
        ids = await insert(deployment, "a", *({"n": 0} for _ in range(10)))
        await insert(deployment, "b", {"n": 0})
        asked: dict[str, object] = {"tableName": "a"}
        rows = []
        while True:
            page = (await client.get("/api/list_snapshot", params=asked)).json()
            rows += page["values"]
            assert len(page["values"]) <= 3
            # Commits go on.
            await write(deployment.engine, "test", lambda t: t.replace(ids[-1], {"n": 9}))
            await insert(deployment, "a", {"n": 9})
            if not page["hasMore"]:
                break
            asked |= {"snapshot": page["snapshot"], "cursor": page["cursor"]}
        assert page["cursor"] is None
        assert page["snapshot"] > 2**53
        assert [row["_id"] for row in rows] == sorted(ids)
        assert {row["n"] for row in rows} == {0.0}
        assert {row["_ts"] for row in rows} == {page["snapshot"]}


async def test_formats_and_selections(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        document = {"big": Int64(5), "n": 5, "raw": b"\xff"}
        (id_,) = await insert(deployment, "a", document)
        await insert(deployment, "b", {"n": 1})

        async def listed(**asked):
            page = (await client.post("/api/list_snapshot", json=asked)).json()
            return {row["_table"]: row for row in page["values"]}

        plain = (await listed())["a"]
        assert (plain["big"], plain["n"], plain["raw"]) == ("5", 5.0, "/w==")
        encoded = (await listed(format="convex_encoded_json"))["a"]
        assert encoded["big"] == {"$integer": "BQAAAAAAAAA="}
        assert encoded["raw"] == {"$bytes": "/w=="}
        for selection, expected in (
            ({"_other": "included"}, {"a", "b"}),
            ({"_other": "excl"}, set()),
            ({"": "included"}, {"a", "b"}),
            ({"": {"_other": "excluded", "a": "included"}}, {"a"}),
            ({"": {"_other": "included", "a": "excluded"}}, {"b"}),
            ({"": {"a": {"n": "incl"}}}, {"a"}),
        ):
            assert set(await listed(selection=selection)) == expected, selection
        columns = {"_other": "excluded", "n": "included", "_id": "excluded"}
        only = (await listed(selection={"": {"a": columns}}))["a"]
        assert set(only) == {"_component", "_table", "_ts", "_id", "n"}
        columns = {"_other": "included", "n": "excluded"}
        rest = (await listed(selection={"": {"a": columns}}))["a"]
        assert set(rest) == {"_component", "_table", "_ts", "_id", "_creationTime", "big", "raw"}
        asked = {"cursor": 0, "selection": {"": {"a": {"n": "included"}}}}
        deltas = (await client.post("/api/document_deltas", json=asked)).json()["values"]
        assert [(row["_id"], row["n"], "big" in row) for row in deltas] == [(id_, 5.0, False)]


async def test_schemas_and_columns(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        await insert(deployment, "loose", {"n": 1, "i": Int64(1)}, {"n": "x"})
        await insert(deployment, "empty", {"n": 1})
        await write(
            deployment.engine, "test", lambda t: t.delete(*documents_of(deployment, "empty"))
        )
        schemas = (await client.get("/api/json_schemas?deltaSchema=true&format=json")).json()
        note = schemas["notes"]["properties"]
        assert note["rank"] == {"type": "number"}
        assert note["_ts"] == {"type": "integer"}
        assert note["_deleted"] == {"type": "boolean"}
        assert (note["_id"], note["_creationTime"]) == ({"type": "string"}, {"type": "number"})
        everything = schemas["everything"]["properties"]
        assert everything["big"] == {"type": "string"}
        assert everything["mood"] == {"type": "string"}
        assert everything["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
        assert everything["scores"] == {
            "type": "object",
            "additionalProperties": {"type": "number"},
        }
        assert everything["point"]["properties"]["x"] == {"type": "number"}
        loose = schemas["loose"]["properties"]
        assert loose["i"] == {"type": "string"}
        assert sorted(each["type"] for each in loose["n"]["anyOf"]) == ["number", "string"]
        encoded = (await client.get("/api/json_schemas?format=convex_encoded_json")).json()
        assert "$integer" in encoded["everything"]["properties"]["big"]["properties"]
        assert set(encoded["empty"]["properties"]) == {"_id", "_creationTime"}
        columns = (await client.get("/api/get_table_column_names")).json()["byComponent"][""]
        assert {"name": "loose", "columns": ["_creationTime", "_id", "i", "n"]} in columns
        assert (await client.get("/api/test_streaming_export_connection")).json() is None


async def test_a_clear_word_for_every_mistake(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 0})
        early = deployment.engine.newest_ts
        for n in range(3):
            await insert(deployment, "a", {"n": n})
        forgetful = Maintenance(
            engine=deployment.engine, history_retention_s=0, history_bytes_max=10**9
        )
        await forgetful.round()
        ahead = deployment.engine.newest_ts + 10**15
        for path, asked, code in (
            ("list_snapshot", {"snapshot": early}, "SnapshotTooOld"),
            ("list_snapshot", {"snapshot": ahead}, "BadSnapshot"),
            ("list_snapshot", {"snapshot": "x"}, "BadQueryArgs"),
            ("list_snapshot", {"snapshot": 1.5}, "BadQueryArgs"),
            ("list_snapshot", {"cursor": "x"}, "BadCursor"),
            ("list_snapshot", {"cursor": 5}, "BadCursor"),
            ("list_snapshot", {"tableName": 5}, "BadQueryArgs"),
            ("list_snapshot", {"format": "xml"}, "BadFormat"),
            ("list_snapshot", {"component": "x"}, "ComponentPathNotFound"),
            ("list_snapshot", {"selection": "x"}, "BadSelection"),
            ("list_snapshot", {"selection": {"x": "included"}}, "BadSelection"),
            ("list_snapshot", {"selection": {"": {"a": "x"}}}, "BadSelection"),
            ("document_deltas", {}, "DocumentDeltasCursorRequired"),
            ("document_deltas", {"cursor": early}, "CursorTooOld"),
            ("document_deltas", {"cursor": ahead}, "BadCursor"),
            ("document_deltas", {"cursor": -1}, "BadQueryArgs"),
        ):
            response = await client.post(f"/api/{path}", json=asked)
            assert (response.status_code, response.json()["code"]) == (400, code), asked
        for path in ("list_snapshot", "json_schemas", "get_table_column_names"):
            headers = {"Authorization": "Convex x|y"}
            response = await client.get(f"/api/{path}", headers=headers)
            assert response.status_code == 401


async def test_too_large_a_commit_sends_whoever_follows_back_to_the_listing(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.deltas_commit_documents_max", 5)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 0})
        before = deployment.engine.newest_ts
        await insert(deployment, "a", *({"n": n} for n in range(6)))
        response = await client.post("/api/document_deltas", json={"cursor": before})
        assert (response.status_code, response.json()["code"]) == (400, "CursorTooOld")
        assert "more than 5 documents" in response.json()["message"]
