"""Imports: all of a file or nothing of it."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber.deployment.maintenance import Maintenance
from camber.deployment.settings import MEMORY
from camber.engine.committer import CommitConflict
from camber.engine.writing import write
from camber.occ.interval import ALL, Order
from camber.values.ids import encode_id
from camber.values.packed import pack, unpack
from camber.values.value import Int64, check
from camber.values.wire import Format, decode_json, encode_format, from_export
from tests.strategies import values
from tests.transfer.harness import (
    contents,
    documents_of,
    exported,
    files_in,
    files_left,
    import_in,
    import_of,
    imported,
    insert,
    serving,
    snapshot_of,
    uploaded,
)

pytestmark = pytest.mark.anyio


def id_in(number, n):
    return encode_id(number, bytes([n] * 16))


async def everything(deployment, client):
    """What an export says, but for the README, which has its time."""
    _, response = await exported(deployment, client)
    files = contents(response)
    del files["README.md"]
    return files


@pytest.mark.parametrize("store", [None, MEMORY])
@pytest.mark.parametrize(
    ("form", "data", "expected"),
    [
        ("csv", 'name, n ,when\nAda,36,1e3\n"a ""b""\nc",007,\n,inf,-0\n', None),
        ("jsonLines", '{"name":"Ada","n":36,"when":1000}\n\n', None),
        ("jsonArray", '[{"name":"Ada","n":36,"when":1000}]', None),
        ("jsonLines", "", []),
    ],
)
async def test_the_formats_of_one_table(tmp_path, store, form, data, expected):
    if form == "csv":
        expected = [
            {"name": "Ada", "n": 36, "when": 1000},
            {"name": 'a "b"\nc', "n": 7, "when": ""},
            {"name": "", "n": float("inf"), "when": -0.0},
        ]
    elif expected is None:
        expected = [{"name": "Ada", "n": 36, "when": 1000}]
    async with serving(tmp_path, store=store) as (deployment, client):
        state, asked = await imported(
            deployment, client, ("\ufeff" + data).encode(), tableName="people", format=form
        )
        assert state["state"] == "completed", state
        assert state["num_rows_written"] == Int64(len(expected))
        assert state["timestamp"] == Int64(deployment.engine.newest_ts)
        assert asked["require_manual_confirmation"] is False
        found = list(documents_of(deployment, "people").values())
        found.sort(key=lambda document: document["_creationTime"])
        times = [document.pop("_creationTime") for document in found]
        assert len(set(times)) == len(times)
        for document in found:
            del document["_id"]
        assert pack(found) == pack(expected)
        # Nothing of the file stays.
        assert await files_left(deployment) == []


@pytest.mark.parametrize(
    ("form", "data", "told"),
    [
        ("csv", b"", "the CSV file is empty"),
        ("csv", b"a,b\n1\n", "line 2 has 1 columns, and the first line names 2"),
        ("csv", b"a,a\n", "names the field 'a' twice"),
        ("csv", b"a,\n", "a column without a name"),
        ("csv", b"$a\n1\n", "'$a' starts with '$'"),
        ("csv", b'a\n"x\n', "line 2 is not CSV"),
        ("csv", b"a\n\xff\n", "line 2 is not UTF-8: byte 1 of it is 0xff"),
        ("csv", b"_x\n1\n", "'_x' begins with '_'"),
        ("jsonLines", b'{"a":1}\n{"a":', "line 2 is not valid JSON"),
        ("jsonLines", b'{"a":1}\n[1]\n', "line 2 holds an array; a document is an object"),
        ("jsonLines", b'{"a":"\xc3\x28"}', "line 1 is not UTF-8"),
        ("jsonLines", b'{"_id":"x"}', "'x' is not a document id"),
        ("jsonLines", b'{"_creationTime":"x"}', "_creationTime is a number"),
        ("jsonLines", b'{"a":{"$integer":"AA=="}}', "has 1 bytes and needs 8"),
        ("jsonLines", b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", "nested 21 deep"),
        ("jsonLines", b'{"a":"' + b"x" * 2**20 + b'"}', "it may have 1048576"),
        ("jsonLines", b'{"a":"' + b"x" * 2**23 + b'"}', "line 1 is longer than"),
        ("jsonArray", b'{"a":1}', "the file holds an object; a JSON array"),
        ("jsonArray", b'[{"a":1},2]', "element 2 holds 2"),
        ("jsonArray", b"[" + b" " * 2**24 + b"]", "a JSON array may have 16777216 bytes"),
        ("zip", b"", "the file is no ZIP"),
        ("zip", b"PK\x03\x04 but no more", "the file is no ZIP"),
        ("zip", snapshot_of(**{"a/documents.jsonl": "{}"})[:-30], "the file is no ZIP"),
        ("zip", snapshot_of(**{"../a/documents.jsonl": "{}"}), "no path within it"),
        ("zip", snapshot_of(**{"/a/documents.jsonl": "{}"}), "no path within it"),
        ("zip", snapshot_of(**{"a b/documents.jsonl": "{}"}), "cannot name a table"),
        (
            "zip",
            snapshot_of(**{"a/documents.jsonl": "{}", "x/a/documents.jsonl": "{}"}),
            "twice",
        ),
        (
            "zip",
            snapshot_of(**{"a/documents.jsonl": "{}", "a/generated_schema.jsonl": '"x"\n'}),
            "an old kind of export",
        ),
        (
            "zip",
            snapshot_of(**{"_components/c/a/documents.jsonl": "{}"}),
            "the component 'c'",
        ),
        ("zip", snapshot_of(**{"_tables/documents.jsonl": '{"name":1}'}), "should be like"),
    ],
)
async def test_data_that_cannot_be_imported_changes_nothing(tmp_path, form, data, told):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        await insert(deployment, "people", {"name": "Ada"})
        before = await everything(deployment, client)
        asked = {"format": form, "mode": "replaceAll"}
        if form != "zip":
            asked["tableName"] = "people"
        state, _ = await imported(deployment, client, data, part_bytes=5_000_000, **asked)
        assert state["state"] == "failed", state
        assert told in state["error_message"], state
        assert await everything(deployment, client) == before
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        response = await client.post(f"/api/import?{query}", content=data)
        assert response.status_code == 400
        assert told in response.json()["message"]
        assert await everything(deployment, client) == before
        assert await files_left(deployment) == []


async def test_damaged_entries_of_a_zip_are_found(tmp_path):
    line = json.dumps({"a": "x" * 50}).encode()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", method) as archive:
            archive.writestr("a/documents.jsonl", line)
        raw = bytearray(data.getvalue())
        raw[50] ^= 1
        async with serving(tmp_path, store=MEMORY) as (deployment, client):
            state, _ = await imported(deployment, client, bytes(raw), format="zip")
            assert state["state"] == "failed"
            assert documents_of(deployment, "a") is None


async def test_a_zip_that_grows_without_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.import_bytes_max", 100_000)
    data = snapshot_of(**{"a/documents.jsonl": b'{"a":1}\n' * 20_000})
    assert len(data) < 2000
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        state, _ = await imported(deployment, client, data, format="zip")
        assert "more than 100000 bytes" in state["error_message"]


@pytest.mark.parametrize("is_zip64", [False, True])
async def test_a_zip_with_too_many_files_is_refused_before_they_are_listed(
    tmp_path, monkeypatch, is_zip64
):
    if is_zip64:
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
    data = snapshot_of(**{f"t{n}/documents.jsonl": "{}" for n in range(20)})
    assert (b"PK\6\6" in data) is is_zip64
    async with serving(tmp_path, store=MEMORY) as (deployment, client):
        monkeypatch.setattr("camber.limits.import_zip_directory_bytes_max", 500)
        state, _ = await imported(deployment, client, data, format="zip")
        assert "the ZIP lists its files in" in state["error_message"]
        monkeypatch.setattr("camber.limits.import_zip_directory_bytes_max", 5000)
        state, _ = await imported(deployment, client, data, format="zip")
        assert state["state"] == "completed", state


async def test_the_oldest_of_too_many_uploads_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.import_uploads_max", 2)
    async with serving(tmp_path, store=MEMORY) as (_, client):
        tokens = [(await client.post("/api/import/start_upload")).json()["uploadToken"]]
        for _ in range(2):
            tokens.append((await client.post("/api/import/start_upload")).json()["uploadToken"])
        statuses = [
            (
                await client.post(
                    f"/api/import/upload_part?uploadToken={token}&partNumber=1", content=b"x"
                )
            ).status_code
            for token in tokens
        ]
        assert statuses == [400, 200, 200]
        assert len(files_in(tmp_path / "imports" / "uploads")) == 2


@pytest.mark.parametrize("store", [None, MEMORY])
async def test_what_each_mode_does_to_what_is_there(tmp_path, store):
    async with serving(tmp_path, store=store) as (deployment, client):
        (ada,) = await insert(deployment, "people", {"name": "Ada"})
        await insert(deployment, "others", {"name": "Bob"})
        line = b'{"name":"Eve"}'
        asked = {"tableName": "people", "format": "jsonLines"}

        def names(table):
            return sorted(d["name"] for d in documents_of(deployment, table).values())

        state, _ = await imported(deployment, client, line, **asked)
        assert "documents already: 'people'" in state["error_message"]
        state, question = await imported(deployment, client, line, mode="append", **asked)
        assert question["require_manual_confirmation"] is False
        assert names("people") == ["Ada", "Eve"]
        again = json.dumps({"_id": ada, "name": "Ada"}).encode()
        state, _ = await imported(deployment, client, again, mode="append", **asked)
        assert f"a document with the _id {ada} already" in state["error_message"]
        state, question = await imported(deployment, client, line, mode="replace", **asked)
        assert question == {
            "state": "waiting_for_confirmation",
            "message_to_confirm": (
                "What the import would change:\n"
                "table  | create | delete\n"
                "------------------------\n"
                "people | 1      | 2 of 2"
            ),
            "require_manual_confirmation": True,
        }
        assert (names("people"), names("others")) == (["Eve"], ["Bob"])
        state, question = await imported(deployment, client, line, mode="replaceAll", **asked)
        assert "others | 0      | 1 of 1" in question["message_to_confirm"]
        assert (names("people"), names("others")) == (["Eve"], [])


async def test_ids_creation_times_and_table_numbers_are_kept(tmp_path):
    first, second = id_in(10007, 1), id_in(10007, 2)
    lines = [
        {"_id": first, "_creationTime": 1700000000000.25, "friend": second},
        {"_id": second, "_creationTime": 5.0},
    ]
    data = "\n".join(json.dumps(line) for line in lines).encode()
    asked = {"tableName": "people", "format": "jsonLines"}
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "people", {"x": 1})
        # Another number: the table must be replaced for it.
        state, _ = await imported(deployment, client, data, mode="append", **asked)
        assert "under the number 10001" in state["error_message"]
        state, _ = await imported(deployment, client, data, mode="replace", **asked)
        assert state["state"] == "completed", state
        assert deployment.engine.catalog.number("people") == 10007
        assert documents_of(deployment, "people") == {line["_id"]: line for line in lines}
        # And now it is taken.
        state, _ = await imported(
            deployment, client, data, mode="append", tableName="users", format="jsonLines"
        )
        assert "10007, which is the number of 'people'" in state["error_message"]
        # New tables go on above it.
        await insert(deployment, "others", {"x": 1})
        assert deployment.engine.catalog.number("others") == 10008
        for number in (100, 2**31):
            line = json.dumps({"_id": id_in(number, 1)}).encode()
            state, _ = await imported(
                deployment, client, line, tableName="users", format="jsonLines"
            )
            assert "begin at 10001" in state["error_message"]
        mixed = "\n".join(json.dumps({"_id": id_in(n, 1)}) for n in (10020, 10021)).encode()
        state, _ = await imported(deployment, client, mixed, tableName="u", format="jsonLines")
        assert "line 2: the id" in state["error_message"]
        twice = "\n".join([json.dumps({"_id": id_in(10020, 1)})] * 2).encode()
        state, _ = await imported(deployment, client, twice, tableName="u", format="jsonLines")
        assert "line 2: another document has the same _id" in state["error_message"]
    # All of it is on disk.
    async with serving(tmp_path) as (deployment, client):
        assert deployment.engine.catalog.number("people") == 10007
        assert documents_of(deployment, "people") == {line["_id"]: line for line in lines}


async def test_tables_may_exchange_their_numbers(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 1})
        await insert(deployment, "b", {"n": 2})
        data = snapshot_of(
            **{
                "_tables/documents.jsonl": '{"name":"a","id":10002}\n{"name":"b","id":10001}\n',
                "a/documents.jsonl": json.dumps({"_id": id_in(10002, 1), "n": 3}),
                "b/documents.jsonl": json.dumps({"_id": id_in(10001, 1), "n": 4}),
            }
        )
        state, _ = await imported(deployment, client, data, format="zip", mode="replace")
        assert state["state"] == "completed", state
        for _ in range(2):
            catalog = deployment.engine.catalog
            assert (catalog.number("a"), catalog.number("b")) == (10002, 10001)
            assert [d["n"] for d in documents_of(deployment, "a").values()] == [3]
            assert [d["n"] for d in documents_of(deployment, "b").values()] == [4]
            await insert(deployment, "c", {"n": 5})
            assert deployment.engine.catalog.number("c") == 10003


documents = st.dictionaries(st.sampled_from(["a", "b", "c d", "~"]), values, max_size=3)


@given(st.lists(documents, max_size=4), st.lists(documents, max_size=4))
@settings(max_examples=25)
def test_exports_and_imports_are_inverse(first, second):
    """Whatever is stored: export, import elsewhere, export, and the bytes are the same."""

    async def play(folder):
        async with serving(folder / "one", store=MEMORY) as (deployment, client):
            await insert(deployment, "first", *first)
            await insert(deployment, "second", *second)
            await insert(deployment, "empty", {"x": 1})
            await write(
                deployment.engine,
                "test",
                lambda t: t.delete(*documents_of(deployment, "empty")),
            )
            _, response = await exported(deployment, client)
            there = await everything(deployment, client)
        async with serving(folder / "two", store=MEMORY) as (deployment, client):
            if second:
                # In the way of the numbers, but empty.
                ids = await insert(deployment, "second", {"x": 1})
                await write(deployment.engine, "test", lambda t: t.delete(ids[0]))
            state, _ = await imported(deployment, client, response.content, format="zip")
            assert state["state"] == "completed", state
            assert await everything(deployment, client) == there

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_without_a_marker_documents_are_read_in_the_other_encoding(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        line = '{"n":5,"i":{"$integer":"BQAAAAAAAAA="}}'
        data = snapshot_of(**{"deep/er/a/documents.jsonl": line})
        state, _ = await imported(deployment, client, data, format="zip")
        assert state["state"] == "completed", state
        (found,) = documents_of(deployment, "a").values()
        assert (found["n"], found["i"]) == (5, Int64(5))
        assert not isinstance(found["n"], Int64)


async def test_readers_see_the_old_contents_or_the_new(tmp_path, monkeypatch):
    """Every query of a watcher, at every timestamp, before, in and after the import."""
    monkeypatch.setattr("camber.limits.import_batch_documents_max", 10)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "pairs", *({"side": "old"} for _ in range(50)))
        engine = deployment.engine
        forgetful = Maintenance(engine=engine, history_retention_s=3600, history_bytes_max=10**9)
        seen = []

        def look(commits):
            with closing(engine.begin("look", ts=commits[-1].ts)) as transaction:
                table = transaction.catalog.by_name("pairs")
                rows = list(
                    transaction.snapshot.scan(
                        table.number,
                        table.indexes["by_creation_time"].id,
                        ALL,
                        Order.ASC,
                        1000,
                    )
                )
                documents: list[Any] = [unpack(row.packed) for row in rows]
                seen.append((len(rows), {document["side"] for document in documents}))
                conflict = engine.committer.write_log.conflict(transaction.reads, since=0)
                assert conflict is None

        engine.on_publish(look)
        data = b'{"side":"new"}\n' * 80
        state, _ = await imported(
            deployment, client, data, tableName="pairs", format="jsonLines", mode="replace"
        )
        assert state["state"] == "completed", state
        await forgetful.round()
        assert seen[0] == (50, {"old"})
        assert seen[-1] == (80, {"new"})
        assert all(each in (seen[0], seen[-1]) for each in seen)


async def test_a_mutation_that_read_what_an_import_replaces_runs_again(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        (id_,) = await insert(deployment, "people", {"n": 1})
        with closing(deployment.engine.begin("slow")) as slow:
            slow.get(id_)
            slow.insert("log", {"saw": 1})
            finished = slow.finish()
        state, _ = await imported(
            deployment,
            client,
            b'{"n":2}',
            tableName="people",
            format="jsonLines",
            mode="replace",
        )
        assert state["state"] == "completed"
        with pytest.raises(CommitConflict):
            await deployment.engine.committer.commit(finished)


async def test_whoever_counted_on_what_an_id_means_runs_again(tmp_path):
    """An id of no table reads nothing of one; when a table gets the number, that matters."""
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        engine = deployment.engine
        stranger = id_in(10_500, 1)
        with closing(engine.begin("looking")) as transaction:
            deployment.releases.serving(transaction)
            assert transaction.get(stranger) is None
            reads, since = transaction.reads, transaction.begin_ts
        line = json.dumps({"_id": stranger}).encode()
        state, _ = await imported(deployment, client, line, tableName="a", format="jsonLines")
        assert state["state"] == "completed", state
        assert engine.committer.write_log.conflict(reads, since=since) is not None
        with closing(engine.begin("looking")) as transaction:
            assert transaction.get(stranger) is not None


async def test_documents_must_fit_the_schema_of_the_serving_release(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        note = {"board": "b", "rank": 1.0, "text": ""}
        notes = deployment.engine.catalog.number("notes")
        good = json.dumps(note).encode()
        asked = {"tableName": "notes", "format": "jsonLines"}
        for line, told in (
            ({**note, "rank": "high"}, "table 'notes', line 2: "),
            ({"board": "b"}, "rank"),
        ):
            data = good + b"\n" + json.dumps(line).encode()
            state, _ = await imported(deployment, client, data, **asked)
            assert state["state"] == "failed"
            assert told in state["error_message"], state
            assert "rank" in state["error_message"]
            assert documents_of(deployment, "notes") == {}
        # Unique indexes, within the file and against what is there.
        counters = {"tableName": "counters", "format": "jsonLines"}
        twice = b'{"name":"a","value":1}\n{"name":"b","value":1}\n{"name":"a","value":2}'
        state, _ = await imported(deployment, client, twice, **counters)
        assert "index counters.by_name is unique" in state["error_message"]
        state, _ = await imported(deployment, client, twice.partition(b"\n")[0], **counters)
        assert state["state"] == "completed", state
        state, _ = await imported(
            deployment, client, twice.partition(b"\n")[0], mode="append", **counters
        )
        assert "index counters.by_name is unique" in state["error_message"]
        # Declared indexes have the new documents, under a new number too.
        moved = json.dumps({**note, "_id": id_in(notes + 50, 1)}).encode()
        state, _ = await imported(deployment, client, moved, **asked)
        assert state["state"] == "completed", state
        table = deployment.engine.catalog.by_name("notes")
        assert table.number == notes + 50
        with closing(deployment.engine.begin("test")) as transaction:
            rows = list(transaction.scan(table, table.indexes["by_board"], ALL, Order.ASC))
        assert len(rows) == 1
        # The schema's own way of saying what an index is has not changed: a push builds nothing.
        report = await deployment.push()
        assert (report.indexes_built, report.indexes_dropped) == ((), ())


async def test_references_are_to_tables_as_they_will_be(tmp_path):
    everything_ = {
        "text": "",
        "whole": 1.0,
        "real": 1.0,
        "flag": True,
        "nothing": None,
        "raw": {"$bytes": ""},
        "big": {"$integer": "AAAAAAAAAAA="},
        "anything": 1,
        "names": [],
        "scores": {},
        "mood": "calm",
        "color": "red",
        "point": {"x": 0.0, "y": 0.0},
        "id": "",
    }
    note, stranger = id_in(10090, 1), id_in(10091, 1)
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        for reference, fits in ((stranger, False), (note, True)):
            data = snapshot_of(
                **{
                    "notes/documents.jsonl": json.dumps({"_id": note, "board": "b", "rank": 1}),
                    "everything/documents.jsonl": json.dumps({**everything_, "note": reference}),
                }
            )
            state, _ = await imported(deployment, client, data, format="zip")
            assert (state["state"] == "completed") is fits, state
        # A table that stays refers to one that would get another number: not without a word.
        moved = json.dumps({"_id": id_in(10095, 1), "board": "b", "rank": 1}).encode()
        asked = {"tableName": "notes", "format": "jsonLines", "mode": "replace"}
        state, _ = await imported(deployment, client, moved, **asked)
        assert "of table 'everything' would not fit its schema any more" in state["error_message"]
        assert list(documents_of(deployment, "notes")) == [note]


async def test_a_clear_word_for_every_mistake(tmp_path):
    async with serving(tmp_path, store=MEMORY) as (deployment, client):

        async def refused(path, status, code, **request):
            response = await client.post(path, **request)
            assert (response.status_code, response.json()["code"]) == (status, code), response.text

        start = (await client.post("/api/import/start_upload")).json()["uploadToken"]
        part = f"/api/import/upload_part?uploadToken={start}&partNumber="
        token = (await client.post(part + "1", content=b"{}")).json()
        await refused(part + "0", 400, "InvalidUpload", content=b"{}")
        await refused(part + "10000", 400, "InvalidUpload", content=b"{}")
        await refused(part + "x", 400, "BadQueryArgs", content=b"{}")
        await refused(
            "/api/import/upload_part?uploadToken=no&partNumber=1", 400, "InvalidUploadToken"
        )
        body = {
            "import": {"format": "jsonLines", "tableName": "a", "mode": "requireEmpty"},
            "uploadToken": start,
            "partTokens": [token],
        }
        finish = "/api/import/finish_upload"
        for change, code in (
            ({"partTokens": []}, "InvalidPartTokens"),
            ({"partTokens": [token, token]}, "InvalidPartTokens"),
            ({"partTokens": ["x"]}, "InvalidPartTokens"),
            ({"partTokens": None}, "BadJsonBody"),
            ({"uploadToken": "x"}, "InvalidUploadToken"),
            ({"import": {"format": "jsonLines"}}, "InvalidName"),
            ({"import": {"format": "jsonLines", "tableName": "_a"}}, "InvalidName"),
            ({"import": {"format": "zip", "tableName": "a"}}, "InvalidName"),
            ({"import": {"format": "xml", "tableName": "a"}}, "BadFormat"),
            ({"import": {"format": "csv", "tableName": "a", "mode": "x"}}, "BadMode"),
            (
                {"import": {"format": "csv", "tableName": "a", "componentPath": "x"}},
                "ComponentPathNotFound",
            ),
        ):
            await refused(finish, 400, code, json={**body, **change})
        response = await client.post(finish, json=body)
        id_ = response.json()["importId"]
        await refused(finish, 400, "InvalidUploadToken", json=body)
        await import_in(deployment, id_, "waiting_for_confirmation")
        for path in ("/api/perform_import", "/api/cancel_import"):
            await refused(path, 404, "ImportNotFound", json={"importId": "x"})
            await refused(path, 400, "BadJsonBody", json={})
        response = await client.post("/api/perform_import", json={"importId": id_})
        await refused("/api/perform_import", 400, "ImportNotWaiting", json={"importId": id_})
        await import_in(deployment, id_, "completed")
        await refused("/api/cancel_import", 400, "ImportNotInProgress", json={"importId": id_})
        for path in ("/api/import?format=csv&tableName=a", "/api/import/start_upload"):
            await refused(path, 401, "BadAdminKey", headers={"Authorization": "Convex x|y"})


async def test_imports_end_when_they_are_canceled_or_nobody_confirms_them(tmp_path, monkeypatch):
    async with serving(tmp_path) as (deployment, client):
        asked = {"tableName": "a", "format": "jsonLines"}
        id_ = await uploaded(client, b"{}", **asked)
        await import_in(deployment, id_, "waiting_for_confirmation")
        assert (await client.post("/api/cancel_import", json={"importId": id_})).status_code == 200
        assert import_of(deployment, id_)["error_message"] == "it was canceled"
        id_ = await uploaded(client, b"{}", **asked)
        await import_in(deployment, id_, "waiting_for_confirmation")
        await deployment.transfers.imports.expire()
        assert import_of(deployment, id_)["state"] == "waiting_for_confirmation"
        monkeypatch.setattr("camber.limits.import_confirmation_s_max", -1)
        await deployment.transfers.imports.expire()
        assert "nobody confirmed it" in import_of(deployment, id_)["error_message"]
        assert await files_left(deployment) == []
        assert documents_of(deployment, "a") is None


@pytest.mark.parametrize("batches", [0, 1, 3])
async def test_canceling_in_the_middle_leaves_nothing_half_done(tmp_path, monkeypatch, batches):
    monkeypatch.setattr("camber.limits.import_batch_documents_max", 10)
    async with serving(tmp_path) as (deployment, client):
        await insert(deployment, "a", {"n": 0})
        before = await everything(deployment, client)
        store = deployment.engine.store
        reached = asyncio.Event()
        loop = asyncio.get_running_loop()
        stage, staged = store.stage, []

        def counting(table, rows):
            stage(table, rows)
            staged.append(len(rows))
            if len(staged) > batches:
                loop.call_soon_threadsafe(reached.set)

        monkeypatch.setattr(store, "stage", counting)
        data = b'{"n":1}\n' * 2000
        asked = {"tableName": "a", "format": "jsonLines", "mode": "replace"}
        id_ = await uploaded(client, data, part_bytes=10**6, **asked)
        await import_in(deployment, id_, "waiting_for_confirmation")
        await client.post("/api/perform_import", json={"importId": id_})
        await reached.wait()
        response = await client.post("/api/cancel_import", json={"importId": id_})
        assert response.status_code == 200, response.text
        assert import_of(deployment, id_)["error_message"] == "it was canceled"
        assert await everything(deployment, client) == before
        table = deployment.engine.catalog.by_name("a")
        assert store.staged_keys(table.indexes["by_id"].id, b"", 1) == []
        # The next one has the way free.
        state, _ = await imported(deployment, client, b'{"n":2}', **asked)
        assert state["state"] == "completed", state


async def test_a_push_waits_for_an_import_and_an_import_for_a_push(tmp_path):
    async with serving(tmp_path) as (deployment, client):
        await deployment.push()
        asked = {"tableName": "counters", "format": "jsonLines", "mode": "append"}
        lines = [f'{{"name":"{n}","value":1}}' for n in range(600)]

        async def pushing():
            for _ in range(3):
                await deployment.push()

        pushes = asyncio.ensure_future(pushing())
        states = await asyncio.gather(
            *(
                imported(deployment, client, "\n".join(lines[at::3]).encode(), **asked)
                for at in range(3)
            )
        )
        await pushes
        assert [state["state"] for state, _ in states] == ["completed"] * 3
        assert len(documents_of(deployment, "counters")) == 600


@given(documents)
@settings(max_examples=100)
def test_lines_of_exports_say_exactly_what_was_stored(document):
    check(document)
    line = encode_format(document, Format.EXPORT)
    assert pack(from_export(decode_json(line))) == pack(document)
