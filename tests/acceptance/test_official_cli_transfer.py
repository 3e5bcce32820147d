"""`npx convex export` and `npx convex import` against a server of ours."""

from __future__ import annotations

import json
import zipfile

import httpx
import pytest

from camber.cli.client import Client, Target
from tests.official_cli import OfficialCli
from tests.servers import ADMIN_KEY, KITCHEN, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(KITCHEN, tmp_path_factory.mktemp("transfer")) as server:
        yield server


@pytest.fixture
def official(server, tmp_path):
    return OfficialCli(tmp_path, server.url)


def test_export(server, official, tmp_path):
    id_ = server.value("mutation", "notes:add", {"board": "b", "rank": 1.0})
    done = official.run("export", "--path", "snapshot.zip")
    assert done.returncode == 0, done.stderr
    assert "Created snapshot export at timestamp" in done.stderr
    with zipfile.ZipFile(tmp_path / "snapshot.zip") as archive:
        note = json.loads(archive.read("notes/documents.jsonl").splitlines()[0])
        assert note["_id"] == id_
        assert '"rank":1.0' in archive.read("notes/documents.jsonl").decode()
    # Into a folder: the server names the file.
    (tmp_path / "folder").mkdir()
    done = official.run("export", "--path", "folder", "--include-file-storage")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "folder").iterdir()
    assert file.name.startswith("snapshot_kitchen_")
    done = OfficialCli(tmp_path, server.url, "kitchen|wrong").run("export", "--path", "x.zip")
    assert done.returncode == 1
    assert "BadAdminKey" in done.stderr


def test_import(server, official, tmp_path):
    def notes():
        return server.value("query", "notes:list", {"board": "imported"})

    (tmp_path / "notes.jsonl").write_text('{"board":"imported","rank":1}\n' * 3)
    done = official.run("import", "--table", "notes", "--append", "notes.jsonl")
    assert done.returncode == 0, done.stderr
    assert "Added 3 documents" in done.stderr
    assert len(notes()) == 3
    (tmp_path / "notes.csv").write_text("board,rank\nimported,2\n")
    done = official.run("import", "--table", "notes", "notes.csv")
    assert done.returncode == 1
    assert "these tables have documents already" in done.stderr
    done = official.run("import", "--table", "notes", "--append", "notes.csv")
    assert done.returncode == 0, done.stderr
    (tmp_path / "notes.json").write_text('[{"board":"imported","rank":"high"}]')
    done = official.run("import", "--table", "notes", "--append", "notes.json")
    assert done.returncode == 1
    assert "table 'notes', element 1: " in done.stderr
    assert len(notes()) == 4


def test_a_snapshot_goes_through_export_and_import_unchanged(server, official, tmp_path):
    server.value("mutation", "counters:increment", {"name": "there"})
    assert official.run("export", "--path", "one.zip").returncode == 0
    server.value("mutation", "counters:increment", {"name": "later"})
    done = official.run("import", "--replace-all", "--yes", "one.zip")
    assert done.returncode == 0, done.stderr
    assert "What the import would change" in done.stderr
    assert official.run("export", "--path", "two.zip").returncode == 0
    with (
        zipfile.ZipFile(tmp_path / "one.zip") as one,
        zipfile.ZipFile(tmp_path / "two.zip") as two,
    ):
        assert one.namelist() == two.namelist()
        for name in set(one.namelist()) - {"README.md"}:
            assert one.read(name) == two.read(name), name
    (tmp_path / "broken.zip").write_bytes((tmp_path / "one.zip").read_bytes()[:200])
    done = official.run("import", "--replace-all", "--yes", "broken.zip")
    assert done.returncode == 1
    assert "the file is no ZIP" in done.stderr


def test_whoever_watches_sees_an_import_whole(server):
    client = Client(Target(server.url, ADMIN_KEY))
    counts = client.watch("notes:count", {"board": "watched"})
    assert next(counts) == 0
    for count in (300, 200):
        response = httpx.post(
            f"{server.url}/api/import?tableName=notes&format=jsonLines&mode=replace",
            content=b'{"board":"watched","rank":1}\n' * count,
            headers={"Authorization": f"Convex {ADMIN_KEY}"},
            timeout=30,
        )
        assert response.json() == {"numWritten": count}
        assert next(counts) == count
