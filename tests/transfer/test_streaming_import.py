"""Systems that write: each record in its place, however often it is sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from camber.deployment.settings import MEMORY
from camber.values.value import Int64
from tests.functions.projects import write_project
from tests.transfer.harness import documents_of, insert, serving

pytestmark = pytest.mark.anyio

STREAM = "/api/streaming_import"


def plain(deployment, table):
    """The documents of a table without system fields, in order of their JSON."""
    found = documents_of(deployment, table)
    if found is None:
        return None
    fields = [
        {name: value for name, value in document.items() if not name.startswith("_")}
        for document in found.values()
    ]
    return sorted(fields, key=lambda document: json.dumps(document, sort_keys=True, default=str))


async def send(client, tables, *messages):
    body = {
        "tables": {name: {"primaryKey": key, "jsonSchema": {}} for name, key in tables.items()},
        "messages": [{"tableName": name, "data": data} for name, data in messages],
    }
    return await client.post(f"{STREAM}/import_airbyte_records", json=body)


async def test_two_that_write_at_once_wait_for_each_other(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        sent = [send(client, {"people": [["id"]]}, ("people", {"id": n})) for n in range(4)]
        assert [each.status_code for each in await asyncio.gather(*sent)] == [200] * 4
        assert plain(deployment, "people") == [{"id": n} for n in range(4)]


async def test_airbyte_records_are_added_or_find_their_document(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        tables = {"log": None, "people": [["id"], ["at", "city"]]}
        ada = {"id": 1, "at": {"city": "x"}, "name": "Ada"}
        bob = {"id": 1, "at": {"city": "y"}, "name": "Bob"}
        messages = [("log", {"n": 1}), ("people", ada), ("people", bob), ("log", {"n": 1})]
        for _ in range(2):
            response = await send(client, tables, *messages)
            assert (response.status_code, response.content) == (200, b"")
        assert plain(deployment, "log") == [{"n": 1}] * 4
        assert plain(deployment, "people") == [ada, bob]
        before = documents_of(deployment, "people")
        # A record replaces its document, which keeps its id and its creation time.
        changed = {**ada, "name": "Eve", "_ab_cdc_updated_at": "now", "_ab_cdc_deleted_at": None}
        await send(client, tables, ("people", changed))
        after = documents_of(deployment, "people")
        assert {id_: d["_creationTime"] for id_, d in after.items()} == {
            id_: d["_creationTime"] for id_, d in before.items()
        }
        assert plain(deployment, "people") == [{**ada, "name": "Eve"}, bob]
        # Deletions, of what is there and of what is not.
        gone = {**ada, "_ab_cdc_deleted_at": "now"}
        for _ in range(2):
            assert (await send(client, tables, ("people", gone))).status_code == 200
        assert plain(deployment, "people") == [bob]


async def test_names_that_cannot_be_ours_are_repaired(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        data = {"_id": 1, "$x": {"_in": 1, "ü": 2}, "plain": [{"$y": 1}]}
        response = await send(client, {"_raw-data": [["_id"]]}, ("_raw-data", data))
        assert response.status_code == 200, response.text
        assert plain(deployment, "source__raw_data") == [
            {
                "source__id": 1,
                "source_$x": {"source__in": 1, "source__": 2},
                "plain": [{"source_$y": 1}],
            }
        ]


async def test_documents_that_others_made_are_found_by_an_index(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        await insert(deployment, "counters", {"name": "a", "value": 1})
        (before,) = documents_of(deployment, "counters")
        tables = {"counters": [["name"]]}
        response = await send(client, tables, ("counters", {"name": "a", "value": 2}))
        assert response.status_code == 200, response.text
        (after,) = documents_of(deployment, "counters").values()
        assert (after["_id"], after["value"]) == (before, 2)
        # The schema holds, and so do unique indexes.
        response = await send(client, tables, ("counters", {"name": "b", "value": "x"}))
        assert (response.status_code, response.json()["code"]) == (400, "SchemaMismatch")
        assert "value" in response.json()["message"]
        response = await send(
            client, {"counters": [["value"]]}, ("counters", {"name": "a", "value": 3})
        )
        assert (response.status_code, response.json()["code"]) == (400, "UniqueIndexViolation")
        assert len(documents_of(deployment, "counters")) == 1


async def test_large_batches_go_in_several_commits(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.streaming_commit_records_max", 10)
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        records = [("a", {"id": n % 30, "n": n}) for n in range(95)]
        before = len(deployment.engine.store.tail(0))
        assert (await send(client, {"a": [["id"]]}, *records)).status_code == 200
        last = {n % 30: n for n in range(95)}
        found = {document["id"]: document["n"] for document in plain(deployment, "a")}
        assert found == last
        assert len(deployment.engine.store.tail(0)) - before == 10


async def test_a_clear_word_for_every_mistake(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):

        async def refused(method, path, body, code):
            response = await client.request(method, f"{STREAM}/{path}", json=body)
            assert (response.status_code, response.json()["code"]) == (400, code), response.text

        good = {"tables": {"a": {"primaryKey": [["id"]]}}, "messages": []}
        changes: list[dict[str, Any]] = [
            {"tables": None},
            {"messages": None},
            {"messages": [1]},
            {"messages": [{"tableName": "b", "data": {}}]},
            {"messages": [{"tableName": "a", "data": {"x": 1}}]},
            {"messages": [{"tableName": "a", "data": {"id": [[]] * 9000}}]},
            {"tables": {"a": {"primaryKey": "id"}}},
            {"tables": {"a": {"primaryKey": [[]]}}},
            {
                "tables": {"a": {"primaryKey": None}},
                "messages": [{"tableName": "a", "data": {"_ab_cdc_deleted_at": "x"}}],
            },
        ]
        for change in changes:
            await refused("POST", "import_airbyte_records", {**good, **change}, "InvalidRecord")
        await refused("POST", "replace_tables", {}, "OverwriteNotSupported")
        await refused("PUT", "clear_tables", {"tableNames": "a"}, "BadJsonBody")
        await refused("PUT", "add_primary_key_indexes", {"indexes": []}, "BadJsonBody")
        await refused("GET", "primary_key_indexes_ready", {}, "BadJsonBody")
        await refused("POST", "fivetran_create_table", {}, "BadJsonBody")
        operation = {"table": "a", "operation": "Upsert", "row": {"id": 1}}
        await refused("POST", "apply_fivetran_operations", [operation], "NoPrimaryKey")
        await refused("POST", "apply_fivetran_operations", {}, "InvalidRecord")
        truncate = {"tableName": "a", "deleteType": "HardDelete"}
        for before in ("x", "2026-01-01T00:00:00"):
            body = {**truncate, "deleteBefore": before}
            await refused("POST", "fivetran_truncate_table", body, "BadJsonBody")
        await refused("POST", "fivetran_truncate_table", {"tableName": "a"}, "BadJsonBody")
        headers = {"Authorization": "Convex x|y"}
        response = await client.put(f"{STREAM}/clear_tables", json={}, headers=headers)
        assert response.status_code == 401
        assert documents_of(deployment, "a") is None


async def test_the_other_routes(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 1}, {"n": 2})
        await insert(deployment, "b", {"n": 1})
        body: dict[str, Any] = {"tableNames": ["a", "nowhere"]}
        assert (await client.put(f"{STREAM}/clear_tables", json=body)).status_code == 200
        assert (plain(deployment, "a"), plain(deployment, "b")) == ([], [{"n": 1}])
        body = {"indexes": {"a": [["id"]]}}
        assert (await client.put(f"{STREAM}/add_primary_key_indexes", json=body)).status_code == 200
        response = await client.request(
            "GET", f"{STREAM}/primary_key_indexes_ready", json={"tables": ["a"]}
        )
        assert response.json() == {"indexesReady": True}
        for _ in range(2):
            body = {"tableDefinition": {"name": "made"}}
            response = await client.post(f"{STREAM}/fivetran_create_table", json=body)
            assert response.status_code == 200
        assert plain(deployment, "made") == []
        await deployment.push()
        schema = (await client.get(f"{STREAM}/get_schema")).json()
        assert "notes" in [table["tableName"] for table in schema["tables"]]


INDEXED = """
from camber import Index, SearchIndex, Table

class Note(Table, table="notes"):
    text: str
    place: str
    by_place = Index("place")
    by_both = Index("place", "text", staged=True)
    search_text = SearchIndex("text", filter_fields=["place"])
"""


async def test_the_schema_tells_indexes_apart(tmp_path):
    project = write_project(tmp_path / "project", schema=INDEXED)
    async with serving(tmp_path / "data", root=project, store=MEMORY) as (deployment, client):
        await deployment.push()
        schema = (await client.get(f"{STREAM}/get_schema")).json()
    assert schema["schemaValidation"]
    (notes,) = schema["tables"]
    assert notes["indexes"] == [{"indexDescriptor": "by_place", "fields": ["place"]}]
    assert notes["stagedDbIndexes"] == [{"indexDescriptor": "by_both", "fields": ["place", "text"]}]
    assert notes["searchIndexes"] == [
        {"indexDescriptor": "search_text", "searchField": "text", "filterFields": ["place"]}
    ]
    assert notes["stagedSearchIndexes"] == []


FIVETRAN = """
import msgspec
from camber import Index, Table

class Synced(msgspec.Struct, frozen=True):
    synced: float
    deleted: bool = False

class Person(Table, table="people"):
    key: float
    name: str = ""
    fivetran: Synced | None = None

    by_primary_key = Index("fivetran.deleted", "key")
"""


async def test_fivetran_operations(tmp_path):
    project = write_project(tmp_path / "project", schema=FIVETRAN)
    async with serving(tmp_path / "data", root=project) as (deployment, client):
        await deployment.push()

        async def apply(*operations):
            body = [{"table": "people", "operation": kind, "row": row} for kind, row in operations]
            response = await client.post(f"{STREAM}/apply_fivetran_operations", json=body)
            assert response.status_code == 200, response.text

        def synced(at, **more):
            return {"synced": at, "deleted": False, **more}

        await apply(
            ("Upsert", {"key": 1, "name": "Ada", "fivetran": synced(1000)}),
            ("Upsert", {"key": 2, "name": "Bob", "fivetran": synced(2000)}),
            ("Upsert", {"key": 3, "name": "Eve", "fivetran": synced(3000)}),
            ("Update", {"key": 1, "name": "Ann"}),
            ("Update", {"key": 9, "name": "nobody"}),
            ("HardDelete", {"key": 3}),
        )
        found = {d["key"]: d["name"] for d in plain(deployment, "people")}
        assert found == {1: "Ann", 2: "Bob"}
        truncate = {"tableName": "people", "deleteBefore": "1970-01-01T00:00:01.5Z"}
        path = f"{STREAM}/fivetran_truncate_table"
        response = await client.post(path, json={**truncate, "deleteType": "SoftDelete"})
        assert response.status_code == 200, response.text
        found = {d["key"]: d["fivetran"]["deleted"] for d in plain(deployment, "people")}
        assert found == {1: True, 2: False}
        await client.post(path, json={**truncate, "deleteType": "HardDelete"})
        assert [d["key"] for d in plain(deployment, "people")] == [2]
        body = {"tableName": "people", "deleteBefore": None, "deleteType": "HardDelete"}
        await client.post(path, json=body)
        assert plain(deployment, "people") == []


async def test_integers_of_the_lossless_encoding_stay_so(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        data = {"id": 1, "n": 2**60}
        assert (await send(client, {"a": [["id"]]}, ("a", data))).status_code == 200
        (found,) = plain(deployment, "a")
        assert found["n"] == float(2**60)
        assert not isinstance(found["n"], Int64)
