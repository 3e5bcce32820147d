"""Scheduled functions as applications see them; the clock moves when a test says so."""

from __future__ import annotations

import pytest

from camber import AppError, FunctionError
from camber.errors import RequestError
from tests.functions.projects import project_app
from tests.jobs.planner import PLANNER


@pytest.fixture
def app(tmp_path):
    with project_app(tmp_path, plan=PLANNER) as app:
        yield app


def states(app):
    return app.query("plan:states")


def texts(app):
    return app.query("plan:texts")


def test_a_function_runs_when_it_is_due_and_not_before(app):
    id = app.mutation("plan:later", text="hello", delay=60.0)
    before = app.query("plan:find", id=id)
    assert (before.name, before.args, before.state.kind) == (
        "plan.js:note",
        [{"text": "hello"}],
        "pending",
    )
    assert before.completed_time is None
    assert before.state.error is None
    assert "completedTime" not in app.query("plan:scheduled")[0]
    assert app.query("plan:scheduled")[0]["state"] == {"kind": "pending"}
    assert app.query("plan:typed")[0].to_dict() == app.query("plan:scheduled")[0]
    app.advance(seconds=59)
    assert texts(app) == []
    app.advance(seconds=2)
    assert texts(app) == ["hello"]
    after = app.query("plan:find", id=id)
    assert after.state.kind == "success"
    assert after.completed_time >= after.scheduled_time == before.scheduled_time
    assert set(app.query("plan:scheduled")[0]) == {
        "_id", "_creationTime", "name", "args", "scheduledTime", "completedTime", "state"
    }  # fmt: skip


def test_who_watches_scheduled_functions_is_told(app):
    watched = app.subscribe("plan:states")
    assert watched.value == []
    app.mutation("plan:later", text="a", delay=1.0)
    assert watched.is_stale
    assert watched.value == ["pending"]
    app.advance(seconds=2)
    assert watched.is_stale
    assert watched.value == ["success"]


def test_what_is_due_in_one_second_runs_in_order_of_time(app):
    app.mutation("plan:many", delays=[0.9, 0.1, 0.5, 0.1, 0.3])
    app.advance(seconds=1)
    assert texts(app) == ["1", "3", "4", "2", "0"]


def test_jobs_run_at_their_time_and_what_they_schedule_at_its(app):
    app.mutation("plan:call_later", path="plan:chain", delay=10.0, args={"left": 3})
    app.advance(seconds=25)
    assert texts(app) == ["left 3", "left 2"]
    app.advance(minutes=1)
    assert texts(app) == ["left 3", "left 2", "left 1", "left 0"]


def test_a_time_may_be_past(app):
    app.mutation("plan:at", iso="2025-06-01T12:00:00+02:00", text="past")
    app.mutation("plan:at", iso="2026-01-01T00:30:00+00:00", text="soon")
    app.advance()
    assert texts(app) == ["past"]
    app.advance(minutes=31)
    assert texts(app) == ["past", "soon"]


def test_what_a_failed_mutation_scheduled_was_never_scheduled(app):
    with pytest.raises(AppError):
        app.mutation("plan:raises")
    assert states(app) == []
    assert app.mutation("plan:catches") == "caught"
    assert states(app) == ["pending", "pending"]
    app.advance(seconds=1)
    assert texts(app) == ["kept", "of the sub-transaction"]


def test_internal_functions_actions_and_queries_are_scheduled(app):
    for path, args in (
        ("plan:hidden", {"text": "hidden"}),
        ("plan:act", {"text": "acted"}),
        ("plan:looks", {}),
    ):
        app.mutation("plan:call_later", path=path, delay=0.0, args=args)
    app.advance()
    assert sorted(texts(app)) == ["acted", "hidden"]
    assert states(app) == ["success"] * 3


def test_nobody_is_signed_in_while_a_scheduled_function_runs(app):
    ada = app.with_identity(subject="ada")
    ada.mutation("plan:call_later", path="plan:who", delay=0.0, args={})
    app.advance()
    assert texts(app) == ["None"]


def test_a_function_that_fails_is_not_run_again_and_says_why(app):
    app.mutation("plan:call_later", path="plan:raises", delay=0.0, args={"text": "x"})
    app.mutation("plan:call_later", path="plan:fails", delay=0.0, args={})
    app.mutation("plan:call_later", path="plan:note", delay=0.0, args={"wrong": 1})
    app.advance(hours=3)
    assert states(app) == ["failed"] * 3
    told = [each["state"]["error"] for each in app.query("plan:scheduled")]
    assert "ConvexError" in told[0]
    assert "NO" in told[0]
    assert "ValueError: no good" in told[1]
    assert "missing the required field `text`" in told[2]
    assert texts(app) == ["before it failed"]


def test_a_cancelled_function_does_not_run(app):
    id = app.mutation("plan:later", text="never", delay=60.0)
    app.mutation("plan:cancel", id=id)
    assert states(app) == ["canceled"]
    app.advance(minutes=2)
    assert texts(app) == []
    done = app.mutation("plan:later", text="done")
    app.advance()
    app.mutation("plan:cancel", id=done)
    assert app.query("plan:find", id=done).state.kind == "success"
    app.mutation("plan:cancel", id=id)


@pytest.mark.parametrize("id", ["nonsense", "", "notes"])
def test_what_is_no_id_of_a_scheduled_function_cannot_be_cancelled(app, id):
    with pytest.raises(FunctionError, match="InvalidScheduledFunctionId"):
        app.mutation("plan:cancel", id=id)


def test_a_running_mutation_is_in_progress_to_itself_alone(app):
    app.mutation("plan:call_later", path="plan:sees_itself", delay=0.0, args={})
    app.advance()
    assert texts(app) == ["inProgress"]
    assert states(app) == ["success"]


def test_a_mutation_cannot_cancel_itself(app):
    app.mutation("plan:call_later", path="plan:cancels_itself", delay=0.0, args={})
    app.advance()
    (job,) = app.query("plan:scheduled")
    assert job["state"]["kind"] == "failed"
    assert "ScheduledFunctionCancelingItself" in job["state"]["error"]


def test_what_a_cancelled_action_schedules_is_cancelled(app):
    app.mutation("plan:call_later", path="plan:cancels_then_schedules", delay=0.0, args={})
    app.advance(minutes=1)
    assert states(app) == ["canceled"] * 3
    assert texts(app) == []


@pytest.mark.parametrize("path", ["plan:act_later", "plan:act_later_blocking"])
def test_actions_schedule_at_once(app, path):
    id = app.action(path, text="later")
    assert app.query("plan:find", id=id).state.kind == "pending"
    app.advance(seconds=5)
    assert texts(app) == ["later"]


def test_what_an_action_scheduled_runs_though_it_failed(app):
    with pytest.raises(FunctionError):
        app.action("plan:act_later", text="later", then_fail=True)
    app.advance(seconds=5)
    assert texts(app) == ["later"]


def test_an_action_is_tried_again_if_that_is_asked_for(app):
    id = app.mutation("plan:retried", times=2, max_attempts=3, backoff=10.0)
    app.advance(seconds=6)
    assert app.query("plan:find", id=id).state.kind == "pending"
    # 10 s, then 20, each give or take a half.
    app.advance(seconds=15)
    assert app.query("plan:find", id=id).state.kind == "pending"
    app.advance(seconds=30)
    assert app.query("plan:find", id=id).state.kind == "success"


def test_attempts_come_to_an_end(app):
    id = app.mutation("plan:retried", times=5, max_attempts=3, backoff=1.0)
    app.advance(hours=1)
    state = app.query("plan:find", id=id).state
    assert state.kind == "failed"
    assert "attempt 3" in state.error


def test_a_retry_is_for_actions(app):
    with pytest.raises(FunctionError, match=r"InvalidRetry.*is for actions"):
        app.mutation("plan:retried_mutation")
    with pytest.raises(FunctionError, match="max_attempts=0"):
        app.mutation("plan:retried", times=1, max_attempts=0, backoff=1.0)
    with pytest.raises(FunctionError, match="backoff=-1"):
        app.mutation("plan:retried", times=1, max_attempts=2, backoff=-1.0)


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf"), 6 * 366 * 86400.0])
def test_delays_have_bounds(app, delay):
    with pytest.raises(FunctionError, match="InvalidScheduledFunctionDelay"):
        app.mutation("plan:later", text="x", delay=delay)


@pytest.mark.parametrize("iso", ["2026-01-01T00:00:00", "2040-01-01T00:00:00+00:00"])
def test_times_know_their_zone_and_have_bounds(app, iso):
    with pytest.raises(FunctionError, match="InvalidScheduledFunctionDelay"):
        app.mutation("plan:at", iso=iso, text="x")


def test_a_function_that_is_not_there_is_refused_at_once(app):
    with pytest.raises(FunctionError, match="Could not find function for 'plan:nothing'"):
        app.mutation("plan:call_later", path="plan:nothing", delay=0.0, args={})
    assert states(app) == []


def test_one_mutation_schedules_so_many(app, monkeypatch):
    monkeypatch.setattr("camber.limits.functions_scheduled_max", 10)
    app.mutation("plan:many", delays=[1.0] * 10)
    with pytest.raises(FunctionError, match=r"TooManyFunctionsScheduled.*scheduled 11 functions"):
        app.mutation("plan:many", delays=[1.0] * 11)
    assert len(states(app)) == 10


def test_so_many_wait_and_no_more(app, monkeypatch):
    monkeypatch.setattr("camber.limits.functions_waiting_max", 4)
    app.mutation("plan:many", delays=[60.0] * 3)
    with pytest.raises(
        RequestError, match=r"plan:catches cannot schedule 2 functions more: 3 wait"
    ) as told:
        app.mutation("plan:catches")
    assert told.value.code == "TooManyFunctionsWaiting"
    assert states(app) == ["pending"] * 3
    id = app.mutation("plan:later", text="the fourth", delay=60.0)
    with pytest.raises(
        FunctionError, match=r"plan:act_later asked of its scheduler.*a function more"
    ):
        app.action("plan:act_later", text="never")
    # What schedules nothing goes on, and what is cancelled makes room.
    app.mutation("plan:note", text="a note")
    app.mutation("plan:cancel", id=id)
    app.action("plan:act_later", text="in its place")
    app.advance(minutes=2)
    assert texts(app) == ["a note", "in its place", "0", "1", "2"]
    app.mutation("plan:many", delays=[60.0] * 4)


def test_what_could_not_be_kept_of_what_was_scheduled_does_not_count(app, monkeypatch):
    monkeypatch.setattr("camber.limits.functions_waiting_max", 2)
    # Three are scheduled, of which the sub-transaction that fails keeps none.
    assert app.mutation("plan:catches") == "caught"
    assert states(app) == ["pending"] * 2


def test_a_chain_goes_on_where_no_more_may_wait(app, monkeypatch):
    monkeypatch.setattr("camber.limits.functions_waiting_max", 2)
    app.mutation("plan:later", text="long after", delay=3600.0)
    app.mutation("plan:call_later", path="plan:chain", delay=10.0, args={"left": 3})
    app.advance(minutes=1)
    assert texts(app) == ["left 3", "left 2", "left 1", "left 0"]


def test_an_http_action_schedules_no_more_than_may_wait(tmp_path, monkeypatch):
    http = """
        from camber import *
        from .plan import note

        http = HttpRouter()

        @http.route("/later", method="POST")
        async def later(ctx: ActionCtx, request: Request) -> Response:
            try:
                await ctx.scheduler.run_after(60, note, text="x")
            except FunctionError as error:
                return Response(str(error), status_code=429)
            return Response("scheduled")
    """
    monkeypatch.setattr("camber.limits.functions_waiting_max", 1)
    with project_app(tmp_path, plan=PLANNER, http=http) as app:
        answers = [app.fetch("/later", method="POST") for _ in range(2)]
        assert [each.status_code for each in answers] == [200, 429], answers[1].text
        assert "TooManyFunctionsWaiting" in answers[1].text
        assert states(app) == ["pending"]


def test_arguments_have_a_size(app, monkeypatch):
    monkeypatch.setattr("camber.limits.scheduled_arguments_bytes_max", 1000)
    app.mutation("plan:later", text="x" * 900)
    with pytest.raises(FunctionError, match="ScheduledFunctionsArgumentsTooLarge"):
        app.mutation("plan:later", text="x" * 1001)


def test_a_loop_without_delay_is_told_of(app, monkeypatch):
    monkeypatch.setattr("camber.limits.test_runs_at_once_max", 20)
    app.mutation("plan:loops", delay=0.0)
    with pytest.raises(AssertionError, match=r"goes on with plan:loops.*again and again"):
        app.advance(days=1)


def test_what_runs_often_but_not_at_once_may_go_on_for_as_long_as_it_likes(app, monkeypatch):
    monkeypatch.setattr("camber.limits.test_runs_at_once_max", 20)
    app.mutation("plan:loops", delay=1800.0)
    app.advance(days=1)
    assert 47 <= len(texts(app)) <= 49
