"""Kill -9 under writes: what was acknowledged is there, nothing twice, nothing in part."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD
from camber.engine.engine import load_catalog
from camber.occ.interval import ALL, Order
from camber.storage.sqlite.store import SqliteStore
from camber.values.packed import unpack
from tests.acceptance.crashing import CLIENTS
from tests.servers import REPOSITORY

_POINTS = 50
_HISTORIES = 5


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_a_killed_server_keeps_its_word(tmp_path, seed):
    dice = random.Random(seed)
    acknowledged: dict[tuple[int, int], int] = {}
    newest = 0
    for _ in range(_POINTS // _HISTORIES):
        # Each client goes on with the first that was not acknowledged: perhaps it was done.
        firsts = [
            1 + max((n for c, n in acknowledged if c == client), default=0)
            for client in range(CLIENTS)
        ]
        _run_until_killed(tmp_path, firsts, acknowledged, dice)
        newest = _check(tmp_path, acknowledged, newest)
    assert len(acknowledged) > _POINTS // _HISTORIES


def _check(data, acknowledged, newest_before):
    """Read the store as the next server would."""
    path = data / "camber.sqlite"
    if not path.exists():
        assert not acknowledged
        return newest_before
    store = SqliteStore(path)
    try:
        with store.snapshot() as snapshot:
            assert snapshot.ts >= max([newest_before, *acknowledged.values()])
            notes = _notes(snapshot)
            found = sorted((n["board"], n["rank"], n["text"]) for n in notes)
            pairs = {(board, rank) for board, rank, _ in found}
            # Both of a pair, and neither twice.
            assert found == sorted((*pair, text) for pair in pairs for text in ("left", "right"))
            assert pairs >= {(f"client {c}", n) for c, n in acknowledged}
            # What nobody has heard of may be there: one for each client, the one under way.
            for client in range(CLIENTS):
                numbers = sorted(n for board, n in pairs if board == f"client {client}")
                assert numbers == list(range(1, len(numbers) + 1))
                last = max((n for c, n in acknowledged if c == client), default=0)
                assert len(numbers) <= last + 1
            return snapshot.ts
    finally:
        store.close()


def _notes(snapshot):
    """All notes, after checking that every index leads to each of them once."""
    table = load_catalog(snapshot).by_name("notes")
    if table is None:
        return []
    by_index: list[list[Any]] = [
        [unpack(row.packed) for row in snapshot.scan(table.number, index.id, ALL, Order.ASC, 10**6)]
        for index in table.indexes.values()
    ]
    ids = [sorted(note[ID_FIELD] for note in notes) for notes in by_index]
    assert all(each == ids[0] for each in ids)
    assert len(set(ids[0])) == len(ids[0])
    assert all(CREATION_TIME_FIELD in note for note in by_index[0])
    return by_index[0]


def _run_until_killed(data, firsts, acknowledged, dice):
    """Run the writers and kill them after a seeded number of acknowledgements."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.crashing", str(data), *map(str, firsts)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    left = dice.randint(0, 60)
    # From the start of the process on: while it opens, while it pushes, while it writes.
    for line in process.stdout:
        if line.startswith("done"):
            _, client, number, ts = line.split()
            acknowledged[int(client), int(number)] = int(ts)
            left -= 1
        if left <= 0:
            break
    process.kill()
    # What was acknowledged before the kill but read after it counts too.
    for line in process.stdout.read().splitlines():
        parts = line.split()
        if len(parts) == 4:
            acknowledged[int(parts[1]), int(parts[2])] = int(parts[3])
    process.wait()
    process.stdout.close()
