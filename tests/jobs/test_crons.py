"""Cron jobs: what a push makes of them, and their runs on a clock that a test moves."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from camber.cli.function_output import _Text
from camber.cli.log_entries import LogEntry
from camber.cli.server import _summary
from camber.engine import system_tables
from camber.engine.scheduled import Lane, find_job, move_job
from camber.functions.loading import load_application
from camber.identity.identity import Admin
from camber.jobs.crons import CronRun, documents
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.release import InProcessRelease
from camber.server.log_api import entry_json
from camber.testing import TestApp
from camber.values.packed import pack, unpack
from tests.engine.harness import read, rows, write
from tests.functions.projects import write_project

CODE = """
    from datetime import datetime, timezone
    from typing import Any
    from camber import *

    class Tick(Table, table="ticks"):
        name: str
        at: float

    @internal_mutation
    def tick(ctx: MutationCtx, name: str = "tick") -> str:
        now = datetime.now(timezone.utc).timestamp() * 1e3
        ctx.db.insert(Tick(name=name, at=now))
        print("ticked", name)
        return "done " + name

    @internal_mutation
    def fails(ctx: MutationCtx) -> None:
        ctx.db.insert(Tick(name="never", at=0.0))
        raise ValueError("always")

    @internal_action
    async def acts(ctx: ActionCtx) -> str:
        await ctx.run_mutation(tick, name="acted")
        return "x" * 5000

    @query
    def ticks(ctx: QueryCtx) -> list[list[Any]]:
        return [[t.name, t.at] for t in ctx.db.query(Tick).collect()]

    @query
    def states(ctx: QueryCtx) -> list[str]:
        return [f.state.kind for f in ctx.db.system.query(ScheduledFunction).collect()]
"""
CRONS = """
    from camber import Crons
    from .code import acts, fails, tick
    crons = Crons()
"""


class Project:
    """An application whose cron jobs change."""

    def __init__(self, root, declared):
        self.root = write_project(root, code=CODE, crons=textwrap.dedent(CRONS) + declared)
        self.app = TestApp(self.root)
        self.deployment = self.app._core.deployment

    def push(self, declared):
        """Push other cron jobs; return how they differ."""
        return self.report(declared).crons

    def report(self, declared):
        """Push other cron jobs; return what came of it."""
        (folder,) = [each for each in self.root.iterdir() if (each / "crons.py").exists()]
        (folder / "crons.py").write_text(textwrap.dedent(CRONS) + declared)
        release = InProcessRelease(load_application(self.root, folder.name))
        return self.app._core.wait(self.deployment.push_release(release))

    def write_code(self, before, after):
        """Push code in which something is written otherwise."""
        (folder,) = [each for each in self.root.iterdir() if (each / "crons.py").exists()]
        text = (folder / "code.py").read_text()
        assert before in text
        (folder / "code.py").write_text(text.replace(before, after))
        release = InProcessRelease(load_application(self.root, folder.name))
        self.app._core.wait(self.deployment.push_release(release))

    def told_of_passed_over(self):
        """Return what the log of functions says of runs that are left out."""
        return [
            text
            for entry in self.deployment.runtime.log.after(0)
            for line in entry.lines
            for text in line.messages
            if text.startswith("SkippingPastScheduledRuns")
        ]

    def _ticks(self) -> list[Any]:
        return self.app.query("code:ticks")

    def ticks(self) -> list[tuple[str, str]]:
        """Return who ticked, and when, to the second."""
        return [
            (name, datetime.fromtimestamp(at / 1e3, UTC).strftime("%m-%d %H:%M:%S"))
            for name, at in self._ticks()
        ]

    def names(self):
        return [name for name, _ in self._ticks()]

    def crons(self):
        """Return the last runs of each cron job, by name."""
        found = read(self.deployment.engine, lambda tx: list(documents(tx)))
        return {each["name"]: msgspec.convert(each["runs"], list[CronRun]) for each in found}

    def due(self):
        """Return when each is due, to the second."""
        jobs = read(self.deployment.engine, lambda tx: rows(tx, system_tables.JOBS))
        found = read(self.deployment.engine, lambda tx: list(documents(tx)))
        names = {each["_id"]: each["name"] for each in found}
        return {
            names[job["of"]]: datetime.fromtimestamp(job["due"] / 1e3, UTC).strftime(
                "%m-%d %H:%M:%S"
            )
            for job in jobs
        }


@pytest.fixture
def project(tmp_path):
    made = []

    def make(declared):
        made.append(Project(tmp_path, declared))
        return made[0]

    yield make
    made[0].app.close()


def test_an_interval_runs_when_it_is_pushed_and_does_not_drift(project):
    it = project("crons.interval('a', tick, minutes=10)")
    it.app.advance(minutes=35)
    assert it.ticks() == [("tick", f"01-01 00:{minute}:00") for minute in ("00", "10", "20", "30")]
    assert it.app.query("code:states") == []


def test_clocks(project):
    it = project(
        "crons.hourly('hour', tick, minute_utc=20, args={'name': 'h'})\n"
        "crons.daily('day', tick, hour_utc=9, args={'name': 'd'})\n"
        "crons.weekly('week', tick, day_of_week='saturday', hour_utc=10, minute_utc=5, args={'name': 'w'})\n"
        "crons.monthly('month', 'code:tick', day=2, hour_utc=0, minute_utc=30, args={'name': 'm'})\n"
        "crons.cron('paris', '0 9 * * 1-5', tick, timezone='Europe/Paris', args={'name': 'p'})\n"
    )
    it.app.advance(hours=2)
    assert it.ticks() == [("h", "01-01 00:20:00"), ("h", "01-01 01:20:00")]
    it.app.advance(days=3)
    assert [each for each in it.ticks() if each[0] != "h"] == [
        ("p", "01-01 08:00:00"),
        ("d", "01-01 09:00:00"),
        ("m", "01-02 00:30:00"),
        ("p", "01-02 08:00:00"),
        ("d", "01-02 09:00:00"),
        ("d", "01-03 09:00:00"),
        ("w", "01-03 10:05:00"),
    ]


def test_runs_are_remembered(project):
    it = project(
        "crons.interval('a', tick, hours=1, args={'name': 'x'})\ncrons.interval('b', acts, hours=1)"
    )
    it.app.advance(hours=7.5)
    runs = it.crons()
    assert [len(each) for each in runs.values()] == [5, 5]
    newest = runs["a"][0]
    assert (newest.error, newest.result) == (None, '"done x"')
    assert newest.log_lines == ("[LOG] 'ticked' 'x'",)
    assert runs["a"][0].due_ms - runs["a"][4].due_ms == pytest.approx(4 * 3600e3)
    assert runs["b"][0].result == '"' + "x" * 999 + "…"


def test_operators_see_when_a_cron_runs_next_and_how_it_went(project):
    it = project(
        "crons.interval('a', tick, hours=1, args={'name': 'x'})\ncrons.daily('b', acts, hour_utc=9)"
    )
    it.app.advance(minutes=5)
    call = FunctionCall(
        path="_system/frontend/listCronJobs:default",
        arguments=pack({}),
        identity=Admin(),
        caller=Caller.ADMIN,
        request_id="test",
    )
    result = it.app._core.wait(it.deployment.runtime.query(call))
    found: Any = unpack(result.packed)
    a, b = found
    assert (a["name"], a["function"], a["args"]) == ("a", "code.js:tick", [{"name": "x"}])
    assert a["schedule"] == {"kind": "interval", "seconds": 3600}
    assert a["nextRun"] - a["runs"][0]["time"] == pytest.approx(3600e3)
    assert [run["result"] for run in a["runs"]] == ['"done x"']
    assert (b["name"], b["runs"], b["schedule"]["expression"]) == ("b", [], "0 9 * * *")


def test_a_cron_that_always_raises_goes_on_and_harms_no_other(project):
    it = project("crons.interval('bad', fails, minutes=1)\ncrons.interval('good', tick, minutes=1)")
    it.app.advance(minutes=4.5)
    assert it.names() == ["tick"] * 5
    bad = it.crons()["bad"]
    assert ["ValueError: always" in (run.error or "") for run in bad] == [True] * 5
    assert it.due()["bad"] == it.due()["good"]


def test_what_is_due_while_a_run_goes_on_is_left_out_and_said_so_once(project, caplog):
    it = project("crons.interval('a', tick, seconds=10)")
    it.app.advance(seconds=5)
    # As after a server that was down: the clock is where it is, and one run is due.
    it.app._core._host.move_to(it.app._core._host.now_ns() + 60 * 10**9)
    it.app.advance(seconds=4)
    assert len(it.names()) == 2
    passed_over, ran = it.crons()["a"][:2]
    assert (passed_over.skipped, ran.error) == (5, None)
    (told,) = it.told_of_passed_over()
    assert "5 runs of the cron job 'a' will not be made up for" in told
    assert re.search(
        r"due before the one of 2026-01-01T00:00:10\+00:00 was over \(it began 5\d\.\d", told
    )
    # The log of functions has it, and that is printed: no second line.
    assert caplog.messages == []
    it.app.advance(seconds=10)
    assert len(it.names()) == 3


def test_runs_that_a_killed_server_has_left_behind_are_told_as_such(project):
    it = project("crons.interval('a', acts, seconds=10)")
    it.app.advance(seconds=5)

    def begins(transaction):
        (row,) = rows(transaction, system_tables.JOBS)
        job = find_job(transaction, row["of"])
        assert job is not None
        move_job(transaction, job, Lane.RUNNING, job.due, job.attempt)

    it.app._core.wait(write(it.deployment.engine, begins))
    it.app._core._host.move_to(it.app._core._host.now_ns() + 60 * 10**9)
    # As a server finds it that starts after one that was killed.
    it.app._core.wait(it.deployment.scheduler._recover())
    (told,) = it.told_of_passed_over()
    assert told.endswith("was over (the server ended before that was noted)")
    assert "transient error" in it.crons()["a"][1].error


def test_what_always_raises_is_printed_in_full_once(project, capsys):
    it = project("crons.interval('bad', fails, minutes=1)")
    output, log = _Text(), it.deployment.runtime.log
    seen = 0

    def printed():
        nonlocal seen
        entries = [msgspec.convert(entry_json(each, log), LogEntry) for each in log.after(0)]
        output.write(entries[seen:], 0)
        seen = len(entries)
        return [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]

    it.app.advance(seconds=30)
    first = printed()
    assert len(first) == 1
    assert first[0].endswith("M(code:fails) Uncaught ValueError: always")
    it.app.advance(minutes=2)
    second, third = printed()
    assert "Uncaught ValueError: always (as before, 2 times now; failed in" in second
    assert "as before, 3 times now" in third
    it.write_code("always", "differently")
    it.app.advance(minutes=2)
    changed, again = printed()
    assert changed.endswith("Uncaught ValueError: differently")
    assert "differently (as before, 2 times now" in again


def test_a_push_adds_changes_and_removes(project):
    it = project(
        "crons.interval('same', tick, hours=1)\ncrons.interval('changed', tick, hours=2)\n"
        "crons.interval('args', tick, hours=3)\ncrons.interval('gone', tick, hours=1)"
    )
    it.app.advance(minutes=30)
    before = it.due()
    changes = it.push(
        "crons.interval('same', tick, hours=1)\ncrons.interval('changed', tick, minutes=20)\n"
        "crons.interval('args', acts, hours=3)\ncrons.daily('new', tick, hour_utc=5)"
    )
    assert sorted(changes.changed) == ["args", "changed"]
    assert (changes.added, changes.removed) == (("new",), ("gone",))
    after = it.due()
    assert after["same"] == before["same"]
    assert after["args"] == before["args"]
    assert after["changed"].startswith("01-01 00:50")
    assert after["new"] == "01-01 05:00:00"
    assert "gone" not in after
    assert len(it.crons()["same"]) == 1
    assert sorted(it.push("").removed) == ["args", "changed", "new", "same"]
    it.app.advance(days=1)
    assert it.due() == {}


def test_whoever_pushes_is_told_how_cron_jobs_differ(project):
    it = project("crons.interval('changed', tick, hours=2)\ncrons.hourly('gone', tick)")
    report = it.report(
        "crons.interval('changed', tick, hours=1)\n"
        "crons.hourly('one', tick)\ncrons.hourly('other', tick)"
    )
    assert _summary(report).endswith(
        "; new cron jobs: one, other; changed cron jobs: changed; removed cron jobs: gone"
    )


def test_a_push_leaves_a_cron_that_is_tried_again_as_it_is(project):
    it = project("crons.interval('a', tick, hours=1)")
    engine = it.deployment.engine

    def put_off(transaction):
        (row,) = rows(transaction, system_tables.JOBS)
        job = find_job(transaction, row["of"])
        assert job is not None
        move_job(transaction, job, Lane.MUTATION, job.due + 5000, 3)

    it.app._core.wait(write(engine, put_off))
    (before,) = read(engine, lambda tx: rows(tx, system_tables.JOBS))
    assert before["due"] - before["planned"] == 5000
    it.push("crons.interval('a', tick, hours=1)")
    assert read(engine, lambda tx: rows(tx, system_tables.JOBS)) == [before]
    it.push("crons.interval('a', acts, hours=1)")
    (after,) = read(engine, lambda tx: rows(tx, system_tables.JOBS))
    assert after == {**before, "path": "code:acts", "lane": Lane.ACTION.value}
    it.app.advance(minutes=1)
    # The next one is counted from when this one was to run.
    assert it.due()["a"] == "01-01 01:00:00"


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("crons.interval('a', tick)", "one of seconds, minutes and hours, not none"),
        ("crons.interval('a', tick, seconds=1, hours=1)", "not seconds and hours"),
        ("crons.interval('a', tick, seconds=0)", "seconds is a whole number from 1"),
        ("crons.interval('a', tick, minutes=1.5)", "minutes is a whole number"),
        ("crons.interval('a', tick, minutes=True)", "minutes is a whole number"),
        ("crons.interval('ä', tick, minutes=1)", "printable ASCII"),
        ("crons.interval('', tick, minutes=1)", "printable ASCII"),
        ("crons.interval('a', tick, minutes=1)\ncrons.hourly('a', tick)", "'a' already"),
        ("crons.interval('a', tick, minutes=1, args={'nam': 'x'})", "extra field `nam`"),
        ("crons.interval('a', tick, minutes=1, args={'name': 3})", "v.string"),
        ("crons.interval('a', 3, minutes=1)", "3 is no function"),
        ("crons.interval('a', 'code:nothing', minutes=1)", "Could not find function for 'code:nothing'"),
        ("crons.hourly('a', tick, minute_utc=60)", "minute_utc is a whole number from 0 to 59"),
        ("crons.daily('a', tick, hour_utc=24)", "hour_utc is a whole number from 0 to 23"),
        ("crons.weekly('a', tick, day_of_week='someday', hour_utc=1)", "'someday' is no day"),
        ("crons.monthly('a', tick, day=32, hour_utc=1)", "day is a whole number from 1 to 31"),
        ("crons.cron('a', '* * * *', tick)", "five fields"),
        ("crons.cron('a', '61 * * * *', tick)", "Bad minute"),
        ("crons.cron('a', '0 0 31 2 *', tick)", "Bad day-of-month"),
        ("crons.cron('a', '0 0 * * *', tick, timezone='Mars/Olympus')", "no time zone"),
        ("crons.cron('a', '0 0 * * *', tick, timezone='../etc')", "no time zone"),
    ],
)  # fmt: skip
def test_what_cannot_be_declared_says_why(tmp_path, declared, told):
    root = write_project(tmp_path, code=CODE, crons=textwrap.dedent(CRONS) + declared)
    with pytest.raises(Exception, match=told) as refused:
        TestApp(root)
    assert type(refused.value).__name__ == "LoadError"
    assert "crons.py" in str(refused.value)
