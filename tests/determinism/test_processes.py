"""Executor processes: the same conditions, and what was observed comes back with the result."""

from __future__ import annotations

import asyncio
from typing import Any

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.results import QueryResult
from camber.values.packed import pack, unpack
from tests.functions.projects import write_project

MODULE = """
    import random, time, uuid
    from datetime import UTC, datetime
    from typing import Any
    from camber import *

    @query
    def clock(ctx: QueryCtx) -> list[float]:
        return [time.time(), datetime.now(UTC).timestamp(), time.perf_counter()]

    @query
    def stored(ctx: QueryCtx) -> list[Any]:
        return [len(ctx.db.query("notes").collect()), random.random(), time.process_time()]

    @query
    def refused(ctx: QueryCtx) -> None:
        open("/etc/hostname")

    @mutation
    def note(ctx: MutationCtx) -> str:
        ctx.db.insert("notes", {})
        return str(uuid.uuid4())
"""


class ShiftedHost(RealHost):
    """A clock that a test moves on; executors are told the time by the server."""

    shift_s = 0

    def now_ns(self):
        return super().now_ns() + self.shift_s * 10**9


def call(name):
    return FunctionCall(
        path=f"m:{name}",
        arguments=pack({}),
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="0",
    )


def value_of(result) -> Any:
    assert result.failure is None, result.failure
    packed = result.packed if isinstance(result, QueryResult) else result.value
    assert packed is not None
    return unpack(packed)


async def scenario(root):
    host = ShiftedHost()
    functions = (root / "pyproject.toml").read_text().split('"')[1]
    settings = DeploymentSettings(
        root=root, functions=functions, data=root / ".camber", executors=1
    )
    deployment = await Deployment.open(settings, host)
    try:
        await deployment.push()
        query, mutation = deployment.runtime.query, deployment.runtime.mutation
        drawn = {value_of(await mutation(call("note"))) for _ in range(3)}
        assert len(drawn) == 3

        before = host.now_ns() / 1e9
        seen, stored = await query(call("clock")), await query(call("stored"))
        shown = value_of(seen)
        assert before <= shown[0] <= host.now_ns() / 1e9
        assert max(shown) - min(shown) < 1e-5
        assert await query(call("clock")) is seen
        # What reads of the store take is measured meanwhile, by another clock.
        assert stored.observed_ns is None

        host.shift_s = 17
        later = value_of(await query(call("clock")))
        assert later[0] - shown[0] >= 17
        assert await query(call("stored")) is stored

        failure = (await query(call("refused"))).failure
        assert failure is not None
        assert "NoFilesInQueriesOrMutations: open('/etc/hostname') in a query. " in failure.message
    finally:
        await deployment.close()


def test_conditions_hold_in_executor_processes(tmp_path):
    asyncio.run(scenario(write_project(tmp_path, m=MODULE)))
