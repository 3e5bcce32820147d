"""Scheduled functions: each runs once or is cancelled, in one commit with all that it does.

Clients schedule, cancel and fail while the scheduler starts what is due, a store fails and a clock
goes back; the seed chooses who takes the next step. The judge reads the commits, one after another,
and knows what may follow what.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.deployment.deployment import Deployment
from camber.deployment.instance import temporary_instance
from camber.deployment.settings import DeploymentSettings, Scheduling
from camber.engine import system_tables
from camber.errors import RequestError
from camber.files.memory import MemoryBlobs
from camber.functions.application import Application
from camber.functions.loading import load_application
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.release import InProcessRelease
from camber.storage.store import Commit
from camber.values.packed import pack, unpack
from tests.functions.projects import write_project
from tests.proofs.effort import one_in
from tests.proofs.serial import Failing
from tests.proofs.stepping import SteppedHost, settled
from tests.storage.stores import STORES

_CODE = """
    from camber import *

    class Ran(Table, table="ran"):
        mark: str

    @internal_mutation
    def run(ctx: MutationCtx, mark: str, then: str) -> None:
        ctx.db.insert(Ran(mark=mark))
        if then == "fail":
            raise AppError("as it was told")
        if then == "go on":
            ctx.scheduler.run_after(0, run, f"{mark}+", "end")

    @internal_action
    async def act(ctx: ActionCtx, mark: str) -> None:
        await ctx.run_mutation(run, mark, "end")

    @mutation
    def plan(ctx: MutationCtx, mark: str, then: str, delay: float) -> str:
        if then == "act":
            return ctx.scheduler.run_after(delay, act, mark)
        if then == "undone":
            try:
                ctx.run_mutation(plan_and_fail, mark)
            except AppError:
                then = "end"
        return ctx.scheduler.run_after(delay, run, mark, then)

    @internal_mutation
    def plan_and_fail(ctx: MutationCtx, mark: str) -> None:
        ctx.scheduler.run_after(0, run, f"{mark} undone", "end")
        raise AppError("undone")

    @mutation
    def call_off(ctx: MutationCtx, id: str) -> None:
        ctx.scheduler.cancel(id)
"""
_STEPS_MAX = 20_000
_PATIENCE = 20
_LATER_NS = 3 * 3600 * 10**9

_plans = st.tuples(
    st.sampled_from(["end", "end", "go on", "fail", "undone", "act"]),
    st.sampled_from([0.0, 0.0, 0.0005, 0.002]),
)
#: A function to schedule, or which of those scheduled so far to cancel.
_scripts = st.lists(st.one_of(_plans, st.integers(0, 9)), min_size=1, max_size=6)


@dataclass
class _World:
    deployment: Deployment
    host: SteppedHost
    commits: list[Commit] = field(default_factory=list)
    #: What clients were told that is scheduled.
    told: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def run(self, scripts: Sequence[Sequence[Any]]) -> None:
        """Let clients and the scheduler take their steps until clients have nothing more to do."""
        clients = [
            asyncio.ensure_future(self._client(f"{number}", script))
            for number, script in enumerate(scripts)
        ]
        looking: asyncio.Task[Any] | None = None
        idle = steps = 0
        while idle < _PATIENCE:
            steps += 1
            assert steps < _STEPS_MAX, "it goes round and round"
            await settled()
            possible: list[Callable[[], None]] = list(self.host.possible)
            if all(client.done() for client in clients) and not possible:
                idle += 1
            if looking is None or looking.done():
                if looking is not None:
                    looking.exception()
                looking = None
                possible.append(lambda: None)
            chosen = self.host.choose(possible) if possible else None
            if chosen is None:
                continue
            chosen()
            if looking is None:
                looking = asyncio.ensure_future(self.deployment.scheduler.start_due())
        for client in clients:
            client.result()
        if looking is not None:
            await asyncio.wait([looking])
            looking.exception()

    async def rest(self) -> None:
        """Run all that is left, on a store that is well again, after any pause."""
        self.host.free()
        scheduler = self.deployment.scheduler
        for _ in range(50):
            self.host.set_back(-_LATER_NS // 10**9)
            if scheduler.next_due() is None and not scheduler.is_running:
                return
            await scheduler.run_due()
        msg = "something is due again and again"
        raise AssertionError(msg)

    async def _client(self, name: str, script: Sequence[Any]) -> None:
        for number, step in enumerate(script):
            if isinstance(step, int):
                if self.told:
                    await self._call("call_off", id=self.told[step % len(self.told)])
                continue
            then, delay = step
            id_ = await self._call("plan", mark=f"{name}.{number}", then=then, delay=delay)
            if id_ is not None:
                self.told.append(id_)

    async def _call(self, name: str, **args: Any) -> Any:
        call = FunctionCall(
            path=f"code:{name}",
            arguments=pack(args),
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id="0" * 16,
        )
        try:
            result = await self.deployment.runtime.mutation(call)
        except RequestError:
            # It may have been done nevertheless.
            return None
        assert result.failure is None, result.failure
        assert result.value is not None
        return unpack(result.value)

    def heard(self, commits: Sequence[Commit]) -> None:
        self.commits += commits


#: What a scheduled function may become.
_AFTER: dict[str | None, set[str]] = {
    None: {"pending"},
    "pending": {"inProgress", "success", "failed", "canceled"},
    "inProgress": {"success", "failed", "canceled"},
}


def _judge(world: _World) -> None:
    states: dict[str, str] = {}
    marks: dict[str, str] = {}
    acts: set[str] = set()
    ran: dict[str, int] = {}
    ran_table = world.deployment.engine.catalog.number("ran")
    for commit in world.commits:
        ended: set[str] = set()
        noted: set[str] = set()
        for change in commit.changes:
            document: Any = None if change.after is None else unpack(change.after)
            if change.table == system_tables.SCHEDULED_FUNCTIONS_NUMBER:
                assert document is not None, "forgotten within a week"
                id_, kind = document["_id"], document["state"]["kind"]
                before = states.get(id_)
                # Its arguments never change, and it only goes on.
                mark = document["args"][0]["mark"]
                assert marks.setdefault(id_, mark) == mark
                assert not mark.endswith("undone"), f"{mark} is scheduled in spite of that"
                assert kind in _AFTER.get(before, set()), f"{mark} was {before} and became {kind}"
                assert ("completedTime" in document) == (kind in {"success", "failed", "canceled"})
                states[id_] = kind
                if document["name"] == "code.js:act":
                    acts.add(mark)
                elif kind == "success":
                    ended.add(mark)
                assert kind != "inProgress" or mark in acts, "a mutation is seen while it runs"
            elif change.table == ran_table:
                assert document is not None
                noted.add(document["mark"])
        for mark in noted:
            ran[mark] = ran.get(mark, 0) + 1
        # What a mutation does and that it is done are of one commit.
        assert ended == noted - acts, f"{commit.source} ended {ended}, and {noted} ran"
    for id_, mark in marks.items():
        times = ran.pop(mark, 0)
        assert states[id_] in {"success", "failed", "canceled"}, f"{mark} is left {states[id_]}"
        if mark in acts:
            # One that was cancelled, or whose server had a disk that failed, may have come that far.
            assert times <= 1, f"{mark} ran {times} times"
            assert times == 1 or states[id_] != "success"
        else:
            assert times == (states[id_] == "success"), f"{mark} ran {times} times: {states[id_]}"
    assert not ran, f"{ran} ran and were not scheduled"
    assert set(world.told) <= set(marks), "told that it is scheduled, and it is not"


@functools.cache
def _application() -> Application:
    with tempfile.TemporaryDirectory() as folder:
        root = write_project(Path(folder), code=_CODE)
        (functions,) = [each.name for each in root.iterdir() if each.is_dir()]
        return load_application(root, functions)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@one_in(4)
@given(
    scripts=st.lists(_scripts, min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
    fates=st.lists(
        st.sampled_from(["lands"] * 4 + ["is lost", "lands and complains"]), max_size=12
    ),
)
def test_what_is_scheduled_runs_once_or_is_cancelled(store, scripts, seed, fates):
    async def main(folder: Path) -> None:
        application = _application()
        host = SteppedHost(seed)
        failing: Any = Failing(STORES[store](folder), [])
        deployment = Deployment(
            settings=DeploymentSettings(
                root=application.root,
                functions=application.package,
                data=folder,
                scheduling=Scheduling.WHEN_ASKED,
            ),
            host=host,
            store=failing,
            blobs=MemoryBlobs(),
            instance=temporary_instance("proofs", host),
        )
        try:
            await deployment.pushes.open()
            await deployment.push_release(InProcessRelease(application))
            world = _World(deployment, host)
            deployment.engine.on_publish(world.heard)
            failing.fates = iter(fates)
            host.hold()
            await world.run(scripts)
            failing.fates = iter(())
            await world.rest()
            _judge(world)
        finally:
            host.free()
            await deployment.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
