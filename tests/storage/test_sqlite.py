"""What only the SQLite store has: a file."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import apsw
import pytest

from camber import limits
from camber.errors import OutOfRetention
from camber.occ.interval import ALL, Order
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite.store import Durability, SqliteStore, StoreUnusable
from camber.storage.store import Commit, DocumentChange
from camber.values.ids import encode_id
from camber.values.keys import encode_key

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
        "CREATE TRIGGER full BEFORE INSERT ON groups BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(apsw.ConstraintError):
        store.append([_commit(2, b"one", b"two"), _commit(3, b"two", b"three")])
    assert store.newest_ts() == 1
    with store.snapshot() as snapshot:
        assert snapshot.get(10001, ID) == b"one"
    store.close()


FORMAT_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('format', 1), ('history_floor', 0);
CREATE TABLE documents (
  table_id INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (table_id, key)
) WITHOUT ROWID;
CREATE TABLE entries (
  index_id INTEGER NOT NULL, key BLOB NOT NULL,
  PRIMARY KEY (index_id, key)
) WITHOUT ROWID;
CREATE TABLE documents_history (
  table_id INTEGER NOT NULL, key BLOB NOT NULL, ts INTEGER NOT NULL, before BLOB,
  PRIMARY KEY (table_id, key, ts)
) WITHOUT ROWID;
CREATE TABLE entries_history (
  index_id INTEGER NOT NULL, key BLOB NOT NULL, ts INTEGER NOT NULL, present INTEGER NOT NULL,
  PRIMARY KEY (index_id, key, ts)
) WITHOUT ROWID;
CREATE TABLE commits (
  ts INTEGER PRIMARY KEY, source TEXT NOT NULL, writes BLOB NOT NULL, history_bytes INTEGER NOT NULL
);
"""


def test_a_store_of_format_1_is_taken_over(tmp_path):
    path = tmp_path / "store.sqlite"
    ids = {table: [encode_id(table, bytes([n] * 16)) for n in range(5)] for table in (10001, 2**20)}
    index = 2**33 + 1000
    old = apsw.Connection(str(path))
    old.pragma("journal_mode", "wal")
    old.execute(FORMAT_1)
    old.execute("PRAGMA application_id = 0x43616D62")
    for table, of_table in ids.items():
        for n, id_ in enumerate(of_table):
            key, value = encode_key([id_]), b"%d %d" % (table, n)
            old.execute("INSERT INTO documents VALUES (?, ?, ?)", (table, key, value))
            old.execute("INSERT INTO entries VALUES (?, ?)", (index + table, encode_key([-n, id_])))
    # Staged when the server ended.
    old.execute("INSERT INTO documents VALUES (-10001, x'10', x'00')")
    old.execute("INSERT INTO commits VALUES (7, 'f', x'80', 0), (9, 'f', x'80', 0)")
    old.close()

    store = SqliteStore(path)
    assert (store.newest_ts(), store.history_floor(), store.tail(9)) == (9, 9, [])
    with pytest.raises(OutOfRetention):
        store.snapshot(8)
    with store.snapshot() as snapshot:
        for table, of_table in ids.items():
            values = [b"%d %d" % (table, n) for n in range(5)]
            assert [snapshot.get(table, id_) for id_ in of_table] == values
            rows = snapshot.scan(table, index + table, ALL, Order.ASC, 10)
            assert [row.packed for row in rows] == values[::-1]
            rows = snapshot.scan(table, by_id_index(table), ALL, Order.ASC, 10)
            assert [row.packed for row in rows] == values
    change = DocumentChange(
        table=10001, id=ids[10001][0], before=b"10001 0", after=b"new", entries=()
    )
    store.append([Commit(ts=10, changes=(change,), source="f")])
    with store.snapshot(9) as snapshot:
        assert snapshot.get(10001, ids[10001][0]) == b"10001 0"
    store.close()
    SqliteStore(path).close()


def test_a_store_of_a_later_format_is_refused(tmp_path):
    path = tmp_path / "store.sqlite"
    SqliteStore(path).close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE meta SET value = 5 WHERE name = 'format'")
    other.close()
    with pytest.raises(StoreUnusable, match="has format 5; this version of Camber reads formats"):
        SqliteStore(path)


def _inserts(first, count):
    for ts in range(first, first + count):
        change = DocumentChange(
            table=10001,
            id=encode_id(10001, ts.to_bytes(16, "big")),
            before=None,
            after=bytes(2000),
            entries=(),
        )
        yield Commit(ts=ts, changes=(change,), source="test")


def test_the_log_stays_small_however_long_readers_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "store_log_pages", 50)
    path = tmp_path / "store.sqlite"
    log = tmp_path / "store.sqlite-wal"
    largest = []
    with closing(SqliteStore(path)) as store:
        reader = store.snapshot()
        for ts in range(1, 2000, 10):
            store.append(list(_inserts(ts, 10)))
            if ts % 200 == 1:
                reader.close()
            if store.checkpoint():
                store.finish_checkpoint()
            if ts % 200 == 1:
                reader = store.snapshot()
            largest.append(log.stat().st_size)
        reader.close()
    # Some 2,000 pages were written.
    assert max(largest) < 300 * 4096


def test_a_reader_that_stays_does_not_stop_commits(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "store_log_pages", 5)
    with closing(SqliteStore(tmp_path / "store.sqlite")) as store:
        store.append(list(_inserts(1, 1)))
        with store.snapshot() as snapshot:
            store.append(list(_inserts(2, 20)))
            assert store.checkpoint()
            store.finish_checkpoint()
            store.append(list(_inserts(22, 1)))
            assert snapshot.get(10001, encode_id(10001, (22).to_bytes(16, "big"))) is None
        with store.snapshot() as snapshot:
            assert snapshot.get(10001, encode_id(10001, (22).to_bytes(16, "big"))) is not None


def test_history_is_trimmed_a_bounded_number_of_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "history_rows_trimmed", 3)
    with closing(SqliteStore(tmp_path / "store.sqlite")) as store:
        store.append([_commit(1, None, b"0")])
        for ts in range(2, 12):
            store.append([_commit(ts, b"%d" % (ts - 2), b"%d" % (ts - 1))])

        def rows():
            return next(store._writer.execute("SELECT count(*) FROM documents_history"))[0]

        assert rows() == 10
        left = []
        while store.trim(before=10, commits_max=100):
            left.append(rows())
        # The history of the newest commit stays, and what was forgotten is never read again.
        assert left == [7, 4, 1]
        assert store.history_floor() == 10
        with store.snapshot(10) as snapshot:
            assert snapshot.get(10001, ID) == b"9"
