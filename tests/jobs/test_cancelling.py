"""Operators cancel many functions at once: each that waits is looked at once, in small transactions."""

from __future__ import annotations

from collections import Counter

import pytest

from camber.engine import scheduled
from tests.functions.projects import project_app
from tests.jobs.planner import PLANNER


@pytest.fixture
def app(tmp_path):
    with project_app(tmp_path, plan=PLANNER) as app:
        yield app


def test_one_pass_finds_them_wherever_they_stand(app, monkeypatch):
    monkeypatch.setattr("camber.limits.scheduled_cancelled", 4)
    scheduler = app._core.deployment.scheduler
    paths = ["plan:note", "plan:hidden", "plan:act"]
    for at in range(33):
        app.mutation(
            "plan:call_later",
            path=paths[at % 3 if at % 5 else 0],
            delay=3600.0 + at % 7,
            args={"text": "x"},
        )
    wanted = sum(at % 3 == 1 and at % 5 != 0 for at in range(33))
    places = []
    cancel_some = scheduled.cancel_some

    def looking(transaction, *, place, **more):
        places.append(place)
        return cancel_some(transaction, place=place, **more)

    monkeypatch.setattr(scheduled, "cancel_some", looking)
    assert app._core.wait(scheduler.cancel_all("plan:hidden", "")) == wanted
    # Three looks for every twelve, and one that finds the end of each lane.
    assert len(places) == len(set(places)) <= 33 // 4 + 2
    states = Counter((each["name"], each["state"]["kind"]) for each in app.query("plan:scheduled"))
    assert states["plan.js:hidden", "canceled"] == wanted
    assert {state for name, state in states if name != "plan.js:hidden"} == {"pending"}
    assert {state for name, state in states if name == "plan.js:hidden"} == {"canceled"}
    assert app._core.wait(scheduler.cancel_all(None, "")) == 33 - wanted
    assert app._core.wait(scheduler.cancel_all(None, "")) == 0
