"""Reading a SQLite store, from the server or from a process beside it.

A snapshot is a read transaction whose first statement reads the newest timestamp: that pins it,
while `BEGIN` does not. An older timestamp is read by laying what was superseded since over what
is current, but only where a commit since has touched anything: usually nowhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import apsw
import msgspec

from camber.errors import OutOfRetention, StorageDamaged, StorageFailed, StorageFull
from camber.occ.interval import IndexId, Interval, Order
from camber.occ.write_set import EVERY_KEY, EveryKey, IndexWrites
from camber.storage.index_ids import by_id_index
from camber.storage.store import (
    LoggedCommit,
    Revision,
    Revisions,
    Row,
    TooManyRevisions,
    id_of_key,
)
from camber.values.ids import id_length
from camber.values.keys import encode_key
from camber.values.timestamp import Timestamp

#: Above every key: no part of a key starts with this byte.
_KEY_MAX: Final = b"\xff"
#: How long to wait for a lock that a backup tool may hold, in milliseconds.
_BUSY_MS: Final = 10_000
#: By measure: beyond this, reading what was touched costs more than laying over.
_COMMITS_LAID_OVER: Final = 64


def _load_queries() -> dict[str, str]:
    text = resources.files("camber.storage.sqlite").joinpath("queries.sql").read_text()
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


SQL: Final = _load_queries()


class SqliteReader:
    """A pool of reading connections to the store in the file `path`, which must be there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Commits since a snapshot up to which it is worth asking what they have touched.
        self.commits_laid_over = _COMMITS_LAID_OVER
        self._pool: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def snapshot(self, ts: Timestamp | None = None) -> SqliteSnapshot:
        """Return the newest snapshot, or the one at exactly `ts`.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN")
            newest: Timestamp = one(connection, "newest")
            if ts is not None and ts < newest:
                floor = one(connection, "floor")
                if ts < floor:
                    raise OutOfRetention(f"the snapshot at {ts} is gone: history begins at {floor}")
            assert ts is None or ts <= newest, f"{ts} is not here yet, the newest is {newest}"
            return SqliteSnapshot(self, connection, newest if ts is None else ts, newest)
        except apsw.Error as error:
            connection.close()
            fail(error)
        except BaseException:
            self.give_back(connection)
            raise

    def tail(self, since: Timestamp) -> list[LoggedCommit]:
        """Return the commits after `since`, oldest first.

        Raises:
            OutOfRetention: history does not reach back to `since`.
        """
        connection = self._take()
        try:
            floor = one(connection, "floor")
            if since < floor:
                raise OutOfRetention(f"the log begins at {floor}, after {since}")
            return [
                LoggedCommit(ts=ts, source=source, writes=unpack_writes(writes))
                for ts, source, writes in connection.execute(SQL["tail"], (since,))
            ]
        finally:
            self.give_back(connection)

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
        """Return what documents of wanted tables became after `since`, up to `upto`.

        Raises:
            OutOfRetention: history does not reach back to `since`.
            TooManyRevisions: one commit has more than `commit_rows_max`.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN")
            floor = one(connection, "floor")
            if since < floor:
                raise OutOfRetention(f"the log begins at {floor}, after {since}")
            rows: list[Revision] = []
            # One more than asked for, to know whether there are more.
            commits = list(
                connection.execute(SQL["commits_between"], (since, upto, commits_max + 1))
            )
            for ts, writes in commits[:commits_max]:
                found = _revisions_of(
                    connection, ts, unpack_writes(writes), wanted, commit_rows_max
                )
                rows += found
                if len(rows) >= rows_max:
                    return Revisions(rows=rows, through=ts)
        finally:
            self.give_back(connection)
        through = commits[commits_max - 1][0] if len(commits) > commits_max else upto
        return Revisions(rows=rows, through=through)

    def _take(self) -> apsw.Connection:
        with self._lock:
            if self._pool:
                return self._pool.pop()
        connection = connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def give_back(self, connection: apsw.Connection) -> None:
        """Take back the connection of a snapshot that has ended."""
        if connection.in_transaction:
            try:
                connection.execute("COMMIT")
            except apsw.Error:
                # The end of a read that met damage, which whoever read has been told: nothing is lost.
                connection.close()
                return
        with self._lock:
            if not self._closed:
                self._pool.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections. Snapshots must be closed before."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, []
        for connection in pool:
            connection.close()


class SqliteSnapshot:
    """All data of a SQLite store as of one timestamp."""

    __slots__ = ("_connection", "_is_newest", "_reader", "_touched", "ts")

    def __init__(
        self,
        reader: SqliteReader,
        connection: apsw.Connection,
        ts: Timestamp,
        newest: Timestamp,
    ) -> None:
        self.ts: Timestamp = ts
        self._reader = reader
        self._connection: apsw.Connection | None = connection
        self._is_newest = ts == newest
        #: Which keys commits since `ts` have touched, by index; None if there are too many to say.
        self._touched: dict[IndexId, list[bytes]] | None = (
            None if self._is_newest else self._touches()
        )

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""
        try:
            return self._document(table, encode_key([id]))
        except apsw.Error as error:
            fail(error)

    def _document(self, table: int, key: bytes) -> bytes | None:
        if not self._holds(by_id_index(table), key, key + b"\0"):
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
        return self._connection.execute(SQL[query], parameters)

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order."""
        try:
            return self._scan(table, index, interval, order, limit)
        except apsw.Error as error:
            fail(error)

    def _scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        start, end = interval.start, _KEY_MAX if interval.end is None else interval.end
        if not self._holds(index, start, end):
            return self._scan_older(table, index, start, end, order, limit)
        if index == by_id_index(table):
            rows = self._rows(f"scan_documents_{order.value}", (table, start, end, limit))
        else:
            id_bytes = id_length(table) + 2
            rows = self._rows(
                f"scan_entries_{order.value}", (table, start, end, limit, index, -id_bytes)
            )
        return [Row(key, packed) for key, packed in rows]

    def count(self, index: IndexId) -> int:
        """Return how many entries an index has."""
        (current,) = self._first("count_entries", (index,)) or (0,)
        if self._holds(index, b"", _KEY_MAX):
            return cast("int", current)
        (vanished,) = self._first("count_vanished", (index, self.ts)) or (0,)
        return cast("int", current + vanished)

    def _touches(self) -> dict[IndexId, list[bytes]] | None:
        most = self._reader.commits_laid_over
        commits = list(self._rows("touched_since", (self.ts, most + 1)))
        if len(commits) > most:
            return None
        touched: dict[IndexId, list[bytes]] = {}
        for (writes,) in commits:
            for index, keys in unpack_writes(writes).items():
                if isinstance(keys, EveryKey):
                    return None
                touched.setdefault(index, []).extend(keys)
        return touched

    def _holds(self, index: IndexId, start: bytes, end: bytes) -> bool:
        """Return whether what is current in a part of an index is what was so at `ts`.

        A commit counts as touching an index wherever the documents that it changed stand in it.
        """
        if self._is_newest:
            return True
        if self._touched is None:
            return False
        return not any(start <= key < end for key in self._touched.get(index, ()))

    def _scan_older(
        self, table: int, index: IndexId, start: bytes, end: bytes, order: Order, limit: int
    ) -> list[Row]:
        """Lay what was superseded since over what is current.

        A part of the interval at a time: as far as the next current keys reach. What lies beyond is
        not looked at, however much of it was superseded.
        """
        rows: list[Row] = []
        id_bytes = id_length(table) + 2
        reach = limit
        while len(rows) < limit and start < end:
            keys, start, end = self._keys_of_part(table, index, start, end, order, reach)
            # What was all written since is passed in few steps.
            reach *= 4
            for key in keys[: limit - len(rows)]:
                packed = self._document(table, key[-id_bytes:])
                assert packed is not None, f"index {index} leads to a document that is not there"
                rows.append(Row(key, packed))
        return rows

    def _keys_of_part(
        self, table: int, index: IndexId, start: bytes, end: bytes, order: Order, limit: int
    ) -> tuple[list[bytes], bytes, bytes]:
        """Return the keys at `ts` in the first part of an interval, and what is left of it."""
        is_by_id = index == by_id_index(table)
        kind, place = ("documents", table) if is_by_id else ("entries", index)
        one = "document" if is_by_id else "entry"
        current = [
            key for (key,) in self._rows(f"{one}_keys_{order.value}", (place, start, end, limit))
        ]
        low, high, left = start, end, (end, end)
        if len(current) == limit and order is Order.ASC:
            high = current[-1] + b"\0"
            left = (high, end)
        elif len(current) == limit:
            low = current[-1]
            left = (start, low)
        superseded = {
            key: bool(present)
            for key, present, _ in self._rows(f"{kind}_superseded", (place, low, high, self.ts))
        }
        keys = {key for key in current if superseded.get(key, True)}
        keys.update(key for key, present in superseded.items() if present)
        return sorted(keys, reverse=order is Order.DESC), *left

    def close(self) -> None:
        """End the read transaction: an open one keeps the log from being checkpointed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reader.give_back(connection)

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
    for index in sorted(filter(is_by_id, writes)):
        table, keys = index // 2, writes[index]
        if not wanted(table):
            continue
        if isinstance(keys, EveryKey):
            parameters = (table, ts, rows_max + 1)
            keys = [key for (key,) in connection.execute(SQL["documents_of_commit"], parameters)]
        if len(rows) + len(keys) > rows_max:
            raise TooManyRevisions(ts)
        for key in sorted(keys):
            # What it was before the next change is what this one made of it.
            later = list(connection.execute(SQL["get_superseded"], (table, key, ts)))
            found = later or list(connection.execute(SQL["get"], (table, key)))
            rows.append(Revision(ts, table, id_of_key(key), found[0][0] if found else None))
    return rows


def is_by_id(index: IndexId) -> bool:
    """Return whether an index is the one of a table's documents by id."""
    # Ids of declared indexes lie above those of every table's own two (storage.index_ids).
    return index < 2**33 and index % 2 == 0


def fail(error: apsw.Error) -> NoReturn:
    """Raise what an error of SQLite's means to whoever uses the store.

    Raises:
        StorageFull: there is no room.
        StorageDamaged: the file is not what was written.
        StorageFailed: the disk refuses.
    """
    match error:
        case apsw.FullError():
            msg = "the server's disk is full; nothing was written. It goes on when there is room"
            raise StorageFull(msg) from error
        case apsw.CorruptError() | apsw.NotADBError():
            msg = f"what is stored is damaged ({error}): stop the server and restore a backup"
            raise StorageDamaged(msg) from error
        case apsw.IOError() | apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.BusyError():
            raise StorageFailed(f"the server's disk refuses: {error}") from error
        case _:
            # A bug of ours.
            raise error


def connect(path: Path) -> apsw.Connection:
    """Open a connection to a store's file."""
    connection = apsw.Connection(str(path), statementcachesize=64)
    connection.set_busy_timeout(_BUSY_MS)
    return connection


def one(connection: apsw.Connection, query: str) -> Any:
    """Return the only value of a query without parameters."""
    return next(connection.execute(SQL[query]))[0]


def pack_writes(writes: IndexWrites) -> bytes:
    """Return what is stored of the keys that a commit touched."""
    return msgspec.msgpack.encode(
        {
            index: None if isinstance(keys, EveryKey) else list(keys)
            for index, keys in writes.items()
        }
    )


def unpack_writes(packed: bytes) -> dict[IndexId, list[bytes] | EveryKey]:
    """Return the keys that `pack_writes` made bytes of."""
    found = msgspec.msgpack.decode(packed, type=dict[int, list[bytes] | None])
    return {index: EVERY_KEY if keys is None else keys for index, keys in found.items()}
