"""A process that appends is killed again and again: what it acknowledged is there, and all agrees."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from random import Random

from camber.occ.interval import ALL, Order
from camber.occ.write_set import EveryKey
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite.store import SqliteStore
from camber.values.keys import encode_key
from tests.storage.appending import INDEX, TABLE, id_of, key, steps, value

ROUNDS = 6


def _expected(newest):
    """What each document was written by, after all commits."""
    there: dict[int, int] = {}
    for ts in range(1, newest + 1):
        for number, was, now in steps(ts):
            assert there.pop(number, None) == was
            if now is not None:
                there[number] = now
    return there


def _check(store, ts):
    there = _expected(ts)
    with store.snapshot(ts) as snapshot:
        documents = snapshot.scan(TABLE, by_id_index(TABLE), ALL, Order.ASC, 10**6)
        assert [row.packed for row in documents] == [value(n, there[n]) for n in sorted(there)]
        entries = snapshot.scan(TABLE, INDEX, ALL, Order.ASC, 10**6)
        assert [row.key for row in entries] == sorted(key(n, by) for n, by in there.items())
        assert snapshot.count(INDEX) == len(there)


def test_what_was_acknowledged_survives_kills_and_all_agrees(tmp_path):
    path = tmp_path / "store.sqlite"
    chance = Random(7)
    acknowledged = 0
    for _ in range(ROUNDS):
        command = [sys.executable, "-m", "tests.storage.appending", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 150)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            for line in process.stdout:
                # What it said before the kill reached it; the last line may be cut.
                if line.endswith("\n"):
                    acknowledged = int(line)
        with closing(SqliteStore(path)) as store:
            newest, floor = store.newest_ts(), store.history_floor()
            assert newest >= acknowledged
            for ts in {newest, (newest + floor) // 2, floor}:
                _check(store, ts)
            assert [commit.ts for commit in store.tail(floor)] == list(range(floor + 1, newest + 1))
            for commit in store.tail(floor):
                touched = commit.writes[by_id_index(TABLE)]
                assert not isinstance(touched, EveryKey)
                assert set(touched) == {encode_key([id_of(n)]) for n, _, _ in steps(commit.ts)}
            ((verdict,),) = store._writer.execute("PRAGMA integrity_check")
            assert verdict == "ok"
            left = "SELECT count(*) FROM documents"
            assert next(store._writer.execute(left))[0] == len(_expected(newest))
