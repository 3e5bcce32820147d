"""Executor processes: what they run, what they bound, and what is left when one is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings
from camber.errors import RequestError
from camber.functions.loading import LoadError
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall, SessionRequest
from camber.values.packed import pack, unpack
from tests.functions.projects import write_project

CODE = """
    import asyncio, ctypes, os, re, signal, threading, time
    from typing import Any
    from camber import *

    HELD = []
    # A module may start what keeps an interpreter from its end.
    threading.Thread(target=threading.Event().wait).start()

    class Row(Table, table="rows"):
        name: str
        times: int = 0
        by_name = Index("name")

    @mutation
    def add(ctx: MutationCtx, name: str) -> Id[Row]:
        print("adding", name)
        return ctx.db.insert(Row(name=name))

    @mutation
    def add_and_spin(ctx: MutationCtx, name: str) -> None:
        ctx.db.insert(Row(name=name))
        while True:
            pass

    @mutation
    def count_up(ctx: MutationCtx, name: str) -> int:
        row = ctx.db.query(Row).with_index(Row.by_name, name=name).unique()
        if row is None:
            ctx.db.insert(Row(name=name))
            return 0
        ctx.db.patch(row.id, times=row.times + 1)
        return row.times + 1

    @query
    def names(ctx: QueryCtx) -> list[str]:
        return [row.name for row in ctx.db.query(Row)]

    @query
    def pid(ctx: QueryCtx) -> int:
        return os.getpid()

    @query
    def refuses(ctx: QueryCtx) -> None:
        raise AppError({"code": "NO"})

    @query
    def odd_text(ctx: QueryCtx) -> None:
        raise ValueError("caf" + chr(0xDCE9))

    @query
    def calls_itself(ctx: QueryCtx) -> None:
        calls_itself(ctx)

    @query
    def spin(ctx: QueryCtx) -> None:
        ctx.db.query(Row).first()
        while True:
            pass

    @query
    def spin_on(ctx: QueryCtx) -> None:
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    @query
    def counts(ctx: QueryCtx) -> bool:
        return sum(range(10**13)) > 0

    @mutation
    def schedules(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(3600, add, name="scheduled")

    @action
    async def schedules_too(ctx: ActionCtx) -> None:
        await ctx.scheduler.run_after(3600, add, name="scheduled")

    @query
    def waits(ctx: QueryCtx) -> None:
        signal.sigwait([signal.SIGUSR1])

    @query
    def busy(ctx: QueryCtx) -> int:
        return sum(i * i for i in range(1_500_000))

    @query
    def crashes(ctx: QueryCtx) -> None:
        ctypes.string_at(0)

    @query
    def crashes_once(ctx: QueryCtx, mark: str) -> str:
        # The one who makes the mark ends; files are refused, and this is no mistake.
        if ctypes.CDLL(None).mkdir(mark.encode(), 0o700) == 0:
            ctypes.string_at(0)
        return "again"

    @query
    def takes(ctx: QueryCtx, mebibytes: int) -> int:
        return len(bytearray(mebibytes * 2**20))

    @query
    def keeps(ctx: QueryCtx, mebibytes: int, number: int) -> int:
        HELD.append(bytearray(mebibytes * 2**20))
        return os.getpid()

    @query
    def large(ctx: QueryCtx) -> str:
        return "x" * (17 * 2**20)

    @action
    async def where(ctx: ActionCtx) -> int:
        return os.getpid()

    @action
    async def adds(ctx: ActionCtx, name: str) -> list[str]:
        await ctx.run_mutation(add, name=name)
        return await ctx.run_query(names)

    @action
    async def adds_later(ctx: ActionCtx, name: str) -> None:
        await asyncio.sleep(0.2)
        await ctx.run_mutation(add, name=name)

    @action
    async def lists(ctx: ActionCtx) -> list[str]:
        return await ctx.run_query(names)

    @action
    async def refused(ctx: ActionCtx) -> Any:
        try:
            await ctx.run_query(refuses)
        except AppError as error:
            return error.data

    @action
    async def naps(ctx: ActionCtx, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @action
    def plain(ctx: SyncActionCtx, name: str) -> list[str]:
        time.sleep(0.01)
        ctx.run_mutation(add, name=name)
        return ctx.run_query(names)

    @action
    async def blocks(ctx: ActionCtx, mark: str) -> str:
        while not os.path.exists(mark):
            time.sleep(0.01)
        return "blocked"

    @action
    async def blocks_in_a_task(ctx: ActionCtx, mark: str) -> str:
        async def stand() -> None:
            while not os.path.exists(mark):
                time.sleep(0.01)
        await asyncio.create_task(stand())
        return "blocked"

    @action
    async def dies(ctx: ActionCtx) -> None:
        await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)

    @action
    async def cleans_up(ctx: ActionCtx) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await ctx.run_mutation(add, name="cleaned up")
"""


def call_of(path, **args):
    return FunctionCall(
        path=f"code:{path}",
        arguments=pack(args),
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="0123456789abcdef",
    )


async def until(holds):
    """Return once something is so that another process makes so."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


class Running:
    """A deployment with two executors, on an event loop of its own."""

    def __init__(self, root, executors=2, code=CODE):
        self.root = write_project(root, code=code)
        self.folder = load_project(self.root).functions_path
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.executors = executors
        self.deployment = self.wait(self.open())

    async def open(self):
        project = load_project(self.root)
        deployment = await Deployment.open(
            DeploymentSettings(
                root=self.root,
                functions=project.functions,
                data=self.root / "data",
                executors=self.executors,
            ),
            RealHost(),
        )
        await deployment.push()
        return deployment

    def wait(self, coroutine, timeout=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    async def result(self, kind, path, **args):
        return await getattr(self.deployment.runtime, kind)(call_of(path, **args))

    async def value(self, kind, path, **args):
        result = await self.result(kind, path, **args)
        assert result.failure is None, result.failure.message
        return unpack(result.packed if kind == "query" else result.value)

    async def failure(self, kind, path, **args):
        result = await self.result(kind, path, **args)
        assert result.failure is not None
        return result.failure.message

    async def pids(self):
        """The processes of the serving release, once all of them are there."""
        release = self.deployment.releases.newest
        await until(lambda: len(release.transactions.pids) == self.executors)
        return set(release.transactions.pids)

    async def kill_one(self):
        """Kill a process that runs transactions; one that has ended by itself does not count."""
        while True:
            for pid in self.deployment.releases.newest.transactions.pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    # Listed until the server hears of it, on the loop that this runs on.
                    continue
                return
            await asyncio.sleep(0.01)

    def close(self):
        self.wait(self.deployment.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def it(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("executors"))
    yield running
    running.close()


@contextmanager
def limit(name, value):
    before = getattr(limits, name)
    setattr(limits, name, value)
    try:
        yield
    finally:
        setattr(limits, name, before)


# What they run.


def test_functions_run_outside_the_server(it):
    assert it.wait(it.value("query", "pid")) in it.wait(it.pids())
    assert it.wait(it.value("action", "where")) not in it.wait(it.pids()) | {os.getpid()}


def test_mutations_queries_and_actions_see_what_was_written(it):
    result = it.wait(it.result("mutation", "add", name="one"))
    assert result.log_lines == ("[LOG] 'adding' 'one'",)
    assert "one" in it.wait(it.value("query", "names"))
    assert "two" in it.wait(it.value("action", "adds", name="two"))
    assert "three" in it.wait(it.value("action", "plain", name="three"))
    assert it.wait(it.value("action", "refused")) == {"code": "NO"}


def test_those_that_count_one_row_up_take_turns_while_processes_are_lost(it):
    """Each is sent twice at once, as after a lost connection, and counts once."""

    async def main():
        done = 0

        async def counts(client):
            nonlocal done
            answers = []
            for n in range(25):
                request = SessionRequest(session=f"counts {client}", request=n)
                run = it.deployment.runtime.mutation
                twice = await asyncio.gather(
                    *(run(call_of("count_up", name="hot"), session=request) for _ in range(2))
                )
                assert [each.failure for each in twice] == [None, None]
                assert twice[0].value == twice[1].value
                assert twice[0].ts == twice[1].ts
                answers.append(unpack(twice[0].value))
                done += 1
            return answers

        async def kills():
            for n in (20, 60, 100):
                await until(lambda n=n: done >= n)
                await it.kill_one()

        *answers, _ = await asyncio.gather(*(counts(client) for client in range(6)), kills())
        return answers

    answers = it.wait(main())
    # Every client sees it grow, and no number is given out twice.
    assert all(each == sorted(each) for each in answers)
    assert sorted(n for each in answers for n in each) == list(range(150))


def test_what_would_schedule_more_than_may_wait_is_refused(it):
    with limit("functions_waiting_max", 1):
        it.wait(it.value("mutation", "schedules"))
        with pytest.raises(RequestError) as told:
            it.wait(it.result("mutation", "schedules"))
        assert told.value.code == "TooManyFunctionsWaiting"
        failure = it.wait(it.failure("action", "schedules_too"))
        assert "code:schedules_too asked of its scheduler: TooManyFunctionsWaiting" in failure
        # Others are none of its business.
        it.wait(it.value("mutation", "add", name="though none may wait"))
        assert it.wait(it.deployment.scheduler.cancel_all(None, "")) == 1
        it.wait(it.value("action", "schedules_too"))
    it.wait(it.deployment.scheduler.cancel_all(None, ""))


def test_failures_name_the_frames_of_the_application(it):
    failure = it.wait(it.result("query", "refuses")).failure
    assert unpack(failure.data) == {"code": "NO"}
    assert 'Uncaught ConvexError: {"code":"NO"}' in failure.message
    assert "/code.py:" in failure.message


def test_text_that_no_encoding_has_is_told_nevertheless(it):
    assert "Uncaught ValueError: caf\\udce9" in it.wait(it.failure("query", "odd_text"))


def test_a_function_that_calls_itself_is_told_in_a_few_lines(it):
    failure = it.wait(it.failure("query", "calls_itself"))
    assert "RecursionError" in failure
    assert "the same" in failure
    assert failure.count("\n") < 12


def test_hundreds_of_actions_wait_at_once(it):
    async def many():
        return await asyncio.gather(*(it.value("action", "naps", seconds=0.3) for _ in range(300)))

    assert it.wait(many()) == ["slept"] * 300


def test_a_release_that_does_not_load_says_where(it, tmp_path):
    backend = it.folder
    (backend / "broken.py").write_text("import nothing_such\n")
    try:
        with pytest.raises(LoadError, match=r"/broken\.py:1: ModuleNotFoundError"):
            it.wait(it.deployment.push())
    finally:
        (backend / "broken.py").unlink()
    assert it.wait(it.value("query", "pid"))


def test_what_is_saved_later_is_not_what_a_new_process_loads(it):
    file = it.folder / "code.py"
    text = file.read_text()
    file.write_text("this is no Python\n")
    try:
        before = it.wait(it.pids())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert it.wait(it.value("query", "names")) == it.wait(it.value("action", "lists"))
        assert not before & it.wait(it.pids())
    finally:
        file.write_text(text)


# What they bound.


def test_a_loop_without_end_is_interrupted_and_told(it):
    failure = it.wait(it.failure("query", "spin"))
    assert "UserTimeout: the function used 1 s of processor time" in failure
    assert "/code.py:" in failure
    assert "in spin" in failure


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_processes_that_are_left_end(it):
    def known():
        pools = it.deployment.runtime.executor.pools
        return {pid for pool in pools for pid in (*pool.transactions.pids, *pool.actions.pids)}

    def children():
        tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
        found = {pid for task in tasks for pid in _children(task)}
        return {pid for pid in found if _is_executor(pid)}

    async def gone():
        await it.failure("query", "spin")
        await until(lambda: len(known()) >= 2 and children() <= known())

    it.wait(gone())


def _children(task):
    try:
        return [int(pid) for pid in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        # A thread that has ended since it was listed; its children are another's now.
        return []


def _is_executor(pid):
    try:
        return b"camber.deployment.executor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_mutation_that_is_interrupted_writes_nothing(it):
    assert "UserTimeout" in it.wait(it.failure("mutation", "add_and_spin", name="never"))
    assert "never" not in it.wait(it.value("query", "names"))


@pytest.mark.parametrize("path", ["spin_on", "counts"])
def test_what_cannot_be_interrupted_is_ended(it, path):
    failure = it.wait(it.failure("query", path))
    assert f"UserTimeout: code:{path} used 1 s of processor time" in failure
    assert "ended with its process" in failure
    assert it.wait(it.value("query", "pid"))


def test_a_wait_without_end_is_ended(it):
    with limit("transaction_s_end", 0.5):
        failure = it.wait(it.failure("query", "waits"))
    assert "UserTimeout: code:waits has run for" in failure
    assert it.wait(it.value("query", "pid"))


def test_memory_is_bounded(it):
    assert it.wait(it.value("query", "takes", mebibytes=100)) == 100 * 2**20
    failure = it.wait(it.failure("query", "takes", mebibytes=800))
    assert "OutOfMemory: code:takes used more than 512 MiB of memory" in failure
    assert it.wait(it.value("query", "takes", mebibytes=101)) == 101 * 2**20


def test_a_process_that_keeps_memory_is_replaced_before_it_harms(it):
    async def keep():
        # More than all processes may keep together, and never too much at once.
        return {await it.value("query", "keeps", mebibytes=4, number=n) for n in range(300)}

    assert len(it.wait(keep())) > 2


def test_a_result_that_is_too_large_is_refused(it):
    assert "the result of code:large is larger" in it.wait(it.failure("query", "large"))


# Who is lost, and who is not.


def test_a_slow_query_holds_up_nobody_else(it):
    async def mixed():
        slow = asyncio.create_task(it.failure("query", "spin"))
        answers = []
        while not slow.done():
            answers.append(await it.value("mutation", "add", name="meanwhile"))
        assert "UserTimeout" in await slow
        return answers

    assert len(it.wait(mixed())) > 10


def test_a_crash_is_repeated_and_then_told(it):
    failure = it.wait(it.failure("query", "crashes"))
    assert "TransactionLost: code:crashes ended its process, 3 times" in failure
    assert len(it.wait(it.pids())) == 2


def test_a_run_whose_process_is_lost_is_run_again(it, tmp_path):
    assert it.wait(it.value("query", "crashes_once", mark=str(tmp_path / "mark"))) == "again"


def test_nobody_notices_that_processes_are_killed(it):
    async def killing():
        written = 0

        async def write(client):
            nonlocal written
            for number in range(25):
                await it.value("mutation", "add", name=f"client {client} {number}")
                written += 1
                if written % 20 == 0:
                    await it.kill_one()

        await asyncio.gather(*(write(client) for client in range(8)))
        names = await it.value("query", "names")
        return [name for name in names if name.startswith("client")]

    assert len(it.wait(killing())) == 200


def test_an_action_goes_on_when_whoever_asked_has_gone(it):
    async def leave():
        asking = asyncio.create_task(it.result("action", "adds_later", name="left behind"))
        pool = it.deployment.releases.newest.actions
        await until(lambda: any(seat.jobs for seat in pool._seats.values()))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not pool._idle.is_set()
        await pool._idle.wait()
        assert "left behind" in await it.value("query", "names")

    it.wait(leave())


def test_an_action_whose_process_is_lost_says_so(it):
    async def all_():
        naps = [it.result("action", "naps", seconds=2) for _ in range(6)]
        return await asyncio.gather(it.result("action", "dies"), *naps)

    results = it.wait(all_())
    lost = [result.failure.message for result in results if result.failure is not None]
    assert all("ActionLost: code:" in message and "SIGKILL" in message for message in lost)
    # Itself, and at least what was in its process by the rule of the least loaded.
    assert results[0].failure is not None
    assert len(lost) > 1
    assert it.wait(it.value("action", "naps", seconds=0)) == "slept"


def test_a_blocked_loop_is_named_and_gets_no_new_work(it, caplog, tmp_path):
    mark = tmp_path / "mark"

    async def both():
        blocked = asyncio.create_task(it.value("action", "blocks", mark=str(mark)))
        await until(lambda: any("is blocked by code:blocks" in text for text in caplog.messages))
        # Another process takes what comes now, while the first still stands.
        assert await it.value("action", "naps", seconds=0) == "slept"
        mark.touch()
        return await blocked

    assert it.wait(both()) == "blocked"
    assert any("/code.py:" in text and "in blocks" in text for text in caplog.messages)


@contextmanager
def _stopped(pid):
    """Let the system give a process no time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_process_that_stands_still_is_told_of_if_something_runs_in_it(it, caplog):
    async def all_():
        assert await it.value("action", "naps", seconds=0) == "slept"
        seats = it.deployment.releases.newest.actions._seats
        # What was told of before has gone on.
        await until(lambda: not any(each.is_told for each in seats.values()))
        caplog.clear()
        (seat, *_) = seats.values()
        with _stopped(seat.process.pid):
            await until(lambda: seat.is_blocked)
        await until(lambda: not seat.is_blocked)
        assert caplog.messages == []
        napping = asyncio.create_task(it.value("action", "naps", seconds=1))
        await until(lambda: any(each.jobs for each in seats.values()))
        (seat,) = [each for each in seats.values() if each.jobs]
        with _stopped(seat.process.pid):
            await until(lambda: seat.is_blocked)
        await until(lambda: not seat.is_blocked)
        return await napping

    with limit("action_loop_blocked_s", 0.2):
        assert it.wait(all_()) == "slept"
    stood, goes_on = caplog.messages
    assert re.search(
        r"executor \d+: it has stood still for [\d.]+ s while it runs code:naps", stood
    )
    assert "goes on" in goes_on


def test_when_the_whole_machine_stood_still_nobody_is_blamed(it, caplog):
    async def all_():
        assert await it.value("action", "naps", seconds=0) == "slept"
        napping = asyncio.create_task(it.value("action", "naps", seconds=3))
        seats = it.deployment.releases.newest.actions._seats
        await until(lambda: any(each.jobs for each in seats.values()))
        (seat,) = [each for each in seats.values() if each.jobs]
        with _stopped(seat.process.pid):
            time.sleep(1.5)  # noqa: ASYNC251  # the server's own loop
        return await napping

    with limit("action_loop_blocked_s", 0.2):
        assert it.wait(all_()) == "slept"
    assert not [text for text in caplog.messages if "has stood still" in text]


def test_a_loop_that_a_task_of_the_applications_own_blocks_is_told_by_its_line(
    it, caplog, tmp_path
):
    mark = tmp_path / "mark"

    async def all_():
        blocked = asyncio.create_task(it.value("action", "blocks_in_a_task", mark=str(mark)))
        await until(lambda: any("is blocked at" in text for text in caplog.messages))
        mark.touch()
        return await blocked

    assert it.wait(all_()) == "blocked"
    assert any("/code.py:" in text and "in stand" in text for text in caplog.messages)
    assert not any("Task-" in text for text in caplog.messages)


def test_an_action_that_does_not_end_at_its_deadline_is_ended(it):
    # Its process does not know of the limit that is changed here, and lets it run.
    with limit("action_s_max", 0.2), limit("action_overdue_s", 0.1):
        message = it.wait(it.failure("action", "naps", seconds=30))
    assert "ActionLost: code:naps was lost" in message


def test_actions_may_clean_up_when_the_server_ends(tmp_path):
    running = Running(tmp_path, executors=1)

    async def start():
        task = asyncio.create_task(running.result("action", "cleans_up"))
        pool = running.deployment.releases.newest.actions
        await until(lambda: any(seat.jobs for seat in pool._seats.values()))
        return task

    running.wait(running.value("action", "where"))
    task = running.wait(start())
    running.wait(running.deployment.close())
    result = task.result()
    assert "ActionLost: code:cleans_up was cancelled" in result.failure.message
    running.deployment = running.wait(running.open())
    assert running.wait(running.value("query", "names")) == ["cleaned up"]
    running.close()


def test_processes_end_with_the_deployment(tmp_path):
    running = Running(tmp_path)
    running.wait(running.value("action", "where"))
    pids = running.wait(running.pids())
    running.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_saves_that_do_not_load_leave_the_copy_that_serves(tmp_path):
    running = Running(tmp_path, executors=1)
    try:
        for number in range(18):
            (running.folder / "broken.py").write_text(f"import nothing_{number}\n")
            with pytest.raises(LoadError):
                running.wait(running.deployment.push())
        for pid in running.wait(running.pids()):
            os.kill(pid, signal.SIGKILL)
        assert running.wait(running.value("query", "names")) == []
    finally:
        running.close()


def test_pushes_leave_no_processes_behind(tmp_path):
    with limit("executor_linger_s", 0.05):
        running = Running(tmp_path)
        try:
            before = running.deployment.engine.newest_ts
            for number in range(4):
                (running.folder / "more.py").write_text(f"NUMBER = {number}\n")
                running.wait(running.deployment.push())
                assert running.wait(running.value("action", "where"))
            pools = running.deployment.runtime.executor.pools

            def processes():
                return sum(len(p.transactions.pids) + len(p.actions.pids) for p in pools)

            running.wait(until(lambda: processes() == 3))
            # What is asked at an older timestamp runs on the release of then, started again for it.
            serving = running.wait(running.pids())
            call = call_of("pid")
            older = running.wait(running.deployment.runtime.query(call, ts=before))
            assert unpack(older.packed) not in serving
            running.wait(until(lambda: processes() == 3))
        finally:
            running.close()


def test_when_no_process_starts_requests_are_told_why(tmp_path):
    running = Running(tmp_path, executors=1)
    try:
        (pid,) = running.wait(running.pids())
        # As if the sources were gone, or the machine had no memory left.
        for copy in (running.root / "data" / "loaded").iterdir():
            (copy / running.folder.name / "code.py").write_text("raise RuntimeError('no memory')\n")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RequestError) as told:
            running.wait(running.result("query", "names"))
        assert told.value.code == "BackendIsNotRunning"
        assert "no memory" in str(told.value)
    finally:
        running.close()
