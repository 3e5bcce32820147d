"""What only the SQLite store has: a file."""

from __future__ import annotations

import sqlite3

import apsw
import pytest

from camber.storage.sqlite.store import Durability, SqliteStore, StoreUnusable
from camber.storage.store import Commit, DocumentChange
from camber.values.ids import encode_id

ID = encode_id(10001, bytes(16))


def _commit(ts, before, after):
    change = DocumentChange(table=10001, id=ID, before=before, after=after, entries=())
    return Commit(ts=ts, changes=(change,), source="test")


def test_what_was_committed_is_there_after_reopening(tmp_path):
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    store.append([_commit(5, None, b"one"), _commit(9, b"one", b"two")])
    store.close()
    store = SqliteStore(path)
    assert store.newest_ts() == 9
    with store.snapshot() as snapshot:
        assert snapshot.get(10001, ID) == b"two"
    with store.snapshot(5) as snapshot:
        assert snapshot.get(10001, ID) == b"one"
    store.close()


def test_a_file_is_open_once(tmp_path):
    store = SqliteStore(tmp_path / "store.sqlite")
    with pytest.raises(StoreUnusable, match="open in another server"):
        SqliteStore(tmp_path / "store.sqlite")
    store.close()
    SqliteStore(tmp_path / "store.sqlite").close()


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreUnusable, match="not a Camber store"):
        SqliteStore(path)
    with sqlite3.connect(path) as again:
        assert again.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    again.close()


def test_a_damaged_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at " * 100)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("durability", "level"), [(Durability.FULL, 2), (Durability.NORMAL, 1)])
def test_durability_is_what_was_asked_for(tmp_path, durability, level):
    store = SqliteStore(tmp_path / "store.sqlite", durability=durability)
    assert store._writer.pragma("synchronous") == level
    assert store._writer.pragma("journal_mode") == "wal"
    store.close()


def test_a_group_that_cannot_be_written_leaves_nothing(tmp_path):
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([_commit(1, None, b"one")])
    store._writer.execute(
        "CREATE TRIGGER full BEFORE INSERT ON commits BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(apsw.ConstraintError):
        store.append([_commit(2, b"one", b"two"), _commit(3, b"two", b"three")])
    assert store.newest_ts() == 1
    with store.snapshot() as snapshot:
        assert snapshot.get(10001, ID) == b"one"
    store.close()
