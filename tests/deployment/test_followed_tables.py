"""Who follows a system table has what it says, though it could not be read at once."""

from __future__ import annotations

import asyncio

from camber.deployment import followed_tables
from camber.deployment.followed_tables import FollowedTables
from tests.engine.harness import opened, read, rows, run, write


class Follower:
    """Reads a table whenever it is told, and fails some times first."""

    def __init__(self, engine, failures):
        self._engine = engine
        self._failures = failures
        self.known: list[int] = []
        self.knows = asyncio.Event()

    def load(self):
        if self._failures:
            self._failures -= 1
            raise OSError("the disk is away")
        self.known = [each["n"] for each in read(self._engine, lambda tx: rows(tx, "notes"))]
        self.knows.set()


async def _following(engine, *failures):
    """Return tables, and those who follow one of them."""
    await write(engine, lambda tx: tx.insert("notes", {"n": 1}))
    tables = FollowedTables(engine)
    number = engine.catalog.by_name("notes").number
    followers = [Follower(engine, count) for count in failures]
    for follower in followers:
        tables.follow([number], follower.load)
    return tables, followers


def test_who_could_not_read_is_told_again_until_it_can(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(followed_tables, "_AGAIN_S", 0.01)

    async def main():
        async with opened(tmp_path) as engine:
            tables, (unlucky, other) = await _following(engine, 3, 0)
            await write(engine, lambda tx: tx.insert("notes", {"n": 2}))
            # The commit stands, and whoever can read has read it with the commit.
            assert other.known == [1, 2]
            assert unlucky.known == []
            await unlucky.knows.wait()
            assert unlucky.known == [1, 2]
            # A second time, too.
            unlucky._failures = 1
            unlucky.knows.clear()
            await write(engine, lambda tx: tx.insert("notes", {"n": 3}))
            await unlucky.knows.wait()
            assert unlucky.known == [1, 2, 3]
            await tables.close()

    run(main())
    told = [each for each in caplog.records if each.name == "camber.deployment"]
    assert len(told) == 4
    assert "Follower.load, told of a commit, met a bug" in told[0].getMessage()
    assert "the disk is away" in caplog.text


def test_nobody_is_told_after_the_end(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            tables, (unlucky,) = await _following(engine, 2)
            await write(engine, lambda tx: tx.insert("notes", {"n": 2}))
            await tables.close()
            # Nor is anything begun by a commit that comes with the end.
            await write(engine, lambda tx: tx.insert("notes", {"n": 3}))
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert "followed tables" not in names
            assert unlucky._failures == 0
            assert not unlucky.knows.is_set()

    run(main())
