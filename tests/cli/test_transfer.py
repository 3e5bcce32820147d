"""`camber export` and `camber import`, as a person uses them."""

from __future__ import annotations

import csv
import http.server
import json
import threading
import zipfile

import pytest

from tests.cli.test_cli import camber
from tests.files.serving import PHOTOS, content_files, upload
from tests.servers import ADMIN_KEY, KITCHEN, Server
from tests.transfer.harness import files_in


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(KITCHEN, tmp_path_factory.mktemp("transfer")) as server:
        server.value("mutation", "notes:add", {"board": "b", "rank": 1.0})
        yield server


@pytest.fixture
def run(server, tmp_path):
    def run(*arguments, url=server.url, key=ADMIN_KEY):
        return camber(*arguments, "--dir", tmp_path, "--url", url, "--admin-key", key)

    return run


def test_export(run, tmp_path):
    done = run("export", "--path", tmp_path / "s.zip")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Wrote {tmp_path / 's.zip'}\n"
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.testzip() is None
        assert b'"rank":1.0' in archive.read("notes/documents.jsonl")
    (tmp_path / "folder").mkdir()
    assert run("export", "--path", tmp_path / "folder").returncode == 0
    (name,) = files_in(tmp_path / "folder")
    assert name.startswith("snapshot_kitchen_")


def test_export_leaves_nothing_behind_when_it_fails(run, tmp_path):
    (tmp_path / "there.zip").write_text("mine")
    for arguments, told, options in (
        (("--path", tmp_path / "there.zip"), "is not overwritten", {}),
        (("--path", tmp_path / "no" / "s.zip"), "is no folder", {}),
        (("--path", tmp_path / "s.zip"), "not valid for this deployment", {"key": "kitchen|no"}),
        (("--path", tmp_path / "s.zip"), "does not answer", {"url": "http://127.0.0.1:9"}),
    ):
        done = run("export", *arguments, **options)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert files_in(tmp_path) == ["there.zip"]
    assert (tmp_path / "there.zip").read_text() == "mine"


def test_a_download_that_breaks_off_leaves_no_file(run, server, tmp_path):
    """A server in between answers like the real one, but hangs up in the middle of the file."""

    class BreakingOff(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), BreakingOff) as breaking:
        threading.Thread(target=breaking.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{breaking.server_address[1]}"
        from camber.cli.client import CallFailed, Client, Target
        from camber.cli.transfer import _download, _progress

        with _progress() as progress, pytest.raises(CallFailed, match="does not answer"):
            _download(Client(Target(url, ADMIN_KEY)), progress, 1, tmp_path / "s.zip")
        breaking.shutdown()
    assert files_in(tmp_path) == []


def test_import_and_export_move_a_deployment(run, tmp_path, own_kitchen):
    assert run("export", "--path", tmp_path / "s.zip").returncode == 0
    done = run("import", tmp_path / "s.zip", url=own_kitchen.url)
    assert done.returncode == 0, done.stderr
    assert "notes" in done.stdout
    assert done.stdout.endswith("Imported 1 documents\n")
    done = run("export", "--path", tmp_path / "again.zip", url=own_kitchen.url)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "s.zip") as one, zipfile.ZipFile(tmp_path / "again.zip") as two:
        assert one.namelist() == two.namelist()
        for name in set(one.namelist()) - {"README.md"}:
            assert one.read(name) == two.read(name), name
    # Documents would go: not without a word.
    done = run("import", tmp_path / "s.zip", "--replace-all", url=own_kitchen.url)
    assert done.returncode == 1
    assert "1 of 1" in done.stdout
    assert done.stderr == ("data would be deleted, and nobody is there to confirm it: give --yes\n")
    done = run("import", tmp_path / "s.zip", "--replace-all", "--yes", url=own_kitchen.url)
    assert done.returncode == 0, done.stderr


def test_an_export_that_lacks_files_says_which_and_is_there_nevertheless(tmp_path):
    data = tmp_path / "data"
    with Server(PHOTOS, data) as server:
        there, gone = upload(server, b"there"), upload(server, b"gone, alas")
        for path in content_files(data):
            if path.read_bytes() == b"gone, alas":
                path.unlink()
        target = ("--url", server.url, "--admin-key", ADMIN_KEY, "--dir", tmp_path)
        done = camber("export", "--path", tmp_path / "s.zip", "--include-file-storage", *target)
        assert (done.returncode, done.stdout) == (1, f"Wrote {tmp_path / 's.zip'}\n")
        assert f"everything but the content of 1 stored file, which is gone: {gone}" in done.stderr
        # Whoever wants no files has all that was asked for.
        done = camber("export", "--path", tmp_path / "t.zip", *target)
        assert (done.returncode, done.stderr) == (0, "")
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.read(f"_storage/{there}") == b"there"
        assert archive.read("MISSING_FILES.txt").decode() == f"{gone}\n"


def test_import_says_in_a_line_what_is_wrong(run, tmp_path):
    for name, data in (
        ("bad.zip", b"PK and no more"),
        ("half.jsonl", b'{"board":"b","rank":1}\n{"board"'),
        ("misfit.csv", b"board,rank\nb,high\n"),
        ("nothing", b""),
    ):
        (tmp_path / name).write_bytes(data)
    notes = ("--table", "notes", "--append")
    for arguments, told, options in (
        (("bad.zip",), "the file is no ZIP", {}),
        (("half.jsonl", *notes), "line 2 is not valid JSON", {}),
        (("misfit.csv", *notes), "table 'notes', line 2: ", {}),
        (("half.jsonl",), "say which table to import into", {}),
        (("bad.zip", *notes), "leave out the table's name", {}),
        (("missing.zip",), "is no file", {}),
        (("nothing",), "does not say what it holds", {}),
        (("half.jsonl", *notes, "--replace"), "exclude each other", {}),
        (("bad.zip",), "not valid for this deployment", {"key": "kitchen|no"}),
        (("bad.zip",), "does not answer", {"url": "http://127.0.0.1:9"}),
    ):
        done = run("import", tmp_path / arguments[0], *arguments[1:], **options)
        assert done.returncode == 1, done
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_one_table_as_lines_or_csv(run, server, tmp_path):
    for board in ("x", 'y "z"\n'):
        server.value("mutation", "notes:add", {"board": board, "rank": 2.5, "text": "5"})
    done = run("export", "--table", "notes", "--path", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"Wrote {tmp_path / 'notes.jsonl'}\n")
    lines = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert {"_id", "_creationTime", "board", "rank", "text"} == set(lines[0])
    done = run("export", "--table", "notes", "--path", tmp_path / "notes.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "notes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["_id"] for row in rows] == [line["_id"] for line in lines]
    assert [row["board"] for row in rows] == [line["board"] for line in lines]
    assert {row["rank"] for row in rows} == {"1.0", "2.5"}
    # What was written as lines can be imported as lines.
    done = run("import", tmp_path / "notes.jsonl", "--table", "notes", "--replace", "--yes")
    assert done.returncode == 0, done.stderr
    assert run("export", "--table", "notes", "--path", tmp_path / "again.jsonl").returncode == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "notes.jsonl").read_bytes()
    for arguments, told in (
        (("--table", "nots", "--path", "x.csv"), "there is no table 'nots'; there are: articles"),
        (("--table", "notes", "--format", "zip"), "a ZIP has all tables"),
        (("--format", "csv"), "a ZIP has all tables"),
        (("--table", "notes", "--format", "json"), "not as a JSON array"),
    ):
        done = run("export", *arguments)
        assert done.returncode == 1
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert files_in(tmp_path) == ["again.jsonl", "notes.csv", "notes.jsonl"]
