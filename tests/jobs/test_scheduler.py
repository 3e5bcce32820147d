"""The scheduler on a real deployment: pushes, kills, a store that fails, how much it reads."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from typing import Any

import pytest

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.instance import temporary_instance
from camber.deployment.maintenance import Maintenance
from camber.deployment.settings import MEMORY, DeploymentSettings, Scheduling
from camber.engine import scheduled, system_tables
from camber.engine.committer import CommitConflict
from camber.engine.scheduled import Lane
from camber.errors import StorageFailed
from camber.files.memory import MemoryBlobs
from camber.functions.loading import load_application
from camber.identity.identity import Anonymous
from camber.jobs.crons import documents
from camber.jobs.scheduler import Outcome
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.release import InProcessRelease
from camber.storage.memory import MemoryStore
from camber.testing.clock import ControlledHost
from camber.values.packed import pack, unpack
from tests.engine.harness import read, rows, write
from tests.functions.projects import write_project
from tests.jobs.planner import PLANNER

_DAY_NS = 24 * 3600 * 10**9


class Machine:
    """A deployment on a store that outlives it, and a clock that outlives both."""

    def __init__(self, root, **modules):
        self.root = write_project(root, plan=PLANNER, **modules)
        (self.folder,) = [each for each in self.root.iterdir() if each.is_dir()]
        self.host = ControlledHost()
        self.store: Any = MemoryStore()

    @asynccontextmanager
    async def running(self, scheduling=Scheduling.WHEN_ASKED):
        """Start it, and stop it in order."""
        self.store.close = lambda: None
        deployment = Deployment(
            settings=DeploymentSettings(
                root=self.root,
                functions=self.folder.name,
                data=self.root / "data",
                store=MEMORY,
                scheduling=scheduling,
            ),
            host=self.host,
            store=self.store,
            instance=temporary_instance("test", self.host),
            blobs=MemoryBlobs(),
        )
        self.deployment, self.scheduler = deployment, deployment.scheduler
        await deployment.pushes.open()
        try:
            yield self
        finally:
            await deployment.close()

    async def push(self, **modules):
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text)
        application = load_application(self.root, self.folder.name)
        return await self.deployment.push_release(InProcessRelease(application))

    async def call(self, kind, name, /, **args):
        call = FunctionCall(
            path=f"plan:{name}",
            arguments=pack(args),
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id="test",
        )
        result = await getattr(self.deployment.runtime, kind)(call)
        assert result.failure is None, result.failure
        return unpack(result.packed if kind == "query" else result.value)

    async def later(self, path, delay=0.0, /, **args):
        return await self.call(
            "mutation", "call_later", path=f"plan:{path}", delay=delay, args=args
        )

    async def states(self):
        return await self.call("query", "states")

    async def texts(self):
        return await self.call("query", "texts")

    async def errors(self):
        found = await self.call("query", "scheduled")
        return [each["state"].get("error") for each in found]

    def jobs(self):
        return read(self.deployment.engine, lambda tx: rows(tx, system_tables.JOBS))

    async def move(self, lane):
        """Put all jobs where a server that was killed has left them."""

        def change(transaction):
            for row in rows(transaction, system_tables.JOBS):
                job = scheduled.find_job(transaction, row["of"])
                assert job is not None
                scheduled.move_job(transaction, job, lane, job.due, job.attempt)

        await write(self.deployment.engine, change)

    @contextmanager
    def failing_writes(self, *, made):
        """Let one write after the next few fail, or only say so."""
        append = self.store.append

        def fail(commits):
            if any(c.table == system_tables.JOBS_NUMBER for each in commits for c in each.changes):
                self.store.append = append
                if made:
                    append(commits)
                raise StorageFailed("the disk is what it is")
            append(commits)

        self.store.append = fail
        try:
            yield
        finally:
            self.store.append = append


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def run(coroutine):
    asyncio.run(coroutine)


async def until(look, seen):
    """Return when that is what is seen."""
    while await look() != seen:  # noqa: ASYNC110  # nobody tells a test
        await asyncio.sleep(0.01)


def test_what_waits_runs_after_a_restart_on_the_newest_code(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("note", 60.0, text="kept")
        machine.host.move_to(machine.host.now_ns() + 120 * 10**9)
        async with machine.running():
            # Nothing serves yet.
            assert await machine.scheduler.run_due() == 0
            text = (machine.folder / "plan.py").read_text()
            assert "Note(text=text, at=now)" in text
            await machine.push(
                plan=text.replace("Note(text=text, at=now)", "Note(text='new ' + text)")
            )
            assert await machine.scheduler.run_due() == 1
            assert (await machine.texts(), await machine.states()) == (["new kept"], ["success"])

    run(go())


@pytest.mark.parametrize("path", ["hidden", "act"])
def test_a_job_whose_function_is_gone_fails_and_says_so(machine, path):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later(path, 0.0, text="x")
            await machine.later("note", 0.0, text="others run")
            text = (machine.folder / "plan.py").read_text()
            await machine.push(plan=text.replace(f"def {path}(", "def another("))
            await machine.scheduler.run_due()
            assert await machine.states() == ["failed", "success"]
            assert f"Could not find function for 'plan:{path}'" in (await machine.errors())[0]
            assert machine.jobs() == []

    run(go())


def test_a_job_runs_as_what_its_function_has_become(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("act", 0.0, text="x")
            await machine.later("hidden", 0.0, text="y")
            text = (machine.folder / "plan.py").read_text()
            text = text.replace(
                "async def act(ctx: ActionCtx, text: str) -> str:\n    await ctx.run_mutation(note, text=text)",
                "def act_before(ctx: SyncActionCtx, text: str) -> str:\n    pass",
            ).replace(
                "@internal_mutation\ndef hidden(ctx: MutationCtx, text: str) -> None:\n    ctx.db.insert(Note(text=text))",
                "@mutation\ndef act(ctx: MutationCtx, text: str) -> None:\n    ctx.db.insert(Note(text='m ' + text))\n"
                "@action\nasync def hidden(ctx: ActionCtx, text: str) -> None:\n"
                "    await ctx.run_mutation(note, text='a ' + text)",
            )
            await machine.push(plan=text)
            await machine.scheduler.run_due()
            assert await machine.errors() == [None, None]
            assert sorted(await machine.texts()) == ["a y", "m x"]

    run(go())


def test_an_action_of_a_killed_server_has_failed_and_is_not_run_again(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("act", 0.0, text="lost")
            await machine.call("mutation", "retried", times=0, max_attempts=2, backoff=1.0)
            await machine.move(Lane.RUNNING)
        async with machine.running():
            await machine.push()
            await machine.scheduler.run_due()
            assert await machine.states() == ["failed", "pending"]
            assert "transient error" in (await machine.errors())[0]
            machine.host.move_to(machine.host.now_ns() + 10 * 10**9)
            await machine.scheduler.run_due()
            assert await machine.states() == ["failed", "success"]
            assert await machine.texts() == []

    run(go())


def test_what_runs_when_a_server_ends_is_noted(machine):
    async def go():
        async with machine.running(Scheduling.ON):
            await machine.push(
                slow="import asyncio\nfrom camber import *\n@action\n"
                "async def wait(ctx: ActionCtx) -> None:\n    await asyncio.sleep(3600)\n"
            )
            await machine.call("mutation", "call_later", path="slow:wait", delay=0.0, args={})
            await until(machine.states, ["inProgress"])
        async with machine.running():
            await machine.push()
            assert await machine.states() == ["failed"]
            assert "cancelled: the server is ending" in (await machine.errors())[0]

    run(go())


def test_a_server_that_ends_starts_nothing_more_and_waits_for_what_runs(machine):
    async def go():
        async with machine.running(Scheduling.ON):
            await machine.push(
                slow="import asyncio\nfrom camber import *\nfrom .plan import note, texts\n@action\n"
                "async def wait(ctx: ActionCtx) -> None:\n"
                "    while 'go' not in await ctx.run_query(texts):\n        await asyncio.sleep(0.01)\n"
            )
            await machine.call("mutation", "call_later", path="slow:wait", delay=0.0, args={})
            await until(machine.states, ["inProgress"])
            draining = asyncio.ensure_future(machine.scheduler.drain(60))
            await machine.later("note", 0.0, text="later")
            assert not draining.done()
            await machine.call("mutation", "note", text="go")
            await draining
            assert await machine.states() == ["success", "pending"]

    run(go())


@pytest.mark.parametrize("path", ["note", "act"])
def test_a_job_whose_document_is_gone_is_forgotten(machine, path):
    async def go():
        async with machine.running():
            await machine.push()
            id = await machine.later(path, 0.0, text="x")
            await write(machine.deployment.engine, lambda tx: tx.delete(id))
            await machine.scheduler.run_due()
            assert machine.jobs() == []
            assert await machine.texts() == []

    run(go())


def test_a_handle_is_scheduled(machine):
    async def go():
        async with machine.running():
            await machine.push(
                handles="from camber import *\nfrom .plan import note\n@mutation\n"
                "def schedule(ctx: MutationCtx) -> None:\n"
                "    handle = ctx.function_handle(note)\n"
                "    ctx.scheduler.run_after(0, handle, text='by handle')\n"
            )
            await machine.call(
                "mutation", "call_later", path="handles:schedule", delay=0.0, args={}
            )
            await machine.scheduler.run_due()
            await machine.scheduler.run_due()
            assert await machine.texts() == ["by handle"]

    run(go())


@pytest.mark.parametrize("made", [True, False], ids=["said to have failed", "failed"])
@pytest.mark.parametrize("path", ["note", "act"])
def test_a_write_that_fails_runs_nothing_twice_and_forgets_nothing(machine, made, path):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later(path, 0.0, text="once")
            with machine.failing_writes(made=made):
                try:
                    await machine.scheduler.run_due()
                except StorageFailed:
                    assert path == "act"
            machine.host.move_to(machine.host.now_ns() + 10 * 10**9)
            await machine.scheduler.run_due()
            assert await machine.texts() == ["once"]
            assert await machine.states() == ["success"]
            assert machine.jobs() == []

    run(go())


@pytest.mark.parametrize("made", [True, False], ids=["said to have failed", "failed"])
def test_a_cron_of_which_a_write_fails_runs_once_and_goes_on(tmp_path, made):
    machine = Machine(
        tmp_path,
        crons="from camber import Crons\nfrom .plan import note\ncrons = Crons()\n"
        "crons.interval('a', note, args={'text': 'once'}, hours=1)\n",
    )

    async def go():
        async with machine.running():
            await machine.push()
            with machine.failing_writes(made=made):
                await machine.scheduler.run_due()
            machine.host.move_to(machine.host.now_ns() + 10 * 10**9)
            await machine.scheduler.run_due()
            assert await machine.texts() == ["once"]
            (job,) = machine.jobs()
            assert job["due"] > machine.host.now_ns() / 1e6 + 3500e3
            (cron,) = read(machine.deployment.engine, lambda tx: list(documents(tx)))
            assert [each["error"] for each in cron["runs"]] == [None]
            # Killed after its commit, before that was noted.
            await machine.move(Lane.COMMITTED)
        async with machine.running():
            await machine.push()
            await machine.scheduler.run_due()
            (job,) = machine.jobs()
            assert job["lane"] == Lane.MUTATION.value
            assert await machine.texts() == ["once"]

    run(go())


def test_what_the_server_cannot_run_is_tried_again_later_and_later(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("note", 0.0, text="in the end")
            mutation = machine.deployment.runtime.mutation

            async def refuse(call, **options):
                raise StorageFailed("no room")

            machine.deployment.runtime.mutation = refuse
            pauses = []
            for _ in range(5):
                await machine.scheduler.run_due()
                (job,) = machine.jobs()
                pauses.append(job["due"] - machine.host.now_ns() / 1e6)
                machine.host.move_to(int(job["due"] * 1e6))
            # Each about twice the last, give or take a half.
            for number, pause in enumerate(pauses):
                assert 0.49 * 500 * 2**number - 20 <= pause <= 1.5 * 500 * 2**number
            machine.deployment.runtime.mutation = mutation
            await machine.scheduler.run_due()
            assert (await machine.texts(), await machine.states()) == (["in the end"], ["success"])
            assert machine.scheduler.outcomes == {Outcome.POSTPONED: 5, Outcome.SUCCESS: 1}

    run(go())


def test_a_mutation_that_schedules_more_than_may_wait_is_tried_again(machine, monkeypatch):
    monkeypatch.setattr("camber.limits.functions_waiting_max", 3)

    async def go():
        async with machine.running():
            await machine.push()
            first = await machine.later("note", 3600.0, text="first")
            await machine.later("note", 7200.0, text="second")
            await machine.later("many", 0.0, delays=[0.0, 0.0])
        # What waits is counted anew by a server that starts.
        async with machine.running():
            await machine.push()
            assert machine.deployment.runtime.backlog.jobs == 3
            await machine.scheduler.run_due()
            assert machine.scheduler.outcomes == {Outcome.POSTPONED: 1}
            assert await machine.states() == ["pending"] * 3
            await machine.call("mutation", "cancel", id=first)
            machine.host.move_to(int(machine.scheduler.next_due().due * 1e6))
            for _ in range(2):
                await machine.scheduler.run_due()
            assert await machine.texts() == ["0", "1"]
            assert machine.deployment.runtime.backlog.jobs == len(machine.jobs()) == 1

    run(go())


def test_as_many_run_at_once_as_there_is_room_for(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.call("mutation", "many", delays=[0.0] * 20)
            running = most = 0
            mutation = machine.deployment.runtime.mutation

            async def counted(call, **options):
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                try:
                    return await mutation(call, **options)
                finally:
                    running -= 1

            machine.deployment.runtime.mutation = counted
            for _ in range(3):
                await machine.scheduler.run_due()
            machine.deployment.runtime.mutation = mutation
            assert most == limits.scheduled_mutations_concurrent_max
            assert await machine.states() == ["success"] * 20

    run(go())


@pytest.mark.parametrize("path", ["looks", "hidden"])
def test_what_is_no_mutation_has_no_more_room_where_mutations_wait(machine, path):
    """A query, and a mutation that a push has made an action of."""
    sleeping = "import asyncio\nfrom camber import *\n@action\n" + (
        "async def hidden(ctx: ActionCtx) -> None:\n    await asyncio.sleep(0.2)\n"
    )
    at_first = "from camber import *\n@mutation\ndef hidden(ctx: MutationCtx) -> None: ...\n"

    async def go():
        async with machine.running(Scheduling.ON):
            await machine.push(become=at_first)
            name = "plan:looks" if path == "looks" else "become:hidden"
            for _ in range(30):
                await machine.call("mutation", "call_later", path=name, delay=0.5, args={})
            await machine.push(become=sleeping)
            most = 0
            runtime = machine.deployment.runtime
            run_query, run_action = runtime.query, runtime.action

            async def counted(run, call):
                nonlocal most
                most = max(most, len(machine.scheduler._running))
                await asyncio.sleep(0.01)
                return await run(call)

            runtime.query = partial(counted, run_query)
            runtime.action = partial(counted, run_action)
            machine.host.move_to(machine.host.now_ns() + 10**9)
            machine.scheduler._wake.set()
            await until(lambda: _jobs(machine), [])
            runtime.query, runtime.action = run_query, run_action
            assert 0 < most <= limits.scheduled_mutations_concurrent_max

    run(go())


async def _jobs(machine):
    return machine.jobs()


def test_actions_that_hang_keep_no_mutation_from_its_time(machine):
    async def go():
        async with machine.running(Scheduling.ON):
            await machine.push(
                slow="import asyncio\nfrom camber import *\n@action\n"
                "async def wait(ctx: ActionCtx) -> None:\n    await asyncio.sleep(3600)\n"
            )
            for _ in range(limits.scheduled_actions_concurrent_max + 5):
                await machine.call("mutation", "call_later", path="slow:wait", delay=0.0, args={})
            await machine.later("note", 0.0, text="in time")
            await until(machine.texts, ["in time"])

    run(go())


@pytest.mark.parametrize("pending", [10, 3000])
def test_what_waits_costs_nothing(machine, monkeypatch, pending):
    async def go():
        async with machine.running():
            await machine.push()
            for _ in range(pending // 10):
                delays = [3600.0 + n for n in range(10)]
                await machine.call("mutation", "many", delays=delays)
            await machine.later("note", 0.0, text="due")
            await machine.later("note", 0.0, text="due too")
            read_rows = []
            scan = type(machine.store.snapshot()).scan

            def counted(self, *args):
                found = scan(self, *args)
                if args[0] == system_tables.JOBS_NUMBER:
                    read_rows.append(len(found))
                return found

            monkeypatch.setattr(type(machine.store.snapshot()), "scan", counted)
            await machine.scheduler.start_due()
            # Two that are due and the next, in pieces of four.
            assert sum(read_rows) <= 4
            await asyncio.wait([each.task for each in machine.scheduler._running.values()])
            read_rows.clear()
            due_ms = await machine.scheduler.start_due()
            assert sum(read_rows) <= 4
            assert due_ms > machine.host.now_ns() / 1e6 + 3500e3

    run(go())


def test_the_loop_sleeps_until_something_is_due_and_is_woken_by_what_is_due_earlier(machine):
    async def go():
        async with machine.running(Scheduling.ON):
            await machine.push()
            looks = 0
            start_due = machine.scheduler.start_due

            async def counted():
                nonlocal looks
                looks += 1
                return await start_due()

            machine.scheduler.start_due = counted
            await machine.later("note", 3600.0, text="far")
            await asyncio.sleep(0)
            await machine.later("note", 0.0, text="now")
            await until(machine.texts, ["now"])
            looks = 0
            # Due later than what the loop sleeps for anyway.
            for _ in range(10):
                await machine.later("note", 7200.0, text="farther")
            assert looks <= 1

    run(go())


def test_how_late_what_ran_began_is_counted(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("note", 0.0, text="x")
            machine.host.move_to(machine.host.now_ns() + 30 * 10**9)
            await machine.scheduler.run_due()
            lateness = machine.scheduler.lateness_s
            assert (lateness.count, round(lateness.total)) == (1, 30)

    run(go())


def test_entries_of_the_log_say_that_a_function_was_scheduled(machine):
    async def go():
        async with machine.running():
            await machine.push()
            await machine.later("note", 0.0, text="x")
            await machine.later("act", 0.0, text="y")
            await machine.scheduler.run_due()
            entries = machine.deployment.runtime.log.after(0)
            origins = [(e.path, e.origin.value) for e in entries if hasattr(e, "origin")]
            assert ("plan:note", "Scheduler") in origins
            assert ("plan:act", "Scheduler") in origins
            assert ("plan:note", "Action") in origins

    run(go())


def test_what_ended_a_week_ago_is_forgotten(machine, monkeypatch):
    monkeypatch.setattr("camber.limits.scheduled_forgotten", 2)

    async def go():
        async with machine.running():
            await machine.push()
            await machine.call("mutation", "many", delays=[0.0] * 5)
            await machine.scheduler.run_due()
            await machine.later("note", 30 * 86400.0, text="to come")
            machine.host.move_to(machine.host.now_ns() + 6 * _DAY_NS)
            await machine.later("note", 0.0, text="young")
            await machine.scheduler.run_due()
            machine.host.move_to(machine.host.now_ns() + _DAY_NS)
            maintenance = Maintenance(
                engine=machine.deployment.engine, history_retention_s=3600, history_bytes_max=2**30
            )
            await maintenance.round()
            assert await machine.states() == ["pending", "success"]

    run(go())


def test_a_cancel_is_in_conflict_with_what_puts_the_job_off(machine):
    """Of the function's own document that changes nothing."""

    async def go():
        async with machine.running():
            await machine.push()
            id = await machine.later("note", 0.0, text="x")
            engine = machine.deployment.engine
            with closing(engine.begin("cancel")) as transaction:
                scheduled.cancel(transaction, id)
                cancelled = transaction.finish()

            def put_off(transaction):
                job = scheduled.find_job(transaction, id)
                assert job is not None
                scheduled.postpone(transaction, job, job.lane, job.due + 1000)

            await write(engine, put_off)
            with pytest.raises(CommitConflict):
                await engine.committer.commit(cancelled)

    run(go())


def test_a_cancel_races_with_the_run_and_one_of_them_wins(machine):
    async def go():
        async with machine.running():
            await machine.push()
            ids = [await machine.later("note", 0.0, text=f"{n}") for n in range(8)]
            await asyncio.gather(
                machine.scheduler.run_due(),
                *(machine.call("mutation", "cancel", id=id) for id in ids),
            )
            states = await machine.states()
            assert set(states) <= {"success", "canceled"}
            ran = [f"{n}" for n, state in enumerate(states) if state == "success"]
            assert sorted(await machine.texts()) == ran
            assert machine.jobs() == []

    run(go())
