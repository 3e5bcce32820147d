"""`npx convex logs` against a production server of ours: what was, and what follows."""

from __future__ import annotations

import json
import re

import pytest

from tests.official_cli import OfficialCli
from tests.servers import KITCHEN, Server


@pytest.fixture
def server(tmp_path):
    with Server(KITCHEN, tmp_path / "data", command="start") as server:
        yield server


def _until(lines, text):
    """Return the lines up to the first one that has `text`."""
    found = []
    for line in lines:
        found.append(line.rstrip("\n"))
        if text in line:
            return found
    raise AssertionError(f"no {text!r} in {found}")


def _without_times(lines):
    """Return what was printed of functions, without the date and time before it."""
    return [line[line.index("[CONVEX") :] for line in lines if "[CONVEX" in line]


def test_history_then_what_follows(server, tmp_path):
    server.call("query", "errors:logs", {})
    server.call("query", "errors:value_error", {})
    server.call("action", "actions:double", {"value": 2})
    official = OfficialCli(tmp_path, server.url)
    with official.following("logs", "--history", "10", "--success") as lines:
        shown = _without_times(_until(lines, "A(actions:double)] Function executed"))
        assert [re.sub(r"in \d+ ms", "in N ms", line) for line in shown] == [
            "[CONVEX Q(errors:logs)] [LOG] 'hello' 3",
            "[CONVEX Q(errors:logs)] [INFO] 'm' key=1",
            "[CONVEX Q(errors:logs)] Function executed in N ms",
            "[CONVEX Q(errors:value_error)] Uncaught ValueError: not that",
            "[CONVEX A(actions:double)] [LOG] 'doubling' 2.0",
            "[CONVEX A(actions:double)] Function executed in N ms",
        ]
        server.value("mutation", "notes:add", {"board": "b", "rank": 2})
        shown = _without_times(_until(lines, "M(notes:add)] Function executed"))
        assert shown[0] == "[CONVEX M(notes:add)] [LOG] 'adding' 2.0"
        # It asks again by itself, and the server that is back goes on where the last one was.
        server.restart()
        server.value("mutation", "notes:add", {"board": "b", "rank": 3})
        shown = _without_times(_until(lines, "M(notes:add)] Function executed"))
        assert shown[0] == "[CONVEX M(notes:add)] [LOG] 'adding' 3.0"


def test_as_json(server, tmp_path):
    server.call("query", "errors:logs", {})
    with OfficialCli(tmp_path, server.url).following("logs", "--history", "1", "--jsonl") as lines:
        entry = json.loads(_until(lines, "Completion")[-1])
    assert entry["identifier"] == "errors:logs"
    assert entry["logLines"][1]["messages"] == ["'m'", "key=1"]
