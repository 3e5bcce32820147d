"""The simulated loop keeps asyncio's promises, and kills without farewell."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.simulation.loop import NS, Machine, SimulatedLoop, Stuck, Trace


def new_loop(seed=0):
    return SimulatedLoop(random.Random(seed), Trace(keep=True))  # type: ignore[abstract]


def test_callbacks_run_in_the_order_of_call_soon():
    order: list[int] = []

    async def main():
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_soon(order.append, number)
        await asyncio.sleep(0.001)

    new_loop().run_until_complete(main())
    assert order == list(range(20))


def test_timers_are_never_early_and_time_is_not_real():
    late: list[float] = []

    async def main():
        loop = asyncio.get_running_loop()
        for seconds in (3600.0, 0.5, 7200.0):
            due = loop.time() + seconds
            await asyncio.sleep(seconds)
            late.append(loop.time() - due)

    new_loop().run_until_complete(main())
    assert len(late) == 3
    assert all(0 <= each < 0.001 for each in late)


def test_the_seed_says_which_of_two_timers_is_first():
    def first(seed):
        order: list[str] = []

        async def main():
            loop = asyncio.get_running_loop()
            for name in "ab":
                loop.call_at(1.0, order.append, name)
            await asyncio.sleep(2)

        new_loop(seed).run_until_complete(main())
        return order[0]

    assert {first(seed) for seed in range(20)} == {"a", "b"}
    assert all(first(seed) == first(seed) for seed in range(20))


def test_a_killed_machine_runs_nothing_any_more():
    said: list[str] = []
    loop = new_loop()

    async def works():
        try:
            await asyncio.sleep(1)
            said.append("done")
        finally:
            said.append("farewell")

    async def main():
        machine = Machine("server", loop)
        child = Machine("child", loop, parent=machine)
        machine.start(works(), "works")
        child.start(works(), "works")
        await asyncio.sleep(0.5)
        machine.kill()
        await asyncio.sleep(5)
        assert not child.is_alive

    loop.run_until_complete(main())
    assert said == []
    loop.bury()
    assert said == ["farewell", "farewell"]


def test_a_machine_that_stands_still_goes_on_in_order():
    said: list[tuple[int, float]] = []
    loop = new_loop()

    async def main():
        machine = Machine("server", loop)
        machine.stall(5 * NS)
        # One within another does not end it sooner.
        machine.stall(1 * NS)
        for number in range(5):
            loop.call_soon(
                lambda number=number: said.append((number, loop.time())),
                context=machine.context.copy(),
            )
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        # What stands still in the end is taken down as well.
        machine.start(asyncio.sleep(1), "sleeps")
        machine.stall(60 * NS)

    loop.run_until_complete(main())
    assert [number for number, _ in said] == list(range(5))
    assert all(5 <= at < 5.01 for _, at in said)
    loop.bury()
    assert not any(machine.leftovers() for machine in loop.machines)


def test_timeouts_and_threads_are_events():
    loop = new_loop()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.sleep(3600)
        # As on a thread: there is no loop.
        with pytest.raises(RuntimeError, match="no running event loop"):
            await asyncio.to_thread(asyncio.get_running_loop)
        return loop.time()

    assert 60 <= loop.run_until_complete(main()) < 61


def test_an_exception_that_nobody_takes_is_told():
    loop = new_loop()

    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    (bug,) = loop.bugs
    assert "ZeroDivisionError" in bug


def test_a_world_in_which_nothing_is_due_says_so():
    loop = new_loop()

    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="nothing is due"):
        loop.run_until_complete(main())
    loop.bury()
