"""Stored files in snapshots: exported, and imported with their ids and their URLs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import zipfile
from contextlib import closing
from typing import Any

import pytest

from camber.deployment.settings import MEMORY
from camber.engine import file_ledger
from camber.engine.file_ledger import BlobState
from camber.engine.writing import write
from camber.errors import StorageFailed
from camber.runtime.files import Expected
from camber.values.ids import decode_id, encode_id
from camber.values.packed import unpack
from tests.transfer.harness import (
    contents,
    exported,
    finished,
    ids_of,
    imported,
    insert,
    serving,
    under_way,
)

pytestmark = pytest.mark.anyio


async def stored(deployment, content, content_type=None, component=""):
    expected = Expected(content_type=content_type)
    arrival = await deployment.files.arrive_from_action(component, expected)
    await arrival.write(content)
    return await arrival.finish()


async def deleted(deployment, id):
    def change(transaction):
        entry = file_ledger.stored_entry(transaction, id, "")
        assert entry is not None
        file_ledger.leaving(transaction, entry)

    await write(deployment.engine, "test", change)


def listed(deployment):
    """The id, URL, facts and owner of every file."""
    with closing(deployment.engine.begin("test")) as transaction:
        return {
            entry.file: (
                entry.url,
                file_ledger.facts_of(transaction, entry.file),
                entry.component,
            )
            for entry in file_ledger.entries_in(transaction, BlobState.STORED)
        }


async def downloaded(deployment, client, id):
    answer = await client.get(f"/api/storage/{listed(deployment)[id][0]}")
    assert answer.status_code == 200, answer.text
    return answer.content


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def line(id, content, **more):
    row = {"_id": id, "sha256": base64.b64encode(hashlib.sha256(content).digest()).decode(), **more}
    return json.dumps(row) + "\n"


ID = file_ledger.file_id(bytes(16))
LIST = "_storage/documents.jsonl"


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_files_go_into_an_export_and_come_back_with_their_ids_and_urls(tmp_path, store):
    large = bytes(range(256)) * 10_000
    async with serving(tmp_path / "a", store=store) as (deployment, client):
        ids = {
            await stored(deployment, b"a picture", "image/png"): b"a picture",
            await stored(deployment, b"some text", "text/plain; charset=utf-8"): b"some text",
            await stored(deployment, large): large,
            await stored(deployment, b""): b"",
        }
        gone = await stored(deployment, b"gone")
        await deleted(deployment, gone)
        (document,) = await insert(deployment, "photos", {"file": min(ids)})
        before = listed(deployment)
        _, response = await exported(deployment, client, "?includeStorage=true")
        files = contents(response)
    assert {name.partition(".")[0] for name in files if name.startswith("_storage/")} == {
        "_storage/documents",
        *(f"_storage/{id}" for id in ids),
    }
    assert b"a picture" in files.values()
    rows = [json.loads(row) for row in files[LIST].decode().splitlines()]
    assert {row["_id"]: row["internalId"] for row in rows} == {
        id: url for id, (url, *_) in before.items()
    }
    assert all(isinstance(row["size"], float) and "contentType" in row for row in rows)

    async with serving(tmp_path / "b", store=store) as (deployment, client):
        for mode in ("requireEmpty", "append", "replaceAll"):
            # Again and again: what is there already stays.
            data = response.content
            if mode == "append":
                data = archive(**{n: c for n, c in files.items() if n.startswith("_storage")})
            state, _ = await imported(deployment, client, data, format="zip", mode=mode)
            assert state["state"] == "completed", state
            assert listed(deployment) == before
            for id, content in ids.items():
                assert await downloaded(deployment, client, id) == content
        with closing(deployment.engine.begin("test")) as transaction:
            assert transaction.get(document) is not None


async def test_replacing_all_removes_files_that_the_snapshot_has_not_if_it_has_any(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await stored(deployment, b"other")
        before = set(listed(deployment))
        without = archive(**{"people/documents.jsonl": "{}"})
        state, _ = await imported(deployment, client, without, format="zip", mode="replaceAll")
        assert state["state"] == "completed", state
        assert set(listed(deployment)) == before
        snapshot = archive(**{LIST: line(ID, b"new"), f"_storage/{ID}": "new"})
        for mode, there in (("replace", {*before, ID}), ("replaceAll", {ID})):
            state, _ = await imported(deployment, client, snapshot, format="zip", mode=mode)
            assert state["state"] == "completed", state
            assert set(listed(deployment)) == there


COMPONENTS = ("", "cash", "cash/inner", "cashier", "spare")


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_files_of_components_go_into_an_export_and_come_back_to_whose_they_were(
    tmp_path, store, monkeypatch
):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 2)
    # The last component has no file.
    owners = {f"{at} {n}".encode(): at for n in range(3) for at in COMPONENTS[:-1]}
    tables = {at: f"{at}/notes" if at else "notes" for at in COMPONENTS}
    async with serving(tmp_path / "a", store=store) as (deployment, client):
        ids = {
            await stored(deployment, content, "text/plain", at): content
            for content, at in owners.items()
        }
        for at in COMPONENTS:
            await insert(deployment, tables[at], {"of": at})
        before = listed(deployment)
        _, whole = await exported(deployment, client, "?includeStorage=true")
        _, part = await exported(deployment, client, "?includeStorage=true&component=cash")
        _, none = await exported(deployment, client, "?includeStorage=true&component=spare")
    assert {id: owner for id, (_, _, owner) in before.items()} == {
        id: owners[content] for id, content in ids.items()
    }

    def files_of(response):
        return {name: data for name, data in contents(response).items() if "_storage/" in name}

    for id, content in ids.items():
        folders = "".join(f"_components/{name}/" for name in owners[content].split("/") if name)
        assert files_of(whole)[f"{folders}_storage/{id}.txt"] == content
        assert id in files_of(whole)[f"{folders}_storage/documents.jsonl"].decode()
    assert b"component" not in b"".join(files_of(whole).values())
    assert {name.rpartition("/")[0] for name in files_of(part)} == {
        "_components/cash/_storage",
        "_components/cash/_components/inner/_storage",
    }
    assert files_of(none) == {"_components/spare/_storage/documents.jsonl": b""}

    async with serving(tmp_path / "b", store=store) as (deployment, client):
        state, _ = await imported(
            deployment, client, whole.content, format="zip", mode="requireEmpty"
        )
        assert "the component 'cash'" in state["error_message"], state
        for at in COMPONENTS:
            await insert(deployment, tables[at], {"of": "here before"})
        other = await stored(deployment, b"of spare", component="spare")
        for mode, more in (("replace", {other}), ("replaceAll", set())):
            state, _ = await imported(deployment, client, whole.content, format="zip", mode=mode)
            assert state["state"] == "completed", state
            there = listed(deployment)
            assert {id: file for id, file in there.items() if id != other} == before
            assert there.keys() == before.keys() | more
        for id, content in ids.items():
            assert await downloaded(deployment, client, id) == content


async def test_the_question_says_how_many_files_come_and_go(tmp_path):
    def rows(question):
        return question["message_to_confirm"].splitlines()[3:]

    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await insert(deployment, "cash/notes", {})
        for at in ("", "", "cash"):
            await stored(deployment, b"here", component=at)
        kept = await stored(deployment, b"kept")
        snapshot = archive(
            **{
                LIST: line(ID, b"new") + line(kept, b"kept"),
                f"_storage/{ID}": "new",
                f"_storage/{kept}": "kept",
            }
        )
        _, question = await imported(deployment, client, snapshot, format="zip", mode="append")
        assert rows(question) == ["_storage | 1      | 0 of 3"]
        assert question["require_manual_confirmation"] is False
        _, question = await imported(deployment, client, snapshot, format="zip", mode="replaceAll")
        assert rows(question) == [
            "cash/notes    | 0      | 1 of 1",
            "_storage      | 0      | 2 of 4",
            "cash/_storage | 0      | 1 of 1",
        ]
        # Nothing but files would go: that is asked about, too.
        await stored(deployment, b"other")
        _, question = await imported(deployment, client, snapshot, format="zip", mode="replaceAll")
        assert rows(question) == ["_storage | 0      | 1 of 3"]
        assert question["require_manual_confirmation"] is True
        assert set(listed(deployment)) == {ID, kept}
        # One that says nothing of files leaves them as they are.
        without = archive(**{"people/documents.jsonl": "{}"})
        _, question = await imported(deployment, client, without, format="zip", mode="replaceAll")
        assert rows(question) == ["people | 1      | 0"]
        assert question["require_manual_confirmation"] is False


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_a_file_whose_content_is_gone_keeps_no_other_from_being_exported(
    tmp_path, store, caplog
):
    async with serving(tmp_path / "a", store=store) as (deployment, client):
        ids = [await stored(deployment, b"there", "text/plain", at) for at in ("", "cash", "")]
        gone = [await stored(deployment, b"gone", component=at) for at in ("", "cash")]
        await insert(deployment, "cash/notes", {})
        for id in gone:
            await asyncio.to_thread(
                deployment.files._blobs.remove, deployment.files.find_by_id(id).key
            )
        if store is None:
            cut = await stored(deployment, b"cut off")
            gone.append(cut)
            key = deployment.files.find_by_id(cut).key
            (tmp_path / "a" / "files" / key[:2] / key).write_bytes(b"cut")
        job, response = await exported(deployment, client, "?includeStorage=true")
    assert (int(job["missing_files"]), sorted(job["missing_file_ids"])) == (len(gone), sorted(gone))
    assert all(id in caplog.text for id in gone)
    found = contents(response)
    assert found["MISSING_FILES.txt"].decode().split() == job["missing_file_ids"]
    names = [name for name in found if "_storage/" in name and not name.endswith("documents.jsonl")]
    assert {name.rpartition("/")[2] for name in names} == {f"{id}.txt" for id in ids}
    listed_ids = [
        json.loads(row)["_id"]
        for folder in ("", "_components/cash/")
        for row in found[f"{folder}{LIST}"].decode().splitlines()
    ]
    assert sorted(listed_ids) == sorted(ids)

    # What there is of it can be restored.
    async with serving(tmp_path / "b", store=store) as (deployment, client):
        await insert(deployment, "cash/notes", {})
        state, _ = await imported(
            deployment, client, response.content, format="zip", mode="replaceAll"
        )
        assert state["state"] == "completed", state
        assert set(listed(deployment)) == set(ids)


async def test_an_export_does_not_take_a_bucket_that_is_away_for_an_empty_one(
    tmp_path, monkeypatch
):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await stored(deployment, b"there")

        def away(key, start, end):
            raise StorageFailed("the bucket does not answer")

        monkeypatch.setattr(deployment.files._blobs, "read", away)
        answer = await client.post("/api/export/request/zip?includeStorage=true")
        assert answer.status_code == 200
        job = await finished(deployment)
        assert job["state"] == "failed", job
        assert "the bucket does not answer" in job["error_message"]


async def test_a_file_that_is_another_components_is_not_taken_for_the_same(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await insert(deployment, "cash/notes", {})
        id = await stored(deployment, b"same", component="cash")
        files = {LIST: line(id, b"same"), f"_storage/{id}": "same"}
        state, _ = await imported(deployment, client, archive(**files), format="zip", mode="append")
        assert "there is another file with the id" in state["error_message"], state
        inside = {f"_components/cash/{name}": data for name, data in files.items()}
        state, _ = await imported(
            deployment, client, archive(**inside), format="zip", mode="append"
        )
        assert state["state"] == "completed", state


async def test_a_file_that_was_deleted_comes_back_by_an_import(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        snapshot = archive(**{LIST: line(ID, b"new"), f"_storage/{ID}.txt": "new"})
        for _ in range(2):
            state, _ = await imported(deployment, client, snapshot, format="zip", mode="append")
            assert state["state"] == "completed", state
            assert await downloaded(deployment, client, ID) == b"new"
            await deleted(deployment, ID)
            await removed(deployment)


async def removed(deployment):
    """Wait until the content of deleted files is removed."""
    committed = asyncio.Event()
    unhear = deployment.engine.on_publish(lambda commits: committed.set())
    while True:
        with closing(deployment.engine.begin("test")) as transaction:
            if not file_ledger.entries_in(transaction, BlobState.LEAVING):
                break
        committed.clear()
        await committed.wait()
    unhear()


async def test_ids_of_a_deployment_whose_files_have_another_number_are_renamed_everywhere(
    tmp_path,
):
    foreign = encode_id(4321, bytes(range(16)))
    ours = file_ledger.file_id(decode_id(foreign).internal)
    person = {"photo": foreign, "more": [{"files": [foreign, "else"]}], foreign: 1}
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        snapshot = archive(
            **{
                LIST: line(foreign, b"new", internalId="not a uuid"),
                f"_storage/{foreign}": "new",
                "people/documents.jsonl": json.dumps(person),
            }
        )
        state, _ = await imported(deployment, client, snapshot, format="zip", mode="append")
        assert state["state"] == "completed", state
        assert await downloaded(deployment, client, ours) == b"new"
        with closing(deployment.engine.begin("test")) as transaction:
            (person_id,) = ids_of(transaction, "people")
            found: Any = unpack(transaction.get(person_id))
        assert found["photo"] == ours
        assert found["more"] == [{"files": [ours, "else"]}]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({LIST: line(ID, b"new")}, "no content of the file"),
        ({f"_storage/{ID}": "new"}, "does not list"),
        (
            {LIST: line(ID, b"new"), f"_components/a/_storage/{ID}": "new"},
            "no content of the file",
        ),
        ({LIST: "", f"_components/a/_storage/{ID}": "new"}, "does not list"),
        ({LIST: line(ID, b"new") * 2, f"_storage/{ID}": "new"}, "a second time"),
        (
            {f"_components/a/{LIST}": line(ID, b"new"), f"_components/a/_storage/{ID}": "new"},
            "the component 'a', which this deployment does not have",
        ),
        (
            {LIST: line(ID, b"new"), f"_storage/{ID}": "new", f"_storage/{ID}.txt": "new"},
            "the content of the file",
        ),
        ({LIST: line(ID, b"old"), f"_storage/{ID}": "new"}, "was expected"),
        ({LIST: line("nonsense", b"new"), "_storage/nonsense": "new"}, "is not a document id"),
        ({LIST: "[]", f"_storage/{ID}": "new"}, "has no `_id`"),
        ({LIST: line(ID, b"new", contentType="x y"), f"_storage/{ID}": "new"}, "no media type"),
        ({LIST: json.dumps({"_id": ID, "sha256": "x"}), f"_storage/{ID}": "new"}, "no SHA-256"),
    ],
)
async def test_files_that_cannot_be_imported_change_nothing(tmp_path, files, told):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "people", {"name": "Ada"})
        kept = await stored(deployment, b"kept")
        snapshot = archive(**{"people/documents.jsonl": '{"name": "Bob"}', **files})
        state, _ = await imported(deployment, client, snapshot, format="zip", mode="replaceAll")
        assert state["state"] == "failed", state
        assert told in state["error_message"], state
        assert set(listed(deployment)) == {kept}
        await removed(deployment)
        lying = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
        assert len(lying) == 1


async def test_a_file_that_is_deleted_during_an_export_is_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.export_batch_documents_max", 3)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "people", *({"n": n} for n in range(300)))
        id = await stored(deployment, b"deleted meanwhile")
        answer = await client.post("/api/export/request/zip?includeStorage=true")
        assert answer.status_code == 200
        job = await under_way(deployment)
        await deleted(deployment, id)
        assert id not in listed(deployment)
        job = await finished(deployment)
        assert job["state"] == "completed", job
        response = await client.get(f"/api/export/zip/{int(job['start_ts'])}")
        assert contents(response)[f"_storage/{id}"] == b"deleted meanwhile"
        await removed(deployment)
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
