"""Kill -9 while scheduled functions run: mutations exactly once, actions at most once."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

import pytest

from tests.functions.projects import write_project
from tests.jobs.planner import PLANNER
from tests.servers import Server

_MUTATIONS = 60
_ACTIONS = 20
_KILLS = 2
_END_S = 30
_WITHIN_S = 4


@pytest.mark.parametrize("seed", range(int(os.environ.get("CRASH_SEEDS", "1"))))
def test_a_killed_server_runs_what_was_scheduled_as_often_as_was_promised(tmp_path, seed):
    dice = random.Random(seed)
    executors = str(1 - seed % 2)
    project = write_project(tmp_path / "project", plan=PLANNER)
    with Server(project, tmp_path / "data", "--executors", executors, command="start") as server:
        for n in range(_MUTATIONS):
            # Some are due at once, some while the server is down or starts.
            _schedule(server, "plan:note", {"text": f"mutation {n}"}, dice.uniform(0, _WITHIN_S))
        for n in range(_ACTIONS):
            _schedule(server, "plan:act", {"text": f"action {n}"}, dice.uniform(0, _WITHIN_S))
        for _ in range(_KILLS):
            time.sleep(dice.uniform(0, 0.7))  # the moment is the die's
            server.kill()
            server.start()
        functions = _ended(server)
        noted = Counter(_value(server, "plan:texts"))
        server.restart()
        assert Counter(_value(server, "plan:texts")) == noted
    for function in functions:
        (arguments,), kind = function["args"], function["state"]["kind"]
        count = noted.pop(arguments["text"], 0)
        if function["name"] == "plan.js:note":
            assert (kind, count) == ("success", 1), function
        elif kind == "success":
            assert count == 1, function
        else:
            # It had begun when its server was killed, and may have come as far as its mutation.
            assert count <= 1, function
            assert "transient error" in function["state"]["error"]
    assert len(functions) == _MUTATIONS + _ACTIONS
    assert not noted


def _schedule(server: Server, path: str, args: dict[str, str], delay: float) -> None:
    server.value("mutation", "plan:call_later", {"path": path, "delay": delay, "args": args})


def _value(server: Server, path: str) -> Any:
    return server.value("query", path, {})


def _ended(server: Server) -> list[dict[str, Any]]:
    """Return all scheduled functions once none waits or runs any more."""
    deadline = time.monotonic() + _END_S
    while True:
        functions: list[dict[str, Any]] = _value(server, "plan:scheduled")
        left = [each for each in functions if each["state"]["kind"] in {"pending", "inProgress"}]
        if not left:
            return functions
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
