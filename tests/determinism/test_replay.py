"""Queries and mutations are functions of what they read, a moment and a seed.

The clock is checked against arithmetic on the moment, chance against a second run.
"""

from __future__ import annotations

import dataclasses
import random
import sys
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camber.engine.transaction import Transaction
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.mutations import Mutations
from camber.values.packed import pack, unpack
from tests.functions.projects import project_app

MODULE = """
    import datetime as dt
    import os, random, secrets, time, uuid
    from datetime import date, datetime
    from os import urandom
    from random import choice, random as draw, Random, SystemRandom
    from secrets import token_hex
    from time import monotonic, time as now
    from uuid import uuid4

    from camber import *

    @query
    def look(ctx: QueryCtx, steps: list[str]) -> list[str]:
        seen = [repr(eval(step)) for step in steps]
        print(*seen)
        return seen

    @mutation
    def change(ctx: MutationCtx, steps: list[str]) -> list[str]:
        return ctx.run_query(look, steps=steps[:1]) + ctx.run_query(look, steps=steps[1:])
"""

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # all in whole numbers from here


def _moment(ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=ns // 1000)


#: Each reads the clock, and what it must show.
CLOCKS = {
    "time.time_ns()": lambda ns: ns,
    "time.monotonic_ns()": lambda ns: ns,
    "time.clock_gettime_ns(time.CLOCK_REALTIME)": lambda ns: ns,
    "time.time()": lambda ns: ns / 1e9,
    "now()": lambda ns: ns / 1e9,
    "monotonic()": lambda ns: ns / 1e9,
    "time.clock_gettime(time.CLOCK_MONOTONIC)": lambda ns: ns / 1e9,
    "datetime.now(dt.UTC)": lambda ns: _moment(ns).replace(tzinfo=UTC),
    "dt.datetime.utcnow()": _moment,
    "time.gmtime()[:6]": lambda ns: _moment(ns).timetuple()[:6],
    "time.strftime('%Y', time.gmtime())": lambda ns: str(_moment(ns).year),
    "datetime.now() - datetime.today()": lambda _ns: timedelta(0),
    "date.today() == dt.datetime.now().date()": lambda _ns: True,
    "time.ctime() == time.asctime()": lambda _ns: True,
    "uuid.uuid1().time": lambda ns: ns // 100 + 0x01B21DD213814000,
}
#: Each tells something else for every seed.
CHANCE = [
    "random.random()",
    "draw()",
    "Random().random()",
    "SystemRandom().random()",
    "random.SystemRandom().getrandbits(64)",
    "random.gauss(0, 1)",
    "random.sample(range(10**6), 3)",
    "random.randbytes(8)",
    "uuid.uuid4()",
    "uuid4()",
    "uuid.uuid1().node",
    "secrets.token_bytes(8)",
    "token_hex()",
    "secrets.randbelow(10**12)",
    "os.urandom(8)",
    "urandom(8)",
]
#: Neither.
PLAIN = ["time.process_time()", "time.thread_time_ns()", "time.gmtime(0)[:3]", "2 + 2"]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("replay"), m=MODULE) as app:
        yield app


class Seeded(RealHost):
    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def random_bytes(self, count):
        return self.seed[:count]


def replay(app, kind, steps, *, ns, seed):
    engine = app._core.deployment.engine
    runner = dataclasses.replace(
        app._core.deployment.runtime.executor._transactions, host=Seeded(seed)
    )
    transaction = Transaction(
        snapshot=engine.store.snapshot(engine.newest_ts),
        catalog=engine.catalog,
        entropy=engine.host,
        now_ns=ns,
        source="test",
    )
    call = FunctionCall(
        path=f"m:{kind}",
        arguments=pack({"steps": steps}),
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="0",
    )
    with closing(transaction):
        if kind == "look":
            looked = runner.query(call, transaction).result
            value, failure, lines = looked.packed, looked.failure, looked.log_lines
        else:
            changed = runner.mutation(call, None, transaction)
            value, failure, lines = changed.value, changed.failure, changed.log_lines
    assert value is not None, failure
    return value, lines


def seen_by(app, steps, *, ns=0) -> Any:
    return unpack(replay(app, "look", steps, ns=ns, seed=bytes(32))[0])


seeds = st.binary(min_size=32, max_size=32)
moments = st.integers(0, 4 * 10**18)


@given(
    kind=st.sampled_from(["look", "change"]),
    steps=st.lists(st.sampled_from([*CLOCKS, *CHANCE, *PLAIN]), max_size=8),
    ns=moments,
    seed=seeds,
    other=seeds,
)
def test_the_same_moment_and_seed_give_the_same_bytes(app, kind, steps, ns, seed, other):
    first = replay(app, kind, steps, ns=ns, seed=seed)
    # Whatever the rest of the process does in between.
    random.seed(len(steps))
    uuid.uuid1()
    assert replay(app, kind, steps, ns=ns, seed=seed) == first
    if seed != other and any(step in CHANCE for step in steps):
        assert replay(app, kind, steps, ns=ns, seed=other) != first


@example(steps=["time.gmtime()[:6]", "datetime.now(dt.UTC)"], ns=15_624_999_999_999_999)
@given(steps=st.lists(st.sampled_from([*CLOCKS, *CHANCE]), min_size=1, max_size=8), ns=moments)
def test_clocks_show_the_moment_however_often_they_are_read(app, steps, ns):
    seen = seen_by(app, steps, ns=ns)
    for step, shown in zip(steps, seen, strict=True):
        if step in CLOCKS:
            assert shown == repr(CLOCKS[step](ns)), step


def test_draws_of_one_run_differ(app):
    for step in CHANCE:
        assert len(set(seen_by(app, [step] * 20))) == 20, step


def test_nested_calls_go_on_where_their_caller_is(app):
    steps = ["random.random()", "random.random()", "os.urandom(8)", "os.urandom(8)"]
    alone = replay(app, "look", steps, ns=7, seed=bytes(32))
    nested = replay(app, "change", steps, ns=7, seed=bytes(32))
    assert alone[0] == nested[0]


def test_runs_draw_seeds_of_their_own(app):
    drawn = [app.mutation("m:change", steps=["random.random()", "uuid4()"]) for _ in range(20)]
    assert len({tuple(each) for each in drawn}) == 20


def test_the_performance_counter_advances_in_mutations_only(tmp_path):
    code = """
        import time
        from camber import *

        def measure() -> int:
            before, until = time.perf_counter_ns(), 0
            for until in range(10_000):
                if time.perf_counter() * 1e9 > before + 1_000_000:
                    break
            return time.perf_counter_ns() - before

        @query
        def look(ctx: QueryCtx) -> int:
            return measure()

        @mutation
        def change(ctx: MutationCtx) -> int:
            return measure()
    """
    with project_app(tmp_path, m=code) as app:
        assert app.query("m:look") == 0
        assert app.mutation("m:change") > 0


def test_each_attempt_has_a_seed_and_a_moment_of_its_own(tmp_path):
    code = """
        import random, time
        from camber import *

        seen = []

        @mutation
        def change(ctx: MutationCtx) -> int:
            seen.append((random.random(), time.time_ns()))
            ctx.db.insert("t", {})
            return ctx.db.query("t").count()
    """
    with project_app(tmp_path, m=code) as app:
        app.mutation("m:change")
        deployment = app._core.deployment
        _, call = app._core.call("m:change", (), {}, app._identity)
        executor: Any = Overtaken(deployment.runtime.executor, call)
        runtime = deployment.runtime
        racing = Mutations(
            engine=deployment.engine, executor=executor, log=runtime.log, backlog=runtime.backlog
        )
        result = app._core.wait(racing.run(call, None))
        seen = sys.modules[app._core.application.package + ".m"].seen
    assert unpack(result.value) == 3
    # The first, the one that was overtaken, who overtook it, and its second attempt.
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [4, 4]


class Overtaken:
    """An executor whose first mutation loses to another, which commits while it runs."""

    def __init__(self, executor, call):
        self.executor = executor
        self.call = call
        self.attempts = 0

    async def mutation(self, call, session, ahead):
        executed = await self.executor.mutation(call, session, ahead)
        self.attempts += 1
        if self.attempts == 1:
            other = await self.executor.mutation(self.call, None, None)
            await self.executor._engine.committer.commit(other.transaction)
        return executed


def test_between_runs_clocks_and_chance_are_real(app):
    """On the very thread that runs them."""
    thread = app._core.deployment.runtime.executor._transaction_thread

    async def look():
        return await thread.run(lambda: (time.time_ns(), uuid.uuid4(), random.random()))

    app.query("m:look", steps=["random.random()"])
    first = app._core.wait(look())
    app.query("m:look", steps=["random.random()", "now()"])
    second = app._core.wait(look())
    assert len({*first, *second}) == 6
    # The clock of the application under test stands in another year.
    assert abs(second[0] - RealHost().now_ns()) < 60 * 10**9
