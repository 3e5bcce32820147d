"""What is forgotten in the background, and when."""

from __future__ import annotations

import asyncio

from camber import limits
from camber.deployment.maintenance import Maintenance
from camber.engine import system_tables
from tests.engine.harness import opened, read, rows, run, write

HOUR = 3600 * 10**9
WEEK = 7 * 24 * HOUR


def test_history_goes_by_age_and_by_size(tmp_path):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            stamps = [
                (await write(engine, lambda tx, n=n: tx.insert("t", {"n": n})))[1] for n in range(8)
            ]
            now = engine.host.now_ns()
            await Maintenance(
                engine=engine, history_retention_s=3600, history_bytes_max=10**9
            ).round()
            assert len(read(engine, lambda tx: rows(tx, "t"), stamps[0])) == 1
            engine.host.now_ns = lambda: now + 2 * HOUR
            await Maintenance(
                engine=engine, history_retention_s=7 * 3600, history_bytes_max=0
            ).round()
            # All but the newest commit, without which there would be no timestamp.
            assert [c.ts for c in engine.store.tail(stamps[6])] == [stamps[7]]
            assert len(read(engine, lambda tx: rows(tx, "t"))) == 8

    run(main())


def test_records_of_mutations_go_after_two_weeks(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:

            def record(tx):
                tx.insert(system_tables.SESSION_REQUESTS, {"_commitTs": None})

            await write(engine, record)
            now = engine.host.now_ns()
            maintenance = Maintenance(
                engine=engine,
                history_retention_s=limits.history_retention_s,
                history_bytes_max=limits.history_bytes_max,
            )
            left = []
            for later in (0, WEEK, 2 * WEEK + HOUR):
                engine.host.now_ns = lambda later=later: now + later
                await maintenance.round()
                left.append(len(read(engine, lambda tx: rows(tx, system_tables.SESSION_REQUESTS))))
            assert left == [1, 1, 0]

    run(main())


def test_it_goes_on_until_it_is_cancelled(tmp_path, monkeypatch):
    async def main():
        async with opened(tmp_path) as engine:
            rounds = asyncio.Event()

            class Counting(Maintenance):
                async def round(self):
                    rounds.set()

            monkeypatch.setattr("camber.deployment.maintenance._PAUSE_S", 0.0)
            counting = Counting(engine=engine, history_retention_s=1, history_bytes_max=1)
            task = asyncio.ensure_future(counting.run())
            await rounds.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

    run(main())
