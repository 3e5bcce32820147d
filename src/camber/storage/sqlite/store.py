"""SQLite in WAL mode: one writing connection, a pool of reading ones, everything in one file.

A snapshot is a read transaction whose first statement reads the newest timestamp: that pins it,
while `BEGIN` does not. With `synchronous=FULL` a commit survives the loss of power, with NORMAL
only that of the process; group commit is what makes FULL affordable.
"""

from __future__ import annotations

import fcntl
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final, cast

import apsw
import msgspec

from camber.errors import CamberError, OutOfRetention
from camber.occ.interval import IndexId, Interval, Order
from camber.occ.write_set import EVERY_KEY, EveryKey, IndexWrites
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite.staging import Staging
from camber.storage.store import (
    Commit,
    LoggedCommit,
    Revision,
    Revisions,
    Row,
    StagedRow,
    TooManyRevisions,
    id_of_key,
)
from camber.values.ids import id_length
from camber.values.keys import encode_key
from camber.values.timestamp import Timestamp

#: "Camb": marks the file as ours (PRAGMA application_id).
_APPLICATION_ID: Final = 0x43616D62
_FORMAT: Final = 1
#: Above every key: no part of a key starts with this byte.
_KEY_MAX: Final = b"\xff"
#: How long to wait for a lock that a backup tool may hold, in milliseconds.
_BUSY_MS: Final = 10_000


class Durability(Enum):
    """What an acknowledged commit survives."""

    #: The loss of power.
    FULL = "FULL"
    #: The end of the process, but not the loss of power: the last commits may be gone then.
    NORMAL = "NORMAL"


class StoreUnusable(CamberError):
    """A file that cannot be opened as a store; nothing in it was changed."""

    code = "StoreUnusable"


def _load_queries() -> dict[str, str]:
    text = resources.files("camber.storage.sqlite").joinpath("queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


_SQL: Final = _load_queries()


class SqliteStore:
    """A store in the file `path`, which is made if it is not there.

    Raises:
        StoreUnusable: the file is not a Camber store, is damaged, or another server has it open.
    """

    def __init__(self, path: Path, *, durability: Durability = Durability.FULL) -> None:
        self._path = path
        self._lock_file = _lock(path)
        self._pool: list[apsw.Connection] = []
        self._pool_lock = threading.Lock()
        self._closed = False
        try:
            self._writer = _connect(path)
            _prepare(self._writer, path)
            self._writer.execute(f"PRAGMA synchronous = {durability.value}")
            self._newest: Timestamp = _one(self._writer, "newest")
            self._history_bytes: int = _one(self._writer, "history_bytes")
            self._staging = Staging(self._writer, _SQL)
            self.unstage()
        except apsw.Error as error:
            self._lock_file.close()
            raise StoreUnusable(
                f"{path} cannot be opened as a Camber store: {error}. Nothing was changed; move "
                "the file away, or restore a backup"
            ) from error
        except BaseException:
            self._lock_file.close()
            raise

    def snapshot(self, ts: Timestamp | None = None) -> SqliteSnapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            newest: Timestamp = _one(connection, "newest")
            if ts is not None and ts < newest:
                floor = _one(connection, "floor")
                if ts < floor:
                    raise OutOfRetention(f"the snapshot at {ts} is gone: history begins at {floor}")
            assert ts is None or ts <= newest, f"{ts} is not here yet, the newest is {newest}"
        except BaseException:
            self._give_back(connection)
            raise
        return SqliteSnapshot(self, connection, newest if ts is None else ts, newest)

    def _reader(self) -> apsw.Connection:
        with self._pool_lock:
            if self._pool:
                return self._pool.pop()
        connection = _connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _give_back(self, connection: apsw.Connection) -> None:
        if connection.in_transaction:
            connection.execute("COMMIT")
        with self._pool_lock:
            if not self._closed:
                self._pool.append(connection)
                return
        connection.close()

    def append(self, commits: Sequence[Commit]) -> None:
        """Write commits, in order of growing timestamps, and make them durable."""
        batch = _Batch()
        for commit in commits:
            assert commit.ts > self._newest, f"{commit.ts} after {self._newest}"
        added = 0
        with _transaction(self._writer):
            for commit in commits:
                batch.add(commit)
                if commit.staged:
                    batch.write(self._writer)
                    added += batch.history_bytes + self._let_in(commit)
                    batch = _Batch()
            batch.write(self._writer)
        self._newest = commits[-1].ts
        self._history_bytes += added + batch.history_bytes

    def _let_in(self, commit: Commit) -> int:
        size = sum(self._staging.let_in(staged, commit.ts) for staged in commit.staged)
        self._writer.execute(_SQL["set_history_bytes"], (commit.ts, commit.history_bytes() + size))
        return size

    def newest_ts(self) -> Timestamp:
        """Return the timestamp of the newest commit; 0 if there is none."""
        newest: Timestamp = _one(self._writer, "newest")
        self._newest = newest
        return newest

    def tail(self, since: Timestamp) -> list[LoggedCommit]:
        """Return the commits after `since`, oldest first."""
        connection = self._reader()
        try:
            floor = _one(connection, "floor")
            if since < floor:
                raise OutOfRetention(f"the log begins at {floor}, after {since}")
            return [
                LoggedCommit(ts=ts, source=source, writes=_unpack_writes(writes))
                for ts, source, writes in connection.execute(_SQL["tail"], (since,))
            ]
        finally:
            self._give_back(connection)

    def revisions(
        self,
        *,
        since: Timestamp,
        upto: Timestamp,
        wanted: Callable[[int], bool],
        rows_max: int,
        commits_max: int,
        commit_rows_max: int,
    ) -> Revisions:
        """Return what documents of wanted tables became after `since`, up to `upto`."""
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            floor = _one(connection, "floor")
            if since < floor:
                raise OutOfRetention(f"the log begins at {floor}, after {since}")
            rows: list[Revision] = []
            # One more than asked for, to know whether there are more.
            commits = list(
                connection.execute(_SQL["commits_between"], (since, upto, commits_max + 1))
            )
            for ts, writes in commits[:commits_max]:
                found = _revisions_of(
                    connection, ts, _unpack_writes(writes), wanted, commit_rows_max
                )
                rows += found
                if len(rows) >= rows_max:
                    return Revisions(rows=rows, through=ts)
        finally:
            self._give_back(connection)
        through = commits[commits_max - 1][0] if len(commits) > commits_max else upto
        return Revisions(rows=rows, through=through)

    def trim(self, *, before: Timestamp, commits_max: int) -> int:
        """Forget what was superseded at or before `before`."""
        rows = list(self._writer.execute(_SQL["oldest_commits"], (before, commits_max)))
        if not rows:
            return 0
        places = [
            (index, key, ts)
            for ts, writes, _ in rows
            for index, keys in _unpack_writes(writes).items()
            if not isinstance(keys, EveryKey)
            for key in keys
        ]
        whole = [
            (index, ts)
            for ts, writes, _ in rows
            for index, keys in _unpack_writes(writes).items()
            if isinstance(keys, EveryKey)
        ]
        floor = rows[-1][0]
        with _transaction(self._writer):
            self._writer.executemany(
                _SQL["delete_document_history"],
                ((index // 2, key, ts) for index, key, ts in places if _is_by_id(index)),
            )
            self._writer.executemany(
                _SQL["delete_entry_history"],
                (place for place in places if not _is_by_id(place[0])),
            )
            self._writer.executemany(
                _SQL["delete_documents_history_of"],
                [(index // 2, ts) for index, ts in whole if _is_by_id(index)],
            )
            self._writer.executemany(
                _SQL["delete_entries_history_of"],
                [(index, ts) for index, ts in whole if not _is_by_id(index)],
            )
            self._writer.execute(_SQL["delete_commits"], (floor,))
            self._writer.execute(_SQL["set_floor"], (floor,))
        self._history_bytes -= sum(row[2] for row in rows)
        return len(rows)

    def history_bytes(self) -> int:
        """Return about how many bytes of history are kept."""
        return self._history_bytes

    def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that a snapshot may have."""
        floor: Timestamp = _one(self._writer, "floor")
        return floor

    def size_bytes(self) -> int:
        """Return the size of the file and of the log of writes beside it."""
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def build_index(self, index: IndexId, keys: Iterable[bytes]) -> None:
        """Write entries of a new index, for documents that there are now."""
        with _transaction(self._writer):
            self._writer.executemany(_SQL["put_entry"], ((index, key) for key in keys))

    def drop_index(self, index: IndexId, *, entries_max: int) -> int:
        """Remove entries of an index, and their history; return how many there were."""
        with _transaction(self._writer):
            self._writer.execute(_SQL["drop_entries"], (index, entries_max))
            removed = self._writer.changes()
            self._writer.execute(_SQL["drop_entries_history"], (index, entries_max))
            return removed + self._writer.changes()

    def stage(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Put rows aside for a table."""
        with _transaction(self._writer):
            self._staging.add(table, rows)

    def staged_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys above `after` that are staged for an index, in order."""
        if _is_by_id(index):
            return self._staging.document_keys(index // 2, after, limit)
        return self._staging.entry_keys(index, after, limit)

    def staged_and_there(self, table: int) -> bytes | None:
        """Return the key of a staged row whose document the table has already, or None."""
        return self._staging.there_already(table)

    def unstage(self) -> None:
        """Forget all that is staged."""
        with _transaction(self._writer):
            self._staging.clear()

    def close(self) -> None:
        """Close the store. Snapshots must be closed before."""
        with self._pool_lock:
            self._closed = True
            pool, self._pool = self._pool, []
        for connection in pool:
            connection.close()
        self._writer.close()
        self._lock_file.close()


class SqliteSnapshot:
    """All data of a SQLite store as of one timestamp."""

    __slots__ = ("_connection", "_is_newest", "_store", "ts")

    def __init__(
        self,
        store: SqliteStore,
        connection: apsw.Connection,
        ts: Timestamp,
        newest: Timestamp,
    ) -> None:
        self.ts: Timestamp = ts
        self._store = store
        self._connection: apsw.Connection | None = connection
        self._is_newest = ts == newest

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""
        return self._document(table, encode_key([id]))

    def _document(self, table: int, key: bytes) -> bytes | None:
        if not self._is_newest:
            row = self._first("get_superseded", (table, key, self.ts))
            if row is not None:
                return cast("bytes | None", row[0])
        row = self._first("get", (table, key))
        return None if row is None else cast("bytes", row[0])

    def _first(self, query: str, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
        for row in self._rows(query, parameters):
            return row
        return None

    def _rows(self, query: str, parameters: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
        assert self._connection is not None, "the snapshot is closed"
        return self._connection.execute(_SQL[query], parameters)

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order."""
        start, end = interval.start, _KEY_MAX if interval.end is None else interval.end
        if not self._is_newest:
            return self._scan_older(table, index, start, end, order, limit)
        if index == by_id_index(table):
            rows = self._rows(f"scan_documents_{order.value}", (table, start, end, limit))
        else:
            id_bytes = id_length(table) + 2
            rows = self._rows(
                f"scan_entries_{order.value}", (table, start, end, limit, index, -id_bytes)
            )
        return [Row(key, packed) for key, packed in rows]

    def _scan_older(
        self, table: int, index: IndexId, start: bytes, end: bytes, order: Order, limit: int
    ) -> list[Row]:
        """Lay what was superseded since over what is current."""
        is_by_id = index == by_id_index(table)
        kind, place = ("documents", table) if is_by_id else ("entries", index)
        superseded = {
            key: bool(present)
            for key, present, _ in self._rows(f"{kind}_superseded", (place, start, end, self.ts))
        }
        gone = sum(not present for present in superseded.values())
        one = "document" if is_by_id else "entry"
        current = self._rows(
            f"{one}_keys_{order.value}", (place, start, end, min(limit + gone, 2**62))
        )
        keys = {key for (key,) in current if superseded.get(key, True)}
        keys.update(key for key, present in superseded.items() if present)
        id_bytes = id_length(table) + 2
        rows = []
        for key in sorted(keys, reverse=order is Order.DESC)[:limit]:
            packed = self._document(table, key[-id_bytes:])
            assert packed is not None, f"index {index} leads to a document that is not there"
            rows.append(Row(key, packed))
        return rows

    def close(self) -> None:
        """End the read transaction: an open one keeps the log from being checkpointed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._store._give_back(connection)  # noqa: SLF001  # a snapshot is the store's own

    def __enter__(self) -> SqliteSnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _revisions_of(
    connection: apsw.Connection,
    ts: Timestamp,
    writes: IndexWrites,
    wanted: Callable[[int], bool],
    rows_max: int,
) -> list[Revision]:
    """Return what the commit at `ts` made of the documents of wanted tables."""
    rows: list[Revision] = []
    for index in sorted(filter(_is_by_id, writes)):
        table, keys = index // 2, writes[index]
        if not wanted(table):
            continue
        if isinstance(keys, EveryKey):
            parameters = (table, ts, rows_max + 1)
            keys = [key for (key,) in connection.execute(_SQL["documents_of_commit"], parameters)]
        if len(rows) + len(keys) > rows_max:
            raise TooManyRevisions(ts)
        for key in sorted(keys):
            # What it was before the next change is what this one made of it.
            later = list(connection.execute(_SQL["get_superseded"], (table, key, ts)))
            found = later or list(connection.execute(_SQL["get"], (table, key)))
            rows.append(Revision(ts, table, id_of_key(key), found[0][0] if found else None))
    return rows


class _Batch:
    """The rows of a group of commits: of each key what it ends as, and all of its history."""

    def __init__(self) -> None:
        self._documents: dict[tuple[int, bytes], bytes | None] = {}
        self._entries: dict[tuple[IndexId, bytes], bool] = {}
        self._documents_history: list[tuple[int, bytes, Timestamp, bytes | None]] = []
        self._entries_history: list[tuple[IndexId, bytes, Timestamp, int]] = []
        self._commits: list[tuple[Timestamp, str, bytes, int]] = []
        self.history_bytes = 0

    def add(self, commit: Commit) -> None:
        for change in commit.changes:
            key = encode_key([change.id])
            self._documents[change.table, key] = change.after
            self._documents_history.append((change.table, key, commit.ts, change.before))
            for entry in change.entries:
                if entry.removed == entry.added:
                    continue
                if entry.removed is not None:
                    self._entries[entry.index, entry.removed] = False
                    self._entries_history.append((entry.index, entry.removed, commit.ts, 1))
                if entry.added is not None:
                    self._entries[entry.index, entry.added] = True
                    self._entries_history.append((entry.index, entry.added, commit.ts, 0))
        added = commit.history_bytes()
        self.history_bytes += added
        writes = _pack_writes(commit.index_writes())
        self._commits.append((commit.ts, commit.source, writes, added))

    def write(self, connection: apsw.Connection) -> None:
        documents = self._documents.items()
        entries = self._entries.items()
        connection.executemany(
            _SQL["put_document"],
            [(table, key, value) for (table, key), value in documents if value is not None],
        )
        connection.executemany(
            _SQL["delete_document"], [place for place, value in documents if value is None]
        )
        connection.executemany(_SQL["put_entry"], [place for place, present in entries if present])
        connection.executemany(
            _SQL["delete_entry"], [place for place, present in entries if not present]
        )
        connection.executemany(_SQL["add_document_history"], self._documents_history)
        connection.executemany(_SQL["add_entry_history"], self._entries_history)
        connection.executemany(_SQL["add_commit"], self._commits)


class _transaction:  # noqa: N801  # used as a statement
    """A write transaction: committed at the end of the block, rolled back if it raises."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        # Some failures, such as a full disk, have rolled back already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=64)
    connection.set_busy_timeout(_BUSY_MS)
    return connection


def _prepare(connection: apsw.Connection, path: Path) -> None:
    """Make the tables of an empty file; refuse one that is not ours."""
    application: int = connection.pragma("application_id")
    tables: int = next(connection.execute("SELECT count(*) FROM sqlite_schema"))[0]
    if application != _APPLICATION_ID and (application != 0 or tables != 0):
        msg = f"{path} is a SQLite database, but not a Camber store; choose another --data"
        raise StoreUnusable(msg)
    connection.pragma("journal_mode", "wal")
    if tables == 0:
        schema = resources.files("camber.storage.sqlite").joinpath("schema.sql").read_text()
        with _transaction(connection):
            connection.execute(schema)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        return
    found: int = next(connection.execute("SELECT value FROM meta WHERE name = 'format'"))[0]
    if found != _FORMAT:
        msg = f"{path} has format {found}; this version of Camber reads format {_FORMAT}"
        raise StoreUnusable(msg)


def _lock(path: Path) -> IO[str]:
    """Keep other servers from the file until the process ends."""
    lock_path = path.with_name(f"{path.name}.lock")
    lock_file = lock_path.open("a")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        msg = f"{path} is open in another server; stop it first, or choose another --data"
        raise StoreUnusable(msg) from None
    return lock_file


def _is_by_id(index: IndexId) -> bool:
    # Ids of declared indexes lie above those of every table's own two (storage.index_ids).
    return index < 2**33 and index % 2 == 0


def _one(connection: apsw.Connection, query: str) -> Any:
    return next(connection.execute(_SQL[query]))[0]


def _pack_writes(writes: IndexWrites) -> bytes:
    return msgspec.msgpack.encode(
        {
            index: None if isinstance(keys, EveryKey) else list(keys)
            for index, keys in writes.items()
        }
    )


def _unpack_writes(packed: bytes) -> dict[IndexId, list[bytes] | EveryKey]:
    found = msgspec.msgpack.decode(packed, type=dict[int, list[bytes] | None])
    return {index: EVERY_KEY if keys is None else keys for index, keys in found.items()}
