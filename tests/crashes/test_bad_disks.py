"""Disks that are full, read-only or damaged: told as what they are, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.msgpack import encode

from camber.engine.engine import load_catalog
from camber.errors import StorageDamaged
from camber.occ.interval import ALL, Order
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite.store import SqliteStore, StoreUnusable
from camber.storage.store import Commit, DocumentChange
from camber.values.ids import encode_id
from tests.acceptance.sockets import raw_client
from tests.servers import KITCHEN, Server

_TABLE = 10001
_PAGE = 4096
_GROUPS = 40
_FLIPS = 60


@contextmanager
def _own_disk(folder: Path, options: str):
    """A file system of its own; only root may have one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


# Full.


def _add(server, rank):
    args = {"board": "b", "rank": rank, "text": "x" * 100_000}
    return server.post("/api/mutation", {"path": "notes:add", "args": args})


def _count(server):
    return server.value("query", "notes:count", {"board": "b"})


def test_a_full_disk_fails_mutations_and_nothing_else(tmp_path):
    with (
        _own_disk(tmp_path / "disk", "size=3m") as disk,
        Server(KITCHEN, disk / "data", "--executors", "1") as server,
        raw_client(server) as client,
    ):
        client.connect()
        client.subscribe((0, "notes:count", {"board": "b"}, {}))
        client.until(lambda: client.results.get(0) == 0)
        written = 0
        while (answer := _add(server, written)).status_code == 200:
            written += 1
        assert written
        assert answer.status_code == 503
        assert answer.json() == {
            "code": "StorageFull",
            "message": "the server's disk is full; nothing was written. It goes on when there is "
            "room",
        }
        client.until(lambda: client.results.get(0) == written)
        client.mutate(0, "notes:add", {"board": "b", "rank": 0, "text": "x" * 100_000})
        client.until(lambda: 0 in client.responses)
        assert "disk is full" in client.responses[0]["result"]
        assert _count(server) == written

        # Killed and started again on a disk that is still full, it serves what it has.
        server.kill()
        server.start()
        assert _count(server) == written
        assert _add(server, 0).json()["code"] == "StorageFull"

        _remount(disk, "size=64m")
        assert _add(server, 0).status_code == 200
        assert _count(server) == written + 1
        assert not any("Traceback" in line for line in server.output)


def test_a_disk_that_is_full_before_the_first_start_says_so(tmp_path):
    with _own_disk(tmp_path / "disk", "size=64k") as disk:
        (disk / "ballast").write_bytes(bytes(40_000))
        told = _refused_start(disk / "data")
        assert "disk is full" in told or "No space left on device" in told


# Read-only.


def test_a_read_only_disk_is_refused_with_its_path(tmp_path):
    with _own_disk(tmp_path / "disk", "size=16m") as disk:
        data = disk / "data"
        with Server(KITCHEN, data, "--executors", "1") as server:
            server.value("mutation", "notes:add", {"board": "b", "rank": 1.0})
        _remount(disk, "ro")
        told = _refused_start(data)
        assert str(data / "camber.sqlite") in told
        assert "Read-only file system" in told
        assert "give it a --data that it may change" in told


def _refused_start(data: Path) -> str:
    """Start a server that must not start; return the one line that it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "camber", "start", str(KITCHEN), "--port", "0", "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "COLUMNS": "1000"},
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr + ended.stdout
    (line,) = ended.stderr.strip().splitlines()
    return line


# Not what was written.


@pytest.fixture
def written(tmp_path):
    """A store with some pages, and its files while it was open: the log has the newest groups."""
    path = tmp_path / "written" / "store.sqlite"
    path.parent.mkdir()
    with closing(SqliteStore(path)) as store:
        for number in range(_GROUPS):
            store.append([_commit(number)])
    with closing(SqliteStore(path)) as store:
        for number in range(_GROUPS, 2 * _GROUPS):
            store.append([_commit(number)])
        return {file.name: file.read_bytes() for file in _files(path)}


def _files(path):
    return [path, path.with_name(f"{path.name}-wal")]


def _commit(number):
    value = encode({"number": number, "text": "x" * 700})
    change = DocumentChange(table=_TABLE, id=_id(number), before=None, after=value, entries=())
    return Commit(ts=number + 1, changes=(change,), source="test")


def _id(number):
    return encode_id(_TABLE, number.to_bytes(16, "big"))


def _put(folder, files):
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "store.sqlite"


def _all_of(path):
    with closing(SqliteStore(path)) as store, store.snapshot() as snapshot:
        rows = snapshot.scan(_TABLE, by_id_index(_TABLE), ALL, Order.ASC, 10**6)
        return [row.packed for row in rows], store.newest_ts()


def test_the_log_of_a_killed_server_counts(tmp_path, written):
    rows, newest = _all_of(_put(tmp_path / "copy", written))
    assert (len(rows), newest) == (2 * _GROUPS, 2 * _GROUPS)


@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_were_changed_are_refused_or_told(tmp_path, written, seed):
    """Never a bare error of SQLite's, and never a store that looks empty."""
    dice = random.Random(seed)
    noticed = 0
    for number in range(_FLIPS):
        data = bytearray(written["store.sqlite"])
        start = dice.choice((0, dice.randrange(len(data) // _PAGE) * _PAGE))
        reach = dice.choice((100, _PAGE))
        for _ in range(dice.choice((1, 8, 64))):
            data[start + dice.randrange(reach)] = dice.randrange(256)
        path = _put(tmp_path / str(number), {**written, "store.sqlite": bytes(data)})
        try:
            rows, newest = _all_of(path)
        except (StoreUnusable, StorageDamaged):
            noticed += 1
        else:
            assert newest
            assert rows
    assert noticed


@pytest.mark.parametrize("seed", range(3))
def test_a_log_with_changed_bytes_ends_there(tmp_path, written, seed):
    """SQLite takes the first frame that does not add up for the end: what was before it is whole."""
    dice = random.Random(seed)
    for number in range(_FLIPS // 4):
        log = bytearray(written["store.sqlite-wal"])
        log[dice.randrange(len(log))] ^= 1 + dice.randrange(255)
        rows, newest = _all_of(_put(tmp_path / str(number), {**written, "store.sqlite-wal": log}))
        assert _GROUPS <= newest <= 2 * _GROUPS
        assert len(rows) == newest


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_a_file_that_was_not_copied_whole_is_refused(tmp_path, written, kept):
    data = written["store.sqlite"]
    path = _put(tmp_path / "copy", {"store.sqlite": data[: int(len(data) * kept)]})
    with pytest.raises(StoreUnusable, match="was not copied whole"):
        SqliteStore(path)


def test_an_empty_file_is_refused_and_its_log_kept(tmp_path, written):
    path = _put(tmp_path / "copy", {**written, "store.sqlite": b""})
    with pytest.raises(StoreUnusable, match="is empty"):
        SqliteStore(path)
    assert _files(path)[1].read_bytes() == written["store.sqlite-wal"]


def test_a_log_without_its_file_is_refused_and_kept(tmp_path, written):
    path = _put(tmp_path / "copy", {"store.sqlite-wal": written["store.sqlite-wal"]})
    with pytest.raises(StoreUnusable, match="the log of its writes is"):
        SqliteStore(path)
    assert _files(path)[1].read_bytes() == written["store.sqlite-wal"]
    assert not path.exists()


def test_what_was_left_of_a_store_that_was_being_made_is_no_hindrance(tmp_path):
    path = tmp_path / "store.sqlite"
    path.with_name("store.sqlite.new").write_bytes(b"half of a store")
    path.with_name("store.sqlite.new-journal").write_bytes(b"and of its journal")
    with closing(SqliteStore(path)) as store:
        assert store.newest_ts() == 0


def test_a_damaged_file_ends_the_start_with_one_line(tmp_path, written):
    data = tmp_path / "data"
    data.mkdir()
    (data / "camber.sqlite").write_bytes(b"SQLite format 3\0" + bytes(5000))
    told = _refused_start(data)
    assert "restore a backup" in told


def test_queries_that_meet_damage_say_so_and_others_go_on(tmp_path):
    data = tmp_path / "data"
    with Server(KITCHEN, data, "--executors", "1") as server:
        for rank in range(60):
            args = {"board": "b", "rank": rank, "text": "damage me " * 100}
            server.value("mutation", "notes:add", args)
    path = data / "camber.sqlite"
    whole = path.read_bytes()
    starts = [
        start
        for start in range(0, len(whole), _PAGE)
        if b"damage me" in whole[start : start + _PAGE]
    ]
    # The last page whose loss only those notice who read notes: the server looks at others itself.
    for start in reversed(starts):
        path.write_bytes(whole[:start] + bytes(100) + whole[start + 100 :])
        if _is_damaged_for_notes_only(path):
            break
    with Server(KITCHEN, data, "--executors", "1") as server:
        answer = server.post("/api/query", {"path": "notes:list", "args": {"board": "b"}})
        assert answer.status_code == 500
        assert answer.json()["code"] == "StorageDamaged"
        assert "restore a backup" in answer.json()["message"]
        assert server.value("query", "counters:read", {"name": "c"}) == 0
        assert not any("Traceback" in line for line in server.output)


def _is_damaged_for_notes_only(path):
    try:
        opened = SqliteStore(path)
    except StoreUnusable:
        return False
    with closing(opened) as store, store.snapshot() as snapshot:
        tables = {table.name: table for table in load_catalog(snapshot).tables()}
        notes = tables.pop("notes")
        for table in tables.values():
            snapshot.scan(table.number, by_id_index(table.number), ALL, Order.ASC, 10**6)
        try:
            snapshot.scan(notes.number, by_id_index(notes.number), ALL, Order.ASC, 10**6)
        except StorageDamaged:
            return True
    return False
