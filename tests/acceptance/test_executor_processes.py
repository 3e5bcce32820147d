"""Executor processes of a real server: there while it is, and not one moment longer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.servers import KITCHEN, Server

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="children are found in /proc, which Linux has"
)


def _children(pid):
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.update(int(child) for child in (task / "children").read_text().split())
    return found


def _is_there(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # One that has ended and that nobody has asked how is none.
    return state != "Z"


def _wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _start(data):
    server = Server(KITCHEN, data, "--executors", "2", command="start")
    server.value("query", "notes:count", {"board": "b"})
    # Two for transactions and, since there are actions, one for those.
    _wait_until(lambda: len(_children(server._process.pid)) == 3)
    return server, _children(server._process.pid)


def test_executors_end_with_a_server_that_is_killed(tmp_path):
    server, children = _start(tmp_path)
    server.kill()
    _wait_until(lambda: not any(_is_there(child) for child in children))


def test_executors_end_with_a_server_that_is_stopped(tmp_path):
    server, children = _start(tmp_path)
    server.stop()
    assert server.status == 0
    assert not any(_is_there(child) for child in children)


def test_executors_do_not_hold_what_the_server_holds(tmp_path):
    with _start(tmp_path)[0] as server:
        for child in _children(server._process.pid):
            held = {os.readlink(path) for path in Path(f"/proc/{child}/fd").iterdir()}
            assert not any(name.endswith(".lock") for name in held)
            assert f"socket:[{_listening(server)}]" not in held


def _listening(server):
    port = int(server.url.rpartition(":")[2])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
            return fields[9]
    raise AssertionError(f"nobody listens on {port}")
