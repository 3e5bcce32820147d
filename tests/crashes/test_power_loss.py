"""The power is cut at any step of a store's work: what was acknowledged is there, all of it or none.

`tests.crashes.power` is the disk. A history writes groups of commits until its power is cut, opens
what the disk has left, checks it against a model, and goes on from there.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apsw
import pytest

from camber import limits
from camber.errors import CamberError, StorageFailed, StorageFull
from camber.occ.interval import ALL, Interval, Order
from camber.storage.index_ids import by_creation_time_index, by_id_index
from camber.storage.sqlite.store import Durability, SqliteStore
from camber.storage.store import Commit, DocumentChange, EntryChange
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from tests.crashes.power import Disk, Honesty, Image, powered

_HISTORIES = int(os.environ.get("CRASH_SEEDS", "2"))
_CUTS = 14
#: Seeds within which a disk that does not do what it says must be caught.
_CAUGHT_WITHIN = 20
_TABLES = (10001, 10002)
_DOCUMENTS = 40
_NAME = "store.sqlite"
_GROUPS_MAX = 160


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_what_was_acknowledged_survives_the_loss_of_power(tmp_path, seed):
    seen = _live_through(tmp_path, seed, Durability.FULL)
    assert seen["cuts"] == _CUTS
    # Cuts were made while there was something to lose, in the log and in a checkpoint.
    assert seen["acknowledged"]
    assert seen["in a checkpoint"]
    assert seen["full"]
    assert seen["failed"]


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_with_normal_durability_a_prefix_survives(tmp_path, seed):
    seen = _live_through(tmp_path, seed, Durability.NORMAL)
    assert seen["cuts"] == _CUTS


def test_normal_durability_promises_less(tmp_path):
    """What it gives up is real: some history loses an acknowledged group."""
    histories = (
        _live_through(tmp_path / str(seed), seed, Durability.NORMAL)
        for seed in range(_CAUGHT_WITHIN)
    )
    assert any(seen["lost"] for seen in histories)


@pytest.mark.parametrize("honesty", [Honesty.LIES, Honesty.FORGETS_NAMES])
def test_a_sync_that_is_left_out_is_caught(tmp_path, honesty):
    for seed in range(_CAUGHT_WITHIN):
        try:
            _live_through(tmp_path / str(seed), seed, Durability.FULL, honesty)
        except (AssertionError, apsw.Error, CamberError):
            return
    raise AssertionError(f"no history of {_CAUGHT_WITHIN} has noticed")


@pytest.fixture(autouse=True)
def _checkpoints_are_due(monkeypatch):
    """A log of a few pages is enough: histories are short."""
    monkeypatch.setattr(limits, "store_log_pages", 20)


@dataclass(frozen=True, slots=True)
class _Ghost:
    at: dict[int, dict[tuple[int, str], bytes]]
    sources: dict[int, str]
    newest: int


@dataclass(slots=True)
class _Model:
    """What was written, group by group: an oracle that is a dictionary for each timestamp."""

    at: dict[int, dict[tuple[int, str], bytes]] = field(default_factory=lambda: {0: {}})
    sources: dict[int, str] = field(default_factory=dict)
    newest: int = 0
    #: The last timestamp of each group that was given to the store; 0 is before the first.
    ends: list[int] = field(default_factory=lambda: [0])
    #: The group that came last and failed, if a cut may yet bring it to light.
    ghost: _Ghost | None = None

    def group(self, dice: random.Random) -> list[Commit]:
        commits = [self._commit(dice) for _ in range(dice.randint(1, 8))]
        self.ends.append(self.newest)
        return commits

    def _commit(self, dice: random.Random) -> Commit:
        now = dict(self.at[self.newest])
        before_now = dict(now)
        touched = {
            (dice.choice(_TABLES), dice.randrange(_DOCUMENTS)) for _ in range(dice.randint(1, 4))
        }
        changes = []
        for table, number in sorted(touched):
            place = table, encode_id(table, number.to_bytes(16, "big"))
            before = before_now.get(place)
            after = None
            if before is None or dice.random() < 0.8:
                after = dice.randbytes(dice.choice((1, 40, 700, 6000)))
                now[place] = after
            else:
                del now[place]
            changes.append(_change(place, before, after))
        self.newest += dice.randint(1, 3)
        self.at[self.newest] = now
        self.sources[self.newest] = f"commit {self.newest}"
        return Commit(ts=self.newest, changes=tuple(changes), source=self.sources[self.newest])

    def fail_after(self, ts: int) -> None:
        """Take back what came after `ts`, which may be there nevertheless after a cut."""
        at = {each: documents for each, documents in self.at.items() if each > ts}
        sources = {each: source for each, source in self.sources.items() if each > ts}
        newest = self.newest
        self.forget_after(ts)
        self.ghost = _Ghost(at, sources, newest)

    def believe_in_ghost(self, newest: int) -> None:
        """Take the group that failed for written if a store says so."""
        ghost = self.ghost
        if ghost is not None and newest == ghost.newest:
            self.at |= ghost.at
            self.sources |= ghost.sources
            self.newest = ghost.newest
            self.ends.append(ghost.newest)
        self.ghost = None

    def forget_after(self, ts: int) -> None:
        """Take what the store has for the truth: from here on it is written anew."""
        for later in [each for each in self.at if each > ts]:
            del self.at[later]
        self.sources = {each: source for each, source in self.sources.items() if each <= ts}
        self.ends = [end for end in self.ends if end <= ts]
        self.newest = ts


def _change(place: tuple[int, str], before: bytes | None, after: bytes | None) -> DocumentChange:
    table, id_ = place
    entry = EntryChange(
        index=by_creation_time_index(table),
        removed=None if before is None else _entry(id_, before),
        added=None if after is None else _entry(id_, after),
    )
    return DocumentChange(table=table, id=id_, before=before, after=after, entries=(entry,))


def _entry(id_: str, value: bytes) -> bytes:
    return encode_key([value[0]]) + encode_key([id_])


@dataclass(frozen=True, slots=True)
class _Aim:
    """How far a cut may be: in all steps, or in those of the file itself."""

    steps_max: int
    main: bool = False


#: Early, when the store is being made; later, in the log; in a checkpoint.
_AIMS = (_Aim(30), _Aim(3000), _Aim(60, main=True), _Aim(300), _Aim(3000), _Aim(60, main=True))


@dataclass(frozen=True, slots=True)
class _Cut:
    image: Image
    acknowledged: int
    in_checkpoint: bool


def _live_through(tmp_path, seed, durability, honesty=Honesty.SYNCS) -> Counter[str]:
    dice = random.Random(seed)
    model = _Model()
    seen: Counter[str] = Counter()
    image: Image = {}
    for number in range(_CUTS):
        folder = tmp_path / str(number)
        folder.mkdir(parents=True)
        disk = Disk(folder, image, honesty=honesty)
        life = _until_cut(disk, model, durability, dice, _AIMS[number % len(_AIMS)])
        seen["cuts"] += 1
        cut = life.cut or life.cut_now()
        seen["full"] += life.full
        seen["failed"] += life.failed
        seen["acknowledged"] += cut.acknowledged > 0
        seen["in a checkpoint"] += cut.in_checkpoint
        image = cut.image
        _check_structure(tmp_path / f"{number} again", image)
        newest = _check(tmp_path / f"{number} after", image, model)
        seen["lost"] += newest < cut.acknowledged
        if durability is Durability.FULL:
            assert newest >= cut.acknowledged, f"{newest} is left of {cut.acknowledged}"
        model.forget_after(newest)
    return seen


def _until_cut(disk, model, durability, dice, aim) -> _Life:
    """Write groups until the power is cut, at a step that the die chooses."""
    life = _Life(disk, model, durability, dice, aim)
    with powered(disk):
        life.live()
    return life


class _Life:
    """One life of a store: from when it is opened until its power is cut."""

    def __init__(self, disk, model, durability, dice, aim) -> None:
        self.cut: _Cut | None = None
        #: Times that the disk was full.
        self.full = 0
        #: Times that a sync failed.
        self.failed = 0
        self._disk = disk
        self._model = model
        self._durability = durability
        self._dice = dice
        self._aim = aim
        self._at_step = dice.randrange(aim.steps_max)
        self._acknowledged = model.newest
        self._store: Any = None
        self._is_checkpointing = False
        disk.before_step = self._before_step

    def live(self) -> None:
        dice = self._dice
        path = self._disk.folder / _NAME
        self._store = SqliteStore(path, durability=self._durability)
        try:
            for _ in range(_GROUPS_MAX):
                if self.cut is not None:
                    break
                self._append()
                if dice.random() < 0.1:
                    self._checkpoint()
                if dice.random() < 0.05:
                    self._store.trim(before=dice.randint(0, self._model.newest), commits_max=50)
        finally:
            self._disk.failing_syncs = 0
            self._store.close()

    def cut_now(self) -> _Cut:
        in_checkpoint = self._disk.is_unsynced(_NAME) and self._acknowledged > 0
        return _Cut(self._disk.image(self._dice), self._acknowledged, in_checkpoint)

    def _before_step(self) -> None:
        step = self._disk.main_steps if self._aim.main else self._disk.steps
        if self.cut is None and step >= self._at_step:
            self.cut = self.cut_now()
        if self._is_checkpointing and self._dice.random() < 0.05:
            # Commits go on beside a checkpoint.
            self._is_checkpointing = False
            self._append()
            self._is_checkpointing = True

    def _append(self) -> None:
        """Write a group, sometimes to a disk that is full."""
        model, before = self._model, self._model.newest
        if self._durability is Durability.FULL:
            self._disk.failing_syncs = self._dice.random() < 0.03
        try:
            with self._perhaps_full(0.4):
                self._store.append(model.group(self._dice))
            self._acknowledged = model.newest
            # Its place in the log is taken.
            model.ghost = None
        except StorageFailed as error:
            if not isinstance(error, StorageFull):
                self._failed(before)
                return
            # Nothing was written, now or after any cut.
            self.full += 1
            model.forget_after(before)
            assert self._store.newest_ts() == before
            with self._store.snapshot() as snapshot:
                assert _documents(snapshot) == model.at[before]

    def _failed(self, before: int) -> None:
        """Nobody is told that a group is there whose sync has failed, and nobody that it is not."""
        self.failed += 1
        newest = self._store.newest_ts()
        assert newest in {before, self._model.newest}
        if newest == before:
            self._model.fail_after(before)

    def _checkpoint(self) -> None:
        """Put the log into the file, as the thread for that does; what it finds no room for stays."""
        try:
            with self._perhaps_full(0.2):
                self._is_checkpointing = True
                self._store.checkpoint()
                self._is_checkpointing = False
                if self._dice.random() < 0.5:
                    self._append()
                self._store.finish_checkpoint()
        except StorageFull:
            self.full += 1
        except StorageFailed:
            self.failed += 1
        finally:
            self._is_checkpointing = False

    @contextmanager
    def _perhaps_full(self, chance):
        room = self._disk.room
        if self._dice.random() < chance:
            self._disk.room = self._disk.size() + self._dice.randrange(6_000)
        try:
            yield
        finally:
            self._disk.room = room


def _written(folder, image):
    folder.mkdir(parents=True)
    for name, data in image.items():
        (folder / name).write_bytes(data)
    return folder / _NAME


def _check_structure(folder, image):
    path = _written(folder, image)
    if path.exists():
        connection = apsw.Connection(str(path))
        assert connection.pragma("integrity_check") == "ok"
        connection.close()


def _check(folder, image, model) -> int:
    """Read what the disk has left as the next server would; return the newest timestamp."""
    store = SqliteStore(_written(folder, image))
    try:
        newest = store.newest_ts()
        model.believe_in_ghost(newest)
        assert newest in model.ends, f"{newest} is in the middle of a group"
        floor = store.history_floor()
        logged = store.tail(floor)
        assert {each.ts: each.source for each in logged} == {
            ts: source for ts, source in model.sources.items() if floor < ts <= newest
        }
        for ts in {newest, *(each.ts for each in logged[:: max(1, len(logged) // 3)])}:
            with store.snapshot(ts) as snapshot:
                assert _documents(snapshot) == model.at[ts]
        return newest
    finally:
        store.close()


def _documents(snapshot):
    found = {}
    for table in _TABLES:
        by_id = snapshot.scan(table, by_id_index(table), ALL, Order.ASC, 10**6)
        index = by_creation_time_index(table)
        entries = snapshot.scan(table, index, ALL, Order.ASC, 10**6)
        assert [row.key for row in entries] == sorted(row.key for row in entries)
        assert sorted(row.packed for row in entries) == sorted(row.packed for row in by_id)
        for number in range(_DOCUMENTS):
            id_ = encode_id(table, number.to_bytes(16, "big"))
            value = snapshot.get(table, id_)
            if value is not None:
                found[table, id_] = value
                key = _entry(id_, value)
                rows = snapshot.scan(table, index, Interval(key, key + b"\0"), Order.ASC, 2)
                assert [row.packed for row in rows] == [value]
        assert len(by_id) == sum(place[0] == table for place in found)
    return found
