"""`npx convex export` and `npx convex import` against a server of ours."""

from __future__ import annotations

import json
import zipfile

import pytest

from tests.official_cli import OfficialCli
from tests.servers import KITCHEN, Server


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
