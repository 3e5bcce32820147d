"""`airbyte-source-convex` from PyPI, unmodified, follows a server of ours.

It runs as Airbyte runs it: a process for each sync, which prints messages in JSON lines.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.servers import ADMIN_KEY, KITCHEN, REPOSITORY, Server

_CONNECTOR = REPOSITORY / ".venv-airbyte" / "bin" / "source-convex"
_MISSING = "THE AIRBYTE CONNECTOR IS MISSING: its test is skipped (make test installs it)"
_LIMIT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(KITCHEN, tmp_path_factory.mktemp("airbyte")) as server:
        yield server


@pytest.fixture
def connector(server, tmp_path):
    """Run the connector; return its messages of one type."""
    if not _CONNECTOR.exists() and os.environ.get("CI"):
        pytest.fail("the Airbyte connector is missing, and CI must run its test")
    if not _CONNECTOR.exists():
        pytest.skip(_MISSING)

    def run(command, kind, *, key=ADMIN_KEY, **files):
        arguments = [command]
        for name, content in {
            "config": {"deployment_url": server.url, "access_key": key},
            **files,
        }.items():
            (tmp_path / name).write_text(json.dumps(content))
            arguments += [f"--{name}", str(tmp_path / name)]
        done = subprocess.run(
            [_CONNECTOR, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
        )
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0, done.stdout + done.stderr
        return [message for message in messages if message["type"] == kind]

    return run


def _catalog(streams, *, mode):
    return {
        "streams": [
            {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append"}
            for stream in streams
        ]
    }


def _records(messages):
    """What was read, of the table of notes: id, text, and whether it is a deletion."""
    records = [message["record"]["data"] for message in messages]
    return [(r["_id"], r.get("text"), r["_deleted"]) for r in records if r["_table"] == "notes"]


def test_airbyte_follows_a_deployment(server, connector):
    (status,) = connector("check", "CONNECTION_STATUS")
    assert status["connectionStatus"]["status"] == "SUCCEEDED"
    (status,) = connector("check", "CONNECTION_STATUS", key="kitchen|wrong")
    assert status["connectionStatus"]["status"] == "FAILED"
    assert "BadAdminKey" in status["connectionStatus"]["message"]

    def add(text):
        return server.value("mutation", "notes:add", {"board": "b", "rank": 1.0, "text": text})

    first, second = add("one"), add("two")
    (catalog,) = connector("discover", "CATALOG")
    streams = {stream["name"]: stream for stream in catalog["catalog"]["streams"]}
    assert {"notes", "counters", "everything", "articles"} <= set(streams)
    assert streams["notes"]["json_schema"]["properties"]["rank"] == {"type": "number"}
    assert streams["notes"]["source_defined_primary_key"] == [["_id"]]

    refresh = connector("read", "RECORD", catalog=_catalog(streams.values(), mode="full_refresh"))
    expected = [(first, "one", False), (second, "two", False)]
    assert sorted(_records(refresh)) == sorted(expected)

    # Incremental: everything at first, then what has changed, deletions too.
    only = _catalog([streams["notes"]], mode="incremental")
    messages = connector("read", "RECORD", catalog=only)
    assert sorted(_records(messages)) == sorted(expected)
    state = [m["state"] for m in connector("read", "STATE", catalog=only)][-1:]
    assert connector("read", "RECORD", catalog=only, state=state) == []
    third = add("three")
    server.value("mutation", "notes:edit", {"id": first, "text": "changed"})
    server.value("mutation", "notes:remove", {"id": second})
    messages = connector("read", "RECORD", catalog=only, state=state)
    assert _records(messages) == [
        (third, "three", False),
        (first, "changed", False),
        (second, None, True),
    ]
    times = [message["record"]["data"]["_ts"] for message in messages]
    assert times == sorted(times)
    assert times[0] > 2**53
