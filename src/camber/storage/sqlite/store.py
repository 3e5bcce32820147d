"""SQLite in WAL mode: one writing connection beside the reading ones, everything in one file.

With `synchronous=FULL` a commit survives the loss of power, with NORMAL only that of the process;
group commit is what makes FULL affordable.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import IO, Final

import apsw

from camber.errors import CamberError, StorageFailed
from camber.occ.interval import IndexId
from camber.occ.write_set import EveryKey
from camber.storage.sqlite.reading import (
    SQL,
    SqliteReader,
    SqliteSnapshot,
    connect,
    fail,
    is_by_id,
    one,
    pack_writes,
    unpack_writes,
)
from camber.storage.sqlite.staging import Staging
from camber.storage.store import Commit, LoggedCommit, Revisions, StagedRow
from camber.values.keys import encode_key
from camber.values.timestamp import Timestamp

#: "Camb": marks the file as ours (PRAGMA application_id).
_APPLICATION_ID: Final = 0x43616D62
_FORMAT: Final = 1
#: The start of every SQLite file, and how long its header is: the size of a page at 16 (65,536 is 1,
#: and not ours), how many there are at 28.
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100


class Durability(Enum):
    """What an acknowledged commit survives."""

    #: The loss of power.
    FULL = "FULL"
    #: The end of the process, but not the loss of power: the last commits may be gone then.
    NORMAL = "NORMAL"


class StoreUnusable(CamberError):
    """A file that cannot be opened as a store; nothing in it was changed."""

    code = "StoreUnusable"


class SqliteStore:
    """A store in the file `path`, which is made if it is not there.

    Raises:
        StoreUnusable: the file is not a Camber store, is damaged, or another server has it open.
    """

    def __init__(self, path: Path, *, durability: Durability = Durability.FULL) -> None:
        self._path = path
        self._lock_file = _lock(path)
        self._reader = SqliteReader(path)
        try:
            if not path.exists():
                _make(path)
            _refuse_part(path)
            self._writer = connect(path)
            _check(self._writer, path)
            self._writer.pragma("journal_mode", "wal")
            self._writer.execute(f"PRAGMA synchronous = {durability.value}")
            self._newest: Timestamp = one(self._writer, "newest")
            self._history_bytes: int = one(self._writer, "history_bytes")
            self._staging = Staging(self._writer, SQL)
            self.unstage()
        except (apsw.Error, StorageFailed, OSError) as error:
            self._lock_file.close()
            raise _unusable(path, error) from error
        except BaseException:
            self._lock_file.close()
            raise

    def snapshot(self, ts: Timestamp | None = None) -> SqliteSnapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""
        return self._reader.snapshot(ts)

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
        self._writer.execute(SQL["set_history_bytes"], (commit.ts, commit.history_bytes() + size))
        return size

    def newest_ts(self) -> Timestamp:
        """Return the timestamp of the newest commit; 0 if there is none."""
        newest: Timestamp = one(self._writer, "newest")
        self._newest = newest
        return newest

    def tail(self, since: Timestamp) -> list[LoggedCommit]:
        """Return the commits after `since`, oldest first."""
        return self._reader.tail(since)

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
        return self._reader.revisions(
            since=since,
            upto=upto,
            wanted=wanted,
            rows_max=rows_max,
            commits_max=commits_max,
            commit_rows_max=commit_rows_max,
        )

    def trim(self, *, before: Timestamp, commits_max: int) -> int:
        """Forget what was superseded at or before `before`."""
        rows = list(self._writer.execute(SQL["oldest_commits"], (before, commits_max)))
        if not rows:
            return 0
        places = [
            (index, key, ts)
            for ts, writes, _ in rows
            for index, keys in unpack_writes(writes).items()
            if not isinstance(keys, EveryKey)
            for key in keys
        ]
        whole = [
            (index, ts)
            for ts, writes, _ in rows
            for index, keys in unpack_writes(writes).items()
            if isinstance(keys, EveryKey)
        ]
        floor = rows[-1][0]
        with _transaction(self._writer):
            self._writer.executemany(
                SQL["delete_document_history"],
                ((index // 2, key, ts) for index, key, ts in places if is_by_id(index)),
            )
            self._writer.executemany(
                SQL["delete_entry_history"],
                (place for place in places if not is_by_id(place[0])),
            )
            self._writer.executemany(
                SQL["delete_documents_history_of"],
                [(index // 2, ts) for index, ts in whole if is_by_id(index)],
            )
            self._writer.executemany(
                SQL["delete_entries_history_of"],
                [(index, ts) for index, ts in whole if not is_by_id(index)],
            )
            self._writer.execute(SQL["delete_commits"], (floor,))
            self._writer.execute(SQL["set_floor"], (floor,))
        self._history_bytes -= sum(row[2] for row in rows)
        return len(rows)

    def history_bytes(self) -> int:
        """Return about how many bytes of history are kept."""
        return self._history_bytes

    def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that a snapshot may have."""
        floor: Timestamp = one(self._writer, "floor")
        return floor

    def size_bytes(self) -> int:
        """Return the size of the file and of the log of writes beside it."""
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def build_index(self, index: IndexId, keys: Iterable[bytes]) -> None:
        """Write entries of a new index, for documents that there are now."""
        with _transaction(self._writer):
            self._writer.executemany(SQL["put_entry"], ((index, key) for key in keys))

    def drop_index(self, index: IndexId, *, entries_max: int) -> int:
        """Remove entries of an index, and their history; return how many there were."""
        with _transaction(self._writer):
            self._writer.execute(SQL["drop_entries"], (index, entries_max))
            removed = self._writer.changes()
            self._writer.execute(SQL["drop_entries_history"], (index, entries_max))
            return removed + self._writer.changes()

    def stage(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Put rows aside for a table."""
        with _transaction(self._writer):
            self._staging.add(table, rows)

    def staged_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys above `after` that are staged for an index, in order."""
        if is_by_id(index):
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
        self._reader.close()
        self._writer.close()
        self._lock_file.close()


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
        writes = pack_writes(commit.writes)
        self._commits.append((commit.ts, commit.source, writes, added))

    def write(self, connection: apsw.Connection) -> None:
        documents = self._documents.items()
        entries = self._entries.items()
        connection.executemany(
            SQL["put_document"],
            [(table, key, value) for (table, key), value in documents if value is not None],
        )
        connection.executemany(
            SQL["delete_document"], [place for place, value in documents if value is None]
        )
        connection.executemany(SQL["put_entry"], [place for place, present in entries if present])
        connection.executemany(
            SQL["delete_entry"], [place for place, present in entries if not present]
        )
        connection.executemany(SQL["add_document_history"], self._documents_history)
        connection.executemany(SQL["add_entry_history"], self._entries_history)
        connection.executemany(SQL["add_commit"], self._commits)


class _transaction:  # noqa: N801  # used as a statement
    """A write transaction: committed at the end of the block, rolled back if it raises."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._execute("COMMIT")
            return
        self._roll_back()
        if isinstance(error, apsw.Error):
            fail(error)

    def _execute(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except BaseException as error:
            self._roll_back()
            if isinstance(error, apsw.Error):
                fail(error)
            raise

    def _roll_back(self) -> None:
        # Some failures, such as a full disk, have rolled back already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _refuse_part(path: Path) -> None:
    """Refuse a file that lacks its end.

    SQLite takes an empty one for a new one, and removes the log beside it.
    """
    size = path.stat().st_size
    if size == 0:
        msg = (
            f"{path} is empty: it was not copied whole, or has lost what was in it. Restore a "
            "backup; or remove the file, and everything begins anew"
        )
        raise StoreUnusable(msg)
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    pages = int.from_bytes(header[28:32], "big") * int.from_bytes(header[16:18], "big")
    # A log may hold what is missing: a checkpoint was broken off.
    if header.startswith(_MAGIC) and size < pages and not _has_log(path):
        msg = (
            f"{path} has {size} bytes of {pages}: it was not copied whole. Copy it again, or "
            "restore a backup"
        )
        raise StoreUnusable(msg)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _has_log(path: Path) -> bool:
    log = _log_of(path)
    return log.exists() and log.stat().st_size > 0


def _make(path: Path) -> None:
    """Make an empty store, whole or not at all: an empty file is never one."""
    if _has_log(path):
        msg = (
            f"{path} is not there, but the log of its writes is, {_log_of(path).name}. Put the file back; or "
            "remove the log, and all that was written last with it"
        )
        raise StoreUnusable(msg)
    partial = path.with_name(f"{path.name}.new")
    for left in (partial, partial.with_name(f"{partial.name}-journal")):
        left.unlink(missing_ok=True)
    schema = resources.files("camber.storage.sqlite").joinpath("schema.sql").read_text()
    connection = connect(partial)
    with _transaction(connection):
        connection.execute(schema)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.close()
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(connection: apsw.Connection, path: Path) -> None:
    """Refuse a file that is not ours."""
    application: int = connection.pragma("application_id")
    if application != _APPLICATION_ID:
        msg = f"{path} is a SQLite database, but not a Camber store; choose another --data"
        raise StoreUnusable(msg)
    found: int = next(connection.execute("SELECT value FROM meta WHERE name = 'format'"), [0])[0]
    if found != _FORMAT:
        msg = f"{path} has format {found}; this version of Camber reads format {_FORMAT}"
        raise StoreUnusable(msg)


def _unusable(path: Path, error: Exception) -> StoreUnusable:
    """Say why a file cannot be opened, and what to do."""
    # Of the store's own errors the cause: what a running server would say is no help.
    if isinstance(error.__cause__, apsw.Error):
        error = error.__cause__
    match error:
        case apsw.FullError() | OSError(errno=errno.ENOSPC):
            what = "the disk is full. Make room on it, and start again"
        case apsw.ReadOnlyError() | apsw.CantOpenError() | OSError():
            what = (
                f"{error}. Camber writes to it and beside it: give it a --data that it may change"
            )
        case _:
            what = (
                f"{error}. It is damaged, was not copied whole, or is another program's: restore "
                "a backup, or move it away"
            )
    return StoreUnusable(f"{path} cannot be opened as a Camber store: {what}. Nothing was changed")


def _lock(path: Path) -> IO[str]:
    """Keep other servers from the file until the process ends."""
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        lock_file = lock_path.open("a")
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        msg = f"{path} is open in another server; stop it first, or choose another --data"
        raise StoreUnusable(msg) from None
    return lock_file
