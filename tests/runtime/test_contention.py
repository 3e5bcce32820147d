"""Mutations that are in each other's way: histories that some serial order explains, and progress.

Programs run on the real engine, committer and queue of turns, over a store that may fail to write or
only say so. The executor is one that lets a run take as many turns of the loop as the test says, so
that every order of beginnings and ends comes up. The oracle is a dict: it replays what was
published, one program after another, in the order of timestamps.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.engine.backlog import Backlog
from camber.engine.engine import Engine
from camber.errors import RequestError, WriteConflict
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.occ.interval import ALL, Order
from camber.runtime.executor import Caller, FunctionCall, MutationExecuted
from camber.runtime.function_log import FunctionLog
from camber.runtime.mutations import Mutations
from camber.runtime.results import Failure
from camber.storage.memory import MemoryStore
from camber.values.packed import pack, unpack
from tests.engine.harness import fields_of, read, rows, write

ACCOUNTS = 4
BALANCE = 10


@dataclass(frozen=True)
class Program:
    """Move money if there is enough, give all accounts what they have on average, or add one."""

    kind: str
    source: int = 0
    target: int = 0
    amount: int = 0

    def on(self, accounts: dict[str, int]) -> Any:
        """Do it to a dict; return what the caller is told. Raises `LookupError` for a failure."""
        if self.kind == "open":
            accounts[f"new {len(accounts)}"] = 0
            return None
        if self.kind == "level":
            total, count = sum(accounts.values()), len(accounts)
            for n, name in enumerate(sorted(accounts)):
                accounts[name] = total // count + (n < total % count)
            return [total, count]
        source, target = f"a{self.source}", f"a{self.target}"
        if accounts[source] < self.amount:
            raise LookupError(accounts[source])
        accounts[source] -= self.amount
        accounts[target] += self.amount
        return [accounts[source], accounts[target]]


class Executor:
    """Runs programs on the loop; a run takes as many turns of it as it is told."""

    def __init__(self, engine, ids, chance):
        self.engine = engine
        self.ids = ids
        self.chance = chance
        self.programs: dict[str, Program] = {}
        self.runs = 0

    async def mutation(self, call, session, ahead):
        self.runs += 1
        await self._pause()
        laid = None if ahead is None else ahead()
        with closing(self.engine.begin(call.path, ahead=laid)) as transaction:
            program = self.programs[call.path]
            try:
                value = pack(self._run(program, transaction))
                failure = None
            except LookupError as error:
                value, failure = None, Failure(message=str(error.args[0]), data=None, headline="")
            finished = transaction.finish()
        await self._pause()
        if failure is not None:
            finished = type(finished)(
                begin_ts=finished.begin_ts,
                reads=finished.reads,
                changes=(),
                source=finished.source,
            )
        return MutationExecuted(value=value, failure=failure, log_lines=(), transaction=finished)

    async def _pause(self):
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    def _run(self, program, tx):
        if program.kind == "open":
            # Knows nothing of the others: a blind write.
            tx.insert("accounts", {"name": "", "balance": 0})
            return None
        if program.kind == "level":
            found = {id_: d for d in rows(tx, "accounts", order=Order.ASC) for id_ in [d["_id"]]}
            total, count = sum(d["balance"] for d in found.values()), len(found)
            by_name = sorted(found, key=lambda id_: (found[id_]["name"], id_))
            # As the oracle has it: what was opened later has a later name.
            by_name.sort(key=lambda id_: found[id_]["name"] == "")
            for n, id_ in enumerate(by_name):
                fields = {
                    "name": found[id_]["name"],
                    "balance": total // count + (n < total % count),
                }
                tx.replace(id_, fields)
            return [total, count]
        source, target = self.ids[program.source], self.ids[program.target]
        one = fields_of(tx.get(source))
        if one["balance"] < program.amount:
            raise LookupError(one["balance"])
        tx.replace(source, {"name": one["name"], "balance": one["balance"] - program.amount})
        other = fields_of(tx.get(target))
        tx.replace(target, {"name": other["name"], "balance": other["balance"] + program.amount})
        return [fields_of(tx.get(source))["balance"], fields_of(tx.get(target))["balance"]]


class Troubled(MemoryStore):
    """A store that does at each append what it is told to: write, fail, or fail having written."""

    def __init__(self, troubles):
        super().__init__()
        self.troubles = troubles
        self.is_ready = False

    def append(self, commits):
        trouble = self.troubles.pop(0) if self.is_ready and self.troubles else "none"
        if trouble != "loses":
            super().append(commits)
        if trouble != "none":
            raise OSError("no space left on device")


def call_of(path):
    return FunctionCall(
        path=path,
        arguments=pack({}),
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="0123456789abcdef",
    )


class World:
    """An engine with accounts in it, mutations, and the books of what happened."""

    def __init__(self, seed=0, troubles=()):
        self.store = Troubled(list(troubles))
        self.engine = Engine(host=RealHost(), store=self.store)
        self.chance = random.Random(seed)
        #: Paths of programs, in the order in which they were published.
        self.published: list[str] = []

    async def __aenter__(self):
        def fill(tx):
            return [
                tx.insert("accounts", {"name": f"a{n}", "balance": BALANCE})
                for n in range(ACCOUNTS)
            ]

        ids, _ = await write(self.engine, fill)
        self.executor = Executor(self.engine, ids, self.chance)
        self.log = FunctionLog(self.engine.host)
        executor: Any = self.executor
        self.mutations = Mutations(
            engine=self.engine, executor=executor, log=self.log, backlog=Backlog(self.engine)
        )
        self.engine.on_publish(lambda commits: self.published.extend(c.source for c in commits))
        self.store.is_ready = True
        return self

    async def __aexit__(self, *exc):
        assert self.mutations.turns.waiting == len(self.mutations.turns) == 0
        await self.engine.close()

    async def run(self, path, program):
        self.executor.programs[path] = program
        return await self.mutations.run(call_of(path), None)

    def balances(self):
        return read(
            self.engine, lambda tx: [d["balance"] for d in rows(tx, "accounts", interval=ALL)]
        )


accounts = st.integers(0, ACCOUNTS - 1)
programs = st.one_of(
    st.builds(
        Program,
        kind=st.just("move"),
        source=accounts,
        target=accounts,
        amount=st.integers(1, 12),
    ).filter(lambda p: p.source != p.target),
    st.just(Program("level")),
    st.just(Program("open")),
)


@given(
    st.lists(st.lists(programs, max_size=5), min_size=1, max_size=6),
    st.lists(st.sampled_from(["none", "none", "loses", "lies"]), max_size=12),
    st.integers(0, 2**16),
)
def test_what_was_published_explains_what_everybody_was_told(clients, troubles, seed):
    told: dict[str, Any] = {}
    errors: list[RequestError] = []

    async def client(world, number, mine):
        for n, program in enumerate(mine):
            path = f"{number}.{n}"
            since = len(world.published)
            try:
                result = await world.run(path, program)
            except RequestError as error:
                errors.append(error)
                continue
            told[path] = (result, since, len(world.published))

    async def main():
        async with World(seed, troubles) as world:
            await asyncio.gather(*(client(world, n, mine) for n, mine in enumerate(clients)))
            # Until it is known what the store has.
            async with world.engine.hold():
                return world.published, world.balances(), world.executor.programs

    published, balances, programs = asyncio.run(main())
    # Nobody is ever told that it lost.
    assert all("no space left" in str(error) for error in errors)
    assert len(published) == len(set(published))
    state = {f"a{n}": BALANCE for n in range(ACCOUNTS)}
    states = [dict(state)]
    for path in published:
        answer = programs[path].on(state)
        states.append(dict(state))
        if path in told:
            result, _, _ = told[path]
            assert result.failure is None
            assert unpack(result.value) == answer
    assert sorted(balances) == sorted(state.values())
    for path, (result, since, until) in told.items():
        program = programs[path]
        if result.failure is not None:
            # What it was told of was so, at some moment while it ran.
            seen = {s[f"a{program.source}"] for s in states[since : until + 1]}
            assert int(result.failure.message) in seen
            assert int(result.failure.message) < program.amount
        elif path not in published:
            # It had nothing to change.
            assert program.kind == "level"


def test_one_hot_document_takes_each_in_its_turn():
    async def main():
        async with World() as world:
            move = Program("move", 0, 1, 1)
            back = Program("move", 1, 0, 1)

            async def client(number):
                for n in range(20):
                    path = f"{number}"
                    world.executor.programs[path] = move if (n + number) % 2 else back
                    result = await world.mutations.run(call_of(path), None)
                    assert result.failure is None

            await asyncio.gather(*(client(n) for n in range(8)))
            assert len(world.published) == 160
            # Once it is known what they want, hardly a run is for nothing.
            assert world.executor.runs < 240

    asyncio.run(main())


def test_one_that_reads_everything_is_not_starved_by_those_that_add():
    """Each of its runs meets another that wants to add something, and has run already."""

    async def main():
        async with World() as world:
            executor = world.executor
            plain = executor.mutation
            adding = []
            runs = 0

            async def meets_another(call, session, ahead):
                nonlocal runs
                executed = await plain(call, session, ahead)
                if call.path == "level":
                    runs += 1
                    other = asyncio.create_task(world.run(f"open {runs}", Program("open")))
                    adding.append(other)
                    while not other.done() and world.mutations.turns.waiting == 0:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                    assert runs < 5
                return executed

            executor.mutation = meets_another
            await world.run("move", Program("move", 0, 1, 1))
            result = await world.run("level", Program("level"))
            assert unpack(result.value) == [ACCOUNTS * BALANCE, ACCOUNTS + 1]
            # The first came before anything was claimed; the second has waited.
            assert runs == 2
            await asyncio.gather(*adding)
            assert world.published[-3:] == ["open 1", "level", "open 2"]

    asyncio.run(main())


def test_who_gives_up_lets_the_others_go_on():
    async def main():
        async with World() as world:
            await asyncio.gather(*(world.run(f"{n}", Program("move", 0, 1, 1)) for n in range(4)))
            running = [
                asyncio.create_task(world.run(f"later {n}", Program("move", 1, 0, 1)))
                for n in range(12)
            ]
            chance = random.Random(1)
            for _ in range(6):
                for _ in range(chance.randrange(5)):
                    await asyncio.sleep(0)
                chance.choice(running).cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
            given_up = [each for each in results if isinstance(each, asyncio.CancelledError)]
            assert 0 < len(given_up) < len(results)
            assert all(each in given_up or not isinstance(each, BaseException) for each in results)

    asyncio.run(main())


def test_one_that_loses_in_its_turn_again_and_again_is_told_so():
    """Commits of the server itself wait for nobody."""

    async def main():
        async with World() as world:
            engine, executor = world.engine, world.executor
            plain = executor.mutation
            spoilt = 0

            async def spoils(call, session, ahead):
                nonlocal spoilt
                executed = await plain(call, session, ahead)
                spoilt += 1
                await write(
                    engine,
                    lambda tx: tx.replace(executor.ids[0], {"name": "a0", "balance": 100 + spoilt}),
                )
                return executed

            executor.mutation = spoils
            with pytest.raises(WriteConflict, match=r"lost 5 times in its turn"):
                await world.run("spoilt", Program("move", 0, 1, 1))
            # The first time it had claimed nothing yet.
            assert spoilt == 1 + limits.conflict_retries_max + 1

    asyncio.run(main())


def test_too_many_that_wait_are_refused(monkeypatch):
    monkeypatch.setattr(limits, "turns_waiting_max", 2)

    async def main():
        async with World() as world:
            results = await asyncio.gather(
                *(world.run(f"{n}", Program("move", 0, 1, 1)) for n in range(10)),
                return_exceptions=True,
            )
            refused = [each for each in results if isinstance(each, RequestError)]
            assert {error.code for error in refused} == {"ExecuteFullError"}
            assert len(world.published) == 10 - len(refused)

    asyncio.run(main())
