"""The query cache and single flight, with an executor whose runs end when a test says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from camber import limits
from camber.host import RealHost
from camber.identity.identity import Anonymous, User, UserIdentity
from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.runtime.executor import Caller, FunctionCall, QueryExecuted
from camber.runtime.function_log import FunctionLog
from camber.runtime.queries import Queries
from camber.runtime.results import Failure, QueryResult
from camber.values.packed import pack, unpack
from tests.engine.harness import opened, rows, run, write

ADA, GRACE = (
    User(UserIdentity(token_identifier=f"i|{name}", subject=name, issuer="i"))
    for name in ("ada", "grace")
)


class Gate:
    """An executor that reads the whole table `t`, and answers when its gate is open."""

    def __init__(self, engine, *, personal=False, fails=False, observes=False):
        self.engine = engine
        self.observes = observes
        self.personal = personal
        self.fails = fails
        self.runs = 0
        self.open = asyncio.Event()
        self.open.set()

    async def query(self, call, ts):
        self.runs += 1
        transaction = self.engine.begin(call.path, ts=ts)
        value = len(rows(transaction, "t"))
        reads: ReadSet = transaction.finish().reads
        transaction.close()
        await self.open.wait()
        who = "" if isinstance(call.identity, Anonymous) else call.identity.user.subject
        return QueryExecuted(
            result=QueryResult(
                ts=ts,
                packed=None if self.fails else pack(f"{value} {who if self.personal else ''}"),
                failure=Failure(message="no", data=None, headline="no") if self.fails else None,
                log_lines=(),
                journal=None,
            ),
            reads=reads,
            read_identity=self.personal,
            observed_time=self.observes,
        )


class Watching:
    def __init__(self):
        self.told = []

    def invalidated(self, result):
        self.told.append(result)


def call(identity=Anonymous(), path="q:f", arguments=b"", **more):  # noqa: B008
    return FunctionCall(
        path=path,
        arguments=arguments,
        identity=identity,
        caller=Caller.CLIENT,
        request_id="",
        **more,
    )


def with_gate(tmp_path, test, **options):
    async def main():
        async with opened(tmp_path) as engine:
            await write(engine, lambda tx: tx.insert("t", {}))
            gate = Gate(engine, **options)
            executor: Any = gate
            await test(
                engine,
                gate,
                Queries(engine=engine, executor=executor, log=FunctionLog(engine.host)),
            )

    run(main())


async def _together(queries, engine, *calls, gate):
    gate.open.clear()
    waiting = [asyncio.ensure_future(queries.run(each, engine.newest_ts)) for each in calls]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gate.open.set()
    return await asyncio.gather(*waiting)


def test_a_run_that_has_just_landed_is_not_joined_again_and_again(tmp_path):
    """Its task is done, but the loop has not told anybody yet."""

    async def test(engine, gate, queries):
        gate.open.clear()
        first = asyncio.ensure_future(queries.run(call(), engine.newest_ts))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert gate.runs == 1
        await write(engine, lambda tx: tx.insert("t", {}))
        go = asyncio.Event()

        async def ask_later():
            await go.wait()
            return await queries.run(call(), engine.newest_ts)

        second = asyncio.ensure_future(ask_later())
        await asyncio.sleep(0)
        gate.open.set()
        go.set()
        assert [unpack((await each).packed) for each in (first, second)] == ["1 ", "2 "]
        assert gate.runs == 2

    with_gate(tmp_path, test)


def test_equal_requests_run_once(tmp_path):
    async def test(engine, gate, queries):
        results = await _together(queries, engine, *[call(ADA), call(GRACE), call()], gate=gate)
        assert gate.runs == 1
        assert len({id(result) for result in results}) == 1
        await queries.run(call(), engine.newest_ts)
        assert gate.runs == 1

    with_gate(tmp_path, test)


def test_two_users_at_one_gate_get_their_own(tmp_path):
    async def test(engine, gate, queries):
        for _ in range(2):
            ada, grace, nobody, ada_again = await _together(
                queries, engine, call(ADA), call(GRACE), call(), call(ADA), gate=gate
            )
            assert [unpack(r.packed) for r in (ada, grace, nobody)] == ["1 ada", "1 grace", "1 "]
            assert ada_again is ada
        assert gate.runs == 3

    with_gate(tmp_path, test, personal=True)


def test_other_arguments_journals_and_callers_are_other_requests(tmp_path):
    async def test(engine, gate, queries):
        await queries.run(call(), engine.newest_ts)
        await queries.run(call(path="q:g"), engine.newest_ts)
        await queries.run(call(journal="j"), engine.newest_ts)
        assert gate.runs == 3

    with_gate(tmp_path, test)


def test_a_result_holds_until_a_commit_touches_it(tmp_path):
    async def test(engine, gate, queries):
        first_ts = engine.newest_ts
        first = await queries.run(call(), first_ts)
        await write(engine, lambda tx: tx.insert("elsewhere", {}))
        assert await queries.run(call(), engine.newest_ts) is first
        _, ts = await write(engine, lambda tx: tx.insert("t", {}))
        assert (first.valid_until, first.holds_at(ts - 1), first.holds_at(ts)) == (ts, True, False)
        second = await queries.run(call(), ts)
        assert unpack(second.packed) == "2 "
        # Asked for at the older moment, it is what it was then.
        assert unpack((await queries.run(call(), first_ts)).packed) == "1 "

    with_gate(tmp_path, test)


def test_a_commit_during_a_run_is_seen(tmp_path):
    async def test(engine, gate, queries):
        gate.open.clear()
        running = asyncio.ensure_future(queries.run(call(), engine.newest_ts))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        _, ts = await write(engine, lambda tx: tx.insert("t", {}))
        gate.open.set()
        result = await running
        assert (result.valid_until, unpack(result.packed)) == (ts, "1 ")
        assert unpack((await queries.run(call(), ts)).packed) == "2 "

    with_gate(tmp_path, test)


def test_failures_are_not_kept_for_others(tmp_path):
    async def test(engine, gate, queries):
        await queries.run(call(), engine.newest_ts)
        await queries.run(call(), engine.newest_ts)
        assert gate.runs == 2

    with_gate(tmp_path, test, fails=True)


def test_the_cache_is_bounded_and_keeps_what_is_watched(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "query_cache_bytes_max", 5000)

    async def test(engine, gate, queries):
        watched = await queries.run(call(path="q:watched"), engine.newest_ts)
        watched.watch(Watching())
        for number in range(50):
            await queries.run(call(path=f"q:f{number}"), engine.newest_ts)
        assert queries._cached_bytes <= 5000
        assert await queries.run(call(path="q:watched"), engine.newest_ts) is watched
        assert watched.valid_until is None

    with_gate(tmp_path, test)


def test_what_was_asked_for_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "query_cache_bytes_max", 100_000)

    async def test(engine, gate, queries):
        for number in range(50):
            large = pack({"text": f"{number}" + "x" * 10_000})
            await queries.run(call(arguments=large), engine.newest_ts)
        assert len(queries._cache) < 10
        assert queries._cached_bytes <= 100_000
        for result in list(queries._cache.values()):
            queries._forget(result)
        assert queries._cached_bytes == 0

    with_gate(tmp_path, test)


def test_a_result_can_be_watched_though_the_cache_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "query_cache_bytes_max", 100)

    async def test(engine, gate, queries):
        for number in range(10):
            result = await queries.run(call(path=f"q:f{number}"), engine.newest_ts)
            # Were it gone already, its session would ask again, and again.
            assert result.valid_until is None
            result.watch(Watching())
        assert gate.runs == 10

    with_gate(tmp_path, test)


def test_a_run_that_breaks_is_told_to_all_who_wait(tmp_path):
    async def test(engine, gate, queries):
        async def broken(call, ts):
            await asyncio.sleep(0)
            raise RuntimeError("broken")

        gate.query = broken
        waiting = [queries.run(call(), engine.newest_ts) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(result) for result in results] == ["broken"] * 3
        assert queries._flights == {}

    with_gate(tmp_path, test)


@pytest.mark.parametrize("clients", [8])
def test_conflicting_mutations_all_succeed(tmp_path, clients):
    """A hot counter: retried until each has counted, or told that it has lost too often."""
    from camber.errors import WriteConflict
    from tests.releases.harness import Deployed

    counter = """
        from camber import *

        @mutation
        def add(ctx: MutationCtx) -> int:
            found = ctx.db.query("counter").first()
            if found is None:
                ctx.db.insert("counter", {"n": 1})
                return 1
            ctx.db.patch(found["_id"], n=found["n"] + 1)
            return found["n"] + 1

        @query
        def read(ctx: QueryCtx) -> int:
            found = ctx.db.query("counter").first()
            return 0 if found is None else found["n"]
    """

    async def main():
        async with Deployed(tmp_path) as it:
            await it.push(counter=counter)
            lost = 0

            async def client():
                nonlocal lost
                for _ in range(5):
                    try:
                        await it.run("mutation", "counter:add")
                    except WriteConflict:
                        lost += 1

            await asyncio.gather(*(client() for _ in range(clients)))
            assert await it.run("query", "counter:read") == clients * 5 - lost

    asyncio.run(main())


class SetClock(RealHost):
    """A clock that stands where a test puts it, in seconds."""

    now_s = 1000.0

    def now_ns(self):
        return int(self.now_s * 1e9)


def test_what_read_the_clock_grows_old_for_new_requests_only(tmp_path):
    async def test(engine, gate, queries):
        engine.host = clock = SetClock()
        first = await queries.run(call(), engine.newest_ts)
        watcher = Watching()
        first.watch(watcher)
        clock.now_s += 16.999
        assert await queries.run(call(), engine.newest_ts) is first
        clock.now_s += 0.001
        second = await queries.run(call(), engine.newest_ts)
        assert second is not first
        assert await queries.run(call(), engine.newest_ts) is second
        assert gate.runs == 2
        # Who watches the first is told nothing, however old it is, until its data changes.
        assert (watcher.told, first.valid_until) == ([], None)
        await write(engine, lambda tx: tx.insert("t", {}))
        assert watcher.told == [first]
        # A clock that was set back makes nothing last.
        third = await queries.run(call(), engine.newest_ts)
        clock.now_s -= 1
        assert await queries.run(call(), engine.newest_ts) is not third

    with_gate(tmp_path, test, observes=True)


def test_age_counts_from_when_a_result_was_asked_for(tmp_path):
    async def test(engine, gate, queries):
        engine.host = clock = SetClock()
        gate.open.clear()
        running = asyncio.ensure_future(queries.run(call(), engine.newest_ts))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.now_s += 5
        gate.open.set()
        first = await running
        clock.now_s += 12
        assert await queries.run(call(), engine.newest_ts) is not first

    with_gate(tmp_path, test, observes=True)


def test_what_did_not_read_the_clock_does_not_grow_old(tmp_path):
    async def test(engine, gate, queries):
        engine.host = clock = SetClock()
        first = await queries.run(call(), engine.newest_ts)
        clock.now_s += 10**6
        assert await queries.run(call(), engine.newest_ts) is first

    with_gate(tmp_path, test)


def test_an_old_result_is_forgotten_with_its_last_watcher(tmp_path):
    async def test(engine, gate, queries):
        engine.host = clock = SetClock()
        first = await queries.run(call(), engine.newest_ts)
        watcher = Watching()
        first.watch(watcher)
        clock.now_s += 17
        second = await queries.run(call(), engine.newest_ts)
        held = queries._cached_bytes
        queries.unwatch(first, watcher)
        assert queries._cached_bytes == held - first.size_bytes
        assert await queries.run(call(), engine.newest_ts) is second

    with_gate(tmp_path, test, observes=True)


@pytest.mark.parametrize("step", ["stale", "remove"])
def test_after_a_bug_of_the_bookkeeping_nothing_holds_and_all_who_watch_are_told(
    tmp_path, monkeypatch, caplog, step
):
    async def test(engine, gate, queries):
        asked = [call(path=f"q:{name}") for name in "fgh"]
        watching = Watching()
        results = [await queries.run(each, engine.newest_ts) for each in asked]
        for result in results[:2]:
            result.watch(watching)
        with monkeypatch.context() as broken:
            broken.setattr(Subscriptions, step, lambda self, _: [][len(self)])
            # The search ends at once, or at the first that is to be taken out.
            await write(engine, lambda tx: tx.insert("t", {}))
        assert sorted(map(id, watching.told)) == sorted(map(id, results[:2]))
        assert not any(result.holds_at(engine.newest_ts) for result in results)
        assert (queries.results_watched, queries.cached_bytes) == (0, 0)
        again = [await queries.run(each, engine.newest_ts) for each in asked]
        assert [unpack(result.packed) for result in again] == ["2 "] * 3
        # It goes on as before.
        await write(engine, lambda tx: tx.insert("t", {}))
        assert not any(result.holds_at(engine.newest_ts) for result in again)

    with_gate(tmp_path, test)
    assert "_published, told of commit" in caplog.text
    assert "IndexError" in caplog.text
