"""Reading a SQLite store, from the server or from a process beside it.

A snapshot is a read transaction whose first statement reads the newest timestamp: that pins it,
while `BEGIN` does not. Every row says since when it holds, so an older timestamp is read by the
same statements; those that also look for what was removed are needed only if something was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast

import apsw
import msgspec

from camber.errors import OutOfRetention, StorageDamaged, StorageFailed, StorageFull
from camber.occ.interval import IndexId, Interval, Order
from camber.occ.write_set import EveryKey
from camber.search.nearest import VectorChange, VectorHit, overlaid
from camber.search.ranking import (
    Hit,
    Statistics,
    TextChange,
    Window,
    overlaid_hits,
    overlaid_statistics,
)
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite import texts, vectors
from camber.storage.sqlite.statements import named_statements, sql_of
from camber.storage.store import (
    Commit,
    LoggedCommit,
    Revision,
    Revisions,
    Row,
    TooManyRevisions,
    id_key,
    id_of_key,
)
from camber.values.timestamp import Timestamp

#: Above every key: no part of a key starts with this byte.
_KEY_MAX: Final = b"\xff"
#: How long to wait for a lock that a backup tool may hold, in milliseconds.
BUSY_MS: Final = 10_000
#: Entries removed since a snapshot up to which all of them are looked at, wherever they stood: a
#: scan takes some 50 µs longer then. Beyond, those that were ever removed within its interval are.
_RECENTLY_REMOVED_MAX: Final = 500


SQL: Final = named_statements(sql_of("queries.sql"))


#: Makes a row of what SQLite returns, without a step in Python.
_row: Final = cast("Callable[[tuple[Any, ...]], Row]", partial(tuple.__new__, Row))


class SqliteReader:
    """A pool of reading connections to the store in the file `path`, which must be there.

    Each commit empties a connection's own cache. Of the file, `mapped_bytes` are read from the
    system's instead, in place: for processes that may be lost, since a damaged disk ends them.
    """

    def __init__(self, path: Path, *, mapped_bytes: int = 0) -> None:
        self._path = path
        self._mapped_bytes = mapped_bytes
        self.recently_removed_max = _RECENTLY_REMOVED_MAX
        self.vector_blocks = vectors.VectorBlocks()
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
            newest, removed = next(connection.execute(SQL["newest"]))
            snapshot = SqliteSnapshot(self, connection, newest, _Removed(removed, removed))
            return snapshot if ts is None or ts == newest else snapshot.at(ts)
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
            return list(_commits_after(connection, since))
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
            # Closed before the connection is given back: a statement that is open would pin it.
            with closing(_commits_after(connection, since)) as commits:
                for number, commit in enumerate(commits):
                    if commit.ts > upto:
                        break
                    if number == commits_max or len(rows) >= rows_max:
                        return Revisions(rows=rows, through=since)
                    rows += _revisions_of(connection, commit, wanted, commit_rows_max)
                    since = commit.ts
        finally:
            self.give_back(connection)
        return Revisions(rows=rows, through=since if len(rows) >= rows_max else upto)

    def _take(self) -> apsw.Connection:
        with self._lock:
            if self._pool:
                return self._pool.pop()
        connection = connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA mmap_size = {self._mapped_bytes}")
        texts.prepare(connection)
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


class SharedSnapshots:
    """Snapshots that share one read transaction for as long as it will do. For one thread.

    It is what is newest when it begins, so it does until somebody asks for something newer.
    """

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader
        self.recently_removed_max = reader.recently_removed_max
        self.vector_blocks = reader.vector_blocks
        self._newest: SqliteSnapshot | None = None
        self._began_s = 0.0
        #: How many snapshots of it are open.
        self._open = 0

    def snapshot(self, ts: Timestamp | None = None) -> SqliteSnapshot:
        """Return the newest snapshot, or the one at exactly `ts`.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        newest = self._newest
        if newest is None or ts is None or ts > newest.ts:
            if self._open:
                return self._reader.snapshot(ts)
            self.end()
            newest = self._newest = self._reader.snapshot()
            self._began_s = perf_counter()
        shared = newest.shared_by(self)
        found = shared if ts is None or ts == newest.ts else shared.at(ts)
        self._open += 1
        return found

    def give_back(self, connection: apsw.Connection) -> None:
        """Note that a snapshot has ended."""
        del connection
        self._open -= 1

    def end(self, *, older_than_s: float = 0.0) -> None:
        """End the read transaction, if it has gone on for so long and no snapshot of it is open."""
        newest = self._newest
        if newest is None or self._open or perf_counter() - self._began_s < older_than_s:
            return
        self._newest = None
        newest.close()


class _Owner(Protocol):
    """Whoever has the connection of a snapshot."""

    @property
    def recently_removed_max(self) -> int:
        """Return up to how many removed entries all of them are looked at."""

    @property
    def vector_blocks(self) -> vectors.VectorBlocks:
        """Return the vectors that are in memory."""

    def give_back(self, connection: apsw.Connection) -> None:
        """Take back the connection of a snapshot that has ended."""


class _Removed(NamedTuple):
    """How many entries had been removed at the timestamp of a snapshot, or fewer, and until now."""

    then: int
    now: int


#: Where it is not known whether anything was removed.
_ANY_REMOVED: Final = _Removed(0, 1)


class SqliteSnapshot:
    """All data of a SQLite store as of one timestamp."""

    __slots__ = ("_connection", "_owner", "_removed", "_text_changes", "_vector_changes", "ts")

    def __init__(
        self, owner: _Owner, connection: apsw.Connection, ts: Timestamp, removed: _Removed
    ) -> None:
        self.ts: Timestamp = ts
        self._owner = owner
        self._connection: apsw.Connection | None = connection
        self._removed = removed
        #: By text index what differs from what is current.
        self._text_changes: dict[IndexId, list[TextChange]] = {}
        #: By vector index likewise.
        self._vector_changes: dict[IndexId, list[VectorChange]] = {}

    def shared_by(self, owner: _Owner) -> SqliteSnapshot:
        """Return the same snapshot, whose end `owner` is told."""
        return SqliteSnapshot(owner, self._open(), self.ts, self._removed)

    def at(self, ts: Timestamp) -> SqliteSnapshot:
        """Return the snapshot at an older timestamp, of the same read transaction.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        assert ts < self.ts, f"{ts} is not here yet, the newest is {self.ts}"
        connection = self._open()
        try:
            floor = one(connection, "floor")
            _, removed_by = next(connection.execute(SQL["removed_by"], (ts,)))
        except apsw.Error as error:
            fail(error)
        if ts < floor:
            raise OutOfRetention(f"the snapshot at {ts} is gone: history begins at {floor}")
        removed = _Removed(removed_by, self._removed.now)
        return SqliteSnapshot(self._owner, connection, ts, removed)

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""
        try:
            return _get(self._open(), by_id_index(table), id_key(id), self.ts, self._removed)
        except apsw.Error as error:
            fail(error)

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order."""
        end = _KEY_MAX if interval.end is None else interval.end
        parameters: tuple[Any, ...] = (index, interval.start, end, limit, self.ts)
        then, now = self._removed
        if now == then:
            query = f"scan_{order.value}"
        elif now - then <= self._owner.recently_removed_max:
            query = f"scan_recent_{order.value}"
            parameters += (then,)
        else:
            query = f"scan_removed_{order.value}"
        try:
            rows = self._open().execute(SQL[query], parameters)
            return list(map(_row, rows))
        except apsw.Error as error:
            fail(error)

    def count(self, index: IndexId) -> int:
        """Return how many entries an index has."""
        connection = self._open()
        try:
            (count,) = next(connection.execute(SQL["count"], (index, self.ts)))
            if self._removed.now > self._removed.then:
                parameters = (index, self.ts, self._removed.then)
                (removed,) = next(connection.execute(SQL["count_removed"], parameters))
                count += removed
        except apsw.Error as error:
            fail(error)
        return cast("int", count)

    def text_statistics(self, index: IndexId, query: TextQuery) -> Statistics:
        """Return what scores of a search of a text index are made of."""
        try:
            changes = self._changes(index)
            current = texts.text_statistics(self._open(), index, query)
        except apsw.Error as error:
            fail(error)
        return overlaid_statistics(current, query, changes)

    def text_hits(
        self, index: IndexId, query: TextQuery, statistics: Statistics, window: Window, limit: int
    ) -> list[Hit]:
        """Return the first `limit` documents that a search finds within `window`, best first."""
        try:
            changes = self._changes(index)
            most = limit + len(changes)
            current = texts.text_hits(self._open(), index, query, statistics, window, most)
        except apsw.Error as error:
            fail(error)
        if not changes:
            return current
        return overlaid_hits(current, query, statistics, window, limit, changes)

    def vector_hits(self, index: IndexId, query: VectorQuery, limit: int) -> list[VectorHit]:
        """Return the `limit` documents of a vector index that are nearest, nearest first."""
        try:
            changes = self._vector_changes.get(index)
            if changes is None:
                gone = self._gone(index)
                changes = vectors.changes_since(self._open(), index, self.ts, gone)
                self._vector_changes[index] = changes
            blocks = self._owner.vector_blocks
            current = blocks.hits(self._open(), index, query, limit + len(changes))
        except apsw.Error as error:
            fail(error)
        return overlaid(current, query, limit, changes) if changes else current

    def _changes(self, index: IndexId) -> list[TextChange]:
        changes = self._text_changes.get(index)
        if changes is None:
            gone = self._gone(index)
            changes = texts.changes_since(self._open(), index, self.ts, gone)
            self._text_changes[index] = changes
        return changes

    def _gone(self, index: IndexId) -> list[bytes]:
        """Return the keys that were there and are no more, or are there again."""
        then, now = self._removed
        if now - then <= self._owner.recently_removed_max:
            rows = self._open().execute(SQL["gone_recently"], (index, self.ts, then))
        else:
            rows = self._open().execute(SQL["gone"], (index, self.ts))
        return [key for (key,) in rows]

    def _open(self) -> apsw.Connection:
        assert self._connection is not None, "the snapshot is closed"
        return self._connection

    def close(self) -> None:
        """End the read transaction: an open one keeps the log from being checkpointed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._owner.give_back(connection)

    def __enter__(self) -> SqliteSnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _get(
    connection: apsw.Connection, by_id: IndexId, key: bytes, ts: Timestamp, removed: _Removed
) -> bytes | None:
    parameters = (by_id, key, ts)
    for (value,) in connection.execute(SQL["get"], parameters):
        return cast("bytes", value)
    if removed.now > removed.then:
        for (value,) in connection.execute(SQL["get_removed"], parameters):
            return cast("bytes", value)
    return None


def _commits_after(
    connection: apsw.Connection, since: Timestamp
) -> Generator[LoggedCommit, None, None]:
    for (packed,) in connection.execute(SQL["groups_after"], (since,)):
        yield from (commit for commit in unpack_commits(packed) if commit.ts > since)


def _revisions_of(
    connection: apsw.Connection,
    commit: LoggedCommit,
    wanted: Callable[[int], bool],
    rows_max: int,
) -> list[Revision]:
    """Return what a commit made of the documents of wanted tables."""
    ts = commit.ts
    rows: list[Revision] = []
    for index in sorted(filter(is_by_id, commit.writes)):
        table, keys = index // 2, commit.writes[index]
        if not wanted(table):
            continue
        if isinstance(keys, EveryKey):
            parameters = (index, ts, rows_max + 1)
            keys = [key for (key,) in connection.execute(SQL["documents_of_commit"], parameters)]
        if len(rows) + len(keys) > rows_max:
            raise TooManyRevisions(ts)
        for key in sorted(keys):
            packed = _get(connection, index, key, ts, _ANY_REMOVED)
            rows.append(Revision(ts, table, id_of_key(key), packed))
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
    connection = apsw.Connection(str(path), statementcachesize=128)
    connection.set_busy_timeout(BUSY_MS)
    # Else SQLite plans a statement anew for each value that a range is bound to, which costs several
    # times what reading a document does.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def one(connection: apsw.Connection, query: str, *parameters: str) -> Any:
    """Return the only value of a query that has one in every store.

    Raises:
        StorageDamaged: it has none.
    """
    for (value,) in connection.execute(SQL[query], parameters):
        return value
    asked = " ".join((query, *parameters))
    msg = f"what is stored is damaged (no {asked}): stop the server and restore a backup"
    raise StorageDamaged(msg)


def pack_commits(commits: Sequence[Commit]) -> bytes:
    """Return what the log keeps of a group of commits."""
    return msgspec.msgpack.encode([(commit.ts, commit.source, commit.writes) for commit in commits])


def unpack_commits(packed: bytes) -> list[LoggedCommit]:
    """Return the commits that `pack_commits` made bytes of."""
    return _LOGGED.decode(packed)


_LOGGED: Final = msgspec.msgpack.Decoder(list[LoggedCommit])
