"""Snapshot exports: one moment, whatever goes on meanwhile."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from camber.deployment.maintenance import Maintenance
from camber.deployment.settings import MEMORY
from camber.engine.writing import write
from camber.values.value import Int64
from tests.transfer.harness import (
    contents,
    exported,
    files_in,
    finished,
    ids_of,
    insert,
    latest,
    serving,
    under_way,
)

pytestmark = pytest.mark.anyio


async def test_of_two_exports_asked_for_at_once_one_is_begun(tmp_path):
    """Whoever loses waits for what is on its way: it is the loop that brings it there."""
    async with serving(tmp_path) as (_, client):
        answers = await asyncio.gather(*(client.post("/api/export/request/zip") for _ in range(2)))
        assert sorted(each.status_code for each in answers) == [200, 400]
        (refused,) = [each for each in answers if each.status_code == 400]
        assert refused.json()["code"] == "ExportInProgress"


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_the_layout_of_a_snapshot(tmp_path, store):
    async with serving(tmp_path, store=store) as (deployment, client):
        ids = await insert(
            deployment,
            "people",
            {"name": "Ada", "age": 36, "score": 1.5, "tags": [], "born": Int64(1815)},
            {"name": "Bob", "age": -0.0, "photo": b"\x00\xff"},
        )
        await insert(deployment, "empty", {"x": 1})
        await write(deployment.engine, "test", lambda t: t.delete(ids_of(t, "empty")[0]))
        job, response = await exported(deployment, client, "?includeStorage=true")
        files = contents(response)
        assert set(files) == {
            "README.md",
            "_tables/documents.jsonl",
            "_storage/documents.jsonl",
            "people/documents.jsonl",
            "people/generated_schema.jsonl",
            "empty/documents.jsonl",
            "empty/generated_schema.jsonl",
        }
        assert files["people/generated_schema.jsonl"] == b'"uniform"\n'
        tables = [json.loads(line) for line in files["_tables/documents.jsonl"].splitlines()]
        assert tables == [{"name": "people", "id": 10001}, {"name": "empty", "id": 10002}]
        lines = files["people/documents.jsonl"].decode().splitlines()
        assert [json.loads(line)["_id"] for line in lines] == sorted(ids)
        ada, bob = sorted(lines, key=lambda line: "Ada" not in line)
        assert '"age":36.0' in ada
        assert '"born":1815' in ada
        assert '"age":-0.0' in bob
        assert '"photo":{"$bytes":"AP8="}' in bob
        assert files["empty/documents.jsonl"] == files["_storage/documents.jsonl"] == b""
        disposition = response.headers["content-disposition"]
        assert disposition == f"attachment; filename=snapshot_test_{int(job['start_ts'])}.zip"
        assert int(response.headers["content-length"]) == len(response.content) == job["size"]
        for name in ("start_ts", "complete_ts", "expiration_ts", "size"):
            assert isinstance(job[name], Int64)
        without = await exported(deployment, client)
        assert "_storage/documents.jsonl" not in contents(without[1])


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_an_export_shows_one_moment_while_commits_go_on_and_history_is_trimmed(
    tmp_path, store, monkeypatch
):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 7)
    async with serving(tmp_path, store=store) as (deployment, client):
        engine = deployment.engine
        ids = await insert(deployment, "pairs", *({"n": 0} for _ in range(100)))
        await insert(deployment, "others", *({"n": 0} for _ in range(30)))
        forgetful = Maintenance(engine=engine, history_retention_s=0, history_bytes_max=10**9)

        async def writing():
            for round_ in range(1, 60):

                def change(transaction, n=round_):
                    for id_ in ids[:: 1 + n % 3]:
                        transaction.replace(id_, {"n": n})
                    transaction.insert("pairs", {"n": n})
                    transaction.insert(f"later{n}", {"n": n})

                await write(engine, "writing", change)
                await forgetful.round()

        task = asyncio.ensure_future(writing())
        job, response = await exported(deployment, client)
        in_progress = not task.done()
        await task
        files = contents(response)
        found = [json.loads(line) for line in files["pairs/documents.jsonl"].splitlines()]
        # Whatever round the moment lies after: all that it wrote, and nothing of a later one.
        rounds = max(document["n"] for document in found)
        assert len(found) == 100 + rounds
        expected = dict.fromkeys(ids, 0)
        for n in range(1, int(rounds) + 1):
            expected |= dict.fromkeys(ids[:: 1 + n % 3], n)
        assert {d["_id"]: d["n"] for d in found if d["_id"] in expected} == expected
        assert f"later{int(rounds)}/documents.jsonl" in files or rounds == 0
        assert f"later{int(rounds) + 1}/documents.jsonl" not in files
        assert in_progress, "the export ended before there was anything to stand up to"
        # The pin is gone with the export: history can be forgotten again.
        await insert(deployment, "pairs", {"n": 0})
        await forgetful.round()
        with pytest.raises(Exception, match="history begins"):
            engine.store.snapshot(int(job["start_ts"]))


async def test_history_that_outgrows_all_bounds_fails_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 1)
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await insert(deployment, "pairs", *({"n": 0} for _ in range(300)))
        stingy = Maintenance(engine=deployment.engine, history_retention_s=0, history_bytes_max=1)
        await client.post("/api/export/request/zip")
        await under_way(deployment)
        await insert(deployment, "pairs", {"n": 1})
        await insert(deployment, "pairs", {"n": 1})
        await stingy.round()
        job = await finished(deployment)
        assert job["state"] == "failed"
        assert "too much was written" in job["error_message"]
        assert files_in(tmp_path / "exports") == []


async def test_one_export_at_a_time_and_a_clear_word_for_every_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 1)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "pairs", *({"n": 0} for _ in range(2000)))

        async def refused(method, path, status, code, **request):
            response = await client.request(method, path, **request)
            assert (response.status_code, response.json()["code"]) == (status, code), response.text

        await client.post("/api/export/request/zip")
        await refused("POST", "/api/export/request/zip", 400, "ExportInProgress")
        job = await under_way(deployment)
        await refused("GET", f"/api/export/zip/{job['_id']}", 400, "ExportNotComplete")
        await refused("GET", f"/api/export/zip/{int(job['start_ts'])}", 400, "ExportNotComplete")
        await refused("GET", "/api/export/zip/12345", 404, "ExportNotFound")
        await refused("GET", "/api/export/zip/nonsense", 400, "BadSnapshotId")
        assert (await client.post(f"/api/export/cancel/{job['_id']}")).status_code == 200
        job = await finished(deployment)
        assert job["state"] == "canceled"
        assert isinstance(job["canceled_ts"], Int64)
        assert files_in(tmp_path / "exports") == []
        await refused("POST", f"/api/export/cancel/{job['_id']}", 400, "ExportNotInProgress")
        await refused("POST", "/api/export/request/zip?includeStorage=1", 400, "BadQueryArgs")
        await refused("POST", "/api/export/request/zip?component=x", 400, "ComponentPathNotFound")
        await refused(
            "POST",
            f"/api/export/set_expiration/{job['_id']}",
            400,
            "ExportNotComplete",
            json={"expirationTsNs": 1},
        )
        for path in ("/api/export/request/zip", f"/api/export/cancel/{job['_id']}"):
            response = await httpx.AsyncClient(transport=client._transport).post(f"http://t{path}")
            assert (response.status_code, response.json()["code"]) == (403, "BadDeployKey")
            await refused("POST", path, 401, "BadAdminKey", headers={"Authorization": "Convex x|y"})


async def test_exports_expire_files_and_all(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "pairs", {"n": 0})
        job, _ = await exported(deployment, client)
        path = f"/api/export/set_expiration/{job['_id']}"
        far = int(job["expiration_ts"]) + 1
        assert (await client.post(path, json={"expirationTsNs": far})).status_code == 200
        await deployment.transfers.exports.expire()
        assert latest(deployment)["expiration_ts"] == far
        assert len(files_in(tmp_path / "exports")) == 1
        assert (await client.post(path, json={"expirationTsNs": 1})).status_code == 200
        await deployment.transfers.exports.expire()
        assert latest(deployment) is None
        assert files_in(tmp_path / "exports") == []
        response = await client.get(f"/api/export/zip/{job['_id']}")
        assert (response.status_code, response.json()["code"]) == (404, "ExportNotFound")


async def test_a_server_that_ends_in_between_leaves_a_failed_export_and_no_file(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 1)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "pairs", *({"n": 0} for _ in range(3000)))
        await client.post("/api/export/request/zip")
        await under_way(deployment)
    # As a crash leaves it: a file that nobody was there to remove.
    (tmp_path / "exports").mkdir(exist_ok=True)
    (tmp_path / "exports" / "left.partial").write_bytes(b"half")
    async with serving(tmp_path) as (deployment, client):
        job = latest(deployment)
        assert job["state"] == "failed"
        assert "the server ended" in job["error_message"]
        assert files_in(tmp_path / "exports") == []
        await exported(deployment, client)
