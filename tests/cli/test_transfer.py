"""`camber export` and `camber import`, as a person uses them."""

from __future__ import annotations

import http.server
import threading
import zipfile

import pytest

from tests.cli.test_cli import camber
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
