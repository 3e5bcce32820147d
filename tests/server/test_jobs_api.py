"""Operators list and cancel scheduled functions."""

from __future__ import annotations

import pytest

from tests.functions.projects import write_project
from tests.jobs.planner import PLANNER
from tests.servers import ADMIN_KEY, Server

_KEY = {"Authorization": f"Convex {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    project = write_project(folder / "project", plan=PLANNER)
    with Server(project, folder / "data", "--executors", "0", command="start") as server:
        yield server


def _states(server):
    return [each["state"]["kind"] for each in server.value("query", "plan:scheduled", {})]


def _later(server, path):
    args = {"path": path, "delay": 3600.0, "args": {"text": "x"}}
    return server.value("mutation", "plan:call_later", args)


def test_one_is_cancelled_then_those_of_a_function_then_all(server):
    one = _later(server, "plan:note")
    for path in ("plan:note", "plan:hidden", "plan:act", "plan:note"):
        _later(server, path)
    assert server.post("/api/cancel_job", {"id": one}, **_KEY).status_code == 200
    assert _states(server) == ["canceled", *["pending"] * 4]
    answer = server.post("/api/cancel_all_jobs", {"udfPath": "plan.js:note"}, **_KEY)
    assert answer.json() == {"canceled": 2}
    assert _states(server) == ["canceled", "canceled", "pending", "pending", "canceled"]
    assert server.post("/api/cancel_all_jobs", {}, **_KEY).json() == {"canceled": 2}
    assert _states(server) == ["canceled"] * 5


@pytest.mark.parametrize(
    ("route", "body", "code"),
    [
        ("cancel_job", {}, "InvalidScheduledFunctionId"),
        ("cancel_job", {"id": 3}, "InvalidScheduledFunctionId"),
        ("cancel_job", {"id": "nonsense"}, "InvalidScheduledFunctionId"),
        ("cancel_all_jobs", {"udfPath": 3}, "BadJsonBody"),
        ("cancel_all_jobs", {"udfPath": "//"}, "BadConvexFunctionIdentifier"),
        ("cancel_all_jobs", {"componentPath": 3}, "ComponentPathNotFound"),
    ],
)
def test_what_names_nothing_is_refused(server, route, body, code):
    answer = server.post(f"/api/{route}", body, **_KEY)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_nobody_cancels_without_a_key(server):
    assert server.post("/api/cancel_all_jobs", {}).status_code == 403
    assert server.call("mutation", "_system/scheduler:cancel", {"id": "x"})["status"] == "error"
