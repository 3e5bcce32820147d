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
from pathlib import Path
from typing import IO, Any, Final

import apsw

from camber import limits
from camber.errors import CamberError, StorageFailed
from camber.occ.interval import IndexId
from camber.storage.index_ids import by_id_index, is_searched, is_text_index, is_vector_index
from camber.storage.sqlite.reading import (
    BUSY_MS,
    SQL,
    SqliteReader,
    SqliteSnapshot,
    connect,
    fail,
    one,
    pack_commits,
    unpack_commits,
)
from camber.storage.sqlite.staging import Staging
from camber.storage.sqlite.statements import RowsStatement, named_statements, sql_of
from camber.storage.sqlite.texts import TextRow, TextWriter
from camber.storage.sqlite.vectors import VectorRow, VectorWriter, stored_key
from camber.storage.sqlite.writing import ENTRIES_THERE, GroupRows, Numbers
from camber.storage.store import (
    Commit,
    LoggedCommit,
    Revisions,
    StagedRow,
    id_key_length,
    id_of_key,
)
from camber.values.ids import decode_id
from camber.values.keys import encode_key
from camber.values.timestamp import Timestamp

#: "Camb": marks the file as ours (PRAGMA application_id).
_APPLICATION_ID: Final = 0x43616D62
_FORMAT: Final = 4
#: What later formats have besides, by the last one that has it not.
_ADDED_AFTER: Final = {2: "texts.sql", 3: "vectors.sql"}
#: The start of every SQLite file, and how long its header is: the size of a page at 16 (65,536 is 1,
#: and not ours), how many there are at 28.
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
#: What is known of the newest group that is forgotten, as `oldest_groups` tells it.
_FLOORS: Final = ("history_floor", "superseded_floor", "removed_floor", "history_bytes_floor")
_BUILD_ENTRIES: Final = RowsStatement(SQL["build_entries"])


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
            found = _check(self._writer, path)
            self._writer.pragma("journal_mode", "wal")
            if found == 1:
                _take_over_format_1(self._writer)
            elif found < _FORMAT:
                _take_over(self._writer, found)
            self._writer.execute(f"PRAGMA synchronous = {durability.value}")
            self._writer.execute(f"PRAGMA cache_size = -{limits.store_cache_kib}")
            self._writer.wal_autocheckpoint(limits.store_log_pages_max)
            self._checkpointer = connect(path)
            # Before its first read a connection knows nothing of the log.
            one(self._checkpointer, "floor")
            self._newest: Timestamp
            self._numbers: Numbers
            self._forgotten_bytes: int
            self._staging = Staging(self._writer)
            self._texts = TextWriter(self._writer)
            self._vectors = VectorWriter(self._writer)
            self.unstage()
            self._resume()
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
        for commit, previous in zip(
            commits, (self._newest, *(c.ts for c in commits)), strict=False
        ):
            assert commit.ts > previous, f"{commit.ts} after {previous}"
        numbers = self._numbers
        with _transaction(self._writer):
            first = 0
            for at, commit in enumerate(commits, 1):
                if not commit.staged:
                    continue
                numbers = GroupRows(self._writer, commits[first:at], numbers).write()
                for staged in commit.staged:
                    numbers = self._staging.let_in(staged, commit.ts, numbers)
                first = at
            numbers = GroupRows(self._writer, commits[first:], numbers).write()
            newest = commits[-1].ts
            group = (newest, *numbers, pack_commits(commits))
            self._writer.execute(SQL["add_group"], group)
        self._newest = newest
        self._numbers = numbers

    def newest_ts(self) -> Timestamp:
        """Return the timestamp of the newest commit; 0 if there is none."""
        self._resume()
        return self._newest

    def _resume(self) -> None:
        """Find out where the store stands: an append that failed may have been made durable."""
        self._newest, *numbers = next(self._writer.execute(SQL["resume"]))
        self._numbers = Numbers(*numbers)
        self._forgotten_bytes = self._meta("history_bytes_floor")

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

    def trim(self, *, before: Timestamp, commits_max: int) -> bool:
        """Forget what was superseded at or before `before`, in whole groups of commits."""
        with _transaction(self._writer):
            raised = self._raise_floor(before, commits_max)
            # Both, and not the one or the other.
            left = [self._sweep("documents", "superseded"), self._sweep("entries", "removed")]
            forgotten = self._meta("history_bytes_floor")
        self._forgotten_bytes = forgotten
        return raised or any(left)

    def _meta(self, name: str) -> int:
        value: int = one(self._writer, "meta", name)
        return value

    def _raise_floor(self, before: Timestamp, commits_max: int) -> bool:
        """Forget the oldest groups; return whether there were any."""
        commits = 0
        floor: tuple[int, ...] = ()
        for *numbers, packed in list(
            self._writer.execute(SQL["oldest_groups"], (before, commits_max))
        ):
            commits += len(unpack_commits(packed))
            if floor and commits > commits_max:
                break
            floor = tuple(numbers)
        if not floor:
            return False
        self._writer.execute(SQL["delete_groups"], floor[:1])
        for name, value in zip(_FLOORS, floor, strict=True):
            self._writer.execute(SQL["set_meta"], (name, value))
        return True

    def _sweep(self, kind: str, number: str) -> bool:
        """Delete some rows of history below the floor; return whether there may be more."""
        floor = self._meta(f"{number}_floor")
        self._writer.execute(SQL[f"trim_{kind}_history"], (floor, limits.history_rows_trimmed))
        return self._writer.changes() == limits.history_rows_trimmed

    def checkpoint(self) -> bool:
        """Put what was appended into its place, if there is enough of it."""
        try:
            pages, _ = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if pages < limits.store_log_pages:
                return False
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            # Somebody else does it: the writer, or a backup.
            return False
        except apsw.Error as error:
            fail(error)
        return True

    def finish_checkpoint(self) -> None:
        """Put the rest into its place, and begin the log anew if no reader keeps it from that."""
        self._writer.set_busy_timeout(int(limits.store_log_wait_s * 1000))
        try:
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            # The next one will.
            pass
        except apsw.Error as error:
            fail(error)
        finally:
            self._writer.set_busy_timeout(BUSY_MS)

    def history_bytes(self) -> int:
        """Return about how many bytes of history are kept."""
        return self._numbers.history_bytes - self._forgotten_bytes

    def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that a snapshot may have."""
        floor: Timestamp = one(self._writer, "floor")
        return floor

    def size_bytes(self) -> int:
        """Return the size of the file and of the log of writes beside it."""
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def build_index(self, table: int, index: IndexId, keys: Iterable[bytes]) -> None:
        """Write entries of a new index, for documents that there are now."""
        by_id, size = by_id_index(table), id_key_length(table)
        with _transaction(self._writer):
            found = list(keys)
            placed = {stored_key(index, key): key for key in found}
            rows = [(index, place, by_id, place[-size:]) for place in placed]
            _BUILD_ENTRIES.run(self._writer, rows)
            if not is_searched(index):
                return
            there = ENTRIES_THERE.run(self._writer, [(index, place) for place in placed])
            keyed = [(document, since, placed[place]) for _, place, document, since in there]
            if is_vector_index(index):
                self._vectors.add_missing(VectorRow(index, *row) for row in keyed)
            else:
                self._texts.add_missing(TextRow(index, *row) for row in keyed)

    def drop_index(self, index: IndexId, *, entries_max: int) -> int:
        """Remove entries of an index, and their history; return how many there were."""
        with _transaction(self._writer):
            self._writer.execute(SQL["drop_entries"], (index, entries_max))
            removed = self._writer.changes()
            self._writer.execute(SQL["drop_entries_history"], (index, entries_max))
            removed += self._writer.changes()
            if is_text_index(index):
                removed += self._texts.drop(index, entries_max)
            if is_vector_index(index):
                removed += self._vectors.drop(index, entries_max)
            return removed

    def stage(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Put rows aside for a table."""
        with _transaction(self._writer):
            numbers = self._staging.add(table, rows, self._numbers)
        self._numbers = numbers

    def staged_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys above `after` that are staged for an index, in order."""
        return self._staging.keys(index, after, limit)

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
        self._checkpointer.close()
        self._writer.close()
        self._lock_file.close()


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
    connection = connect(partial)
    with _transaction(connection):
        connection.execute(sql_of("schema.sql"))
        connection.execute(sql_of("texts.sql"))
        connection.execute(sql_of("vectors.sql"))
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.close()
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(connection: apsw.Connection, path: Path) -> int:
    """Refuse a file that is not ours; return its format."""
    application: int = connection.pragma("application_id")
    if application != _APPLICATION_ID:
        msg = f"{path} is a SQLite database, but not a Camber store; choose another --data"
        raise StoreUnusable(msg)
    found: int = next(connection.execute("SELECT value FROM meta WHERE name = 'format'"), [0])[0]
    if found not in range(1, _FORMAT + 1):
        msg = f"{path} has format {found}; this version of Camber reads formats 1 to {_FORMAT}"
        raise StoreUnusable(msg)
    return found


def _take_over_format_1(connection: apsw.Connection) -> None:
    """Give a store of format 1 the tables of this one, all or nothing."""
    connection.create_scalar_function("id_key_of", _id_key_of, 1, deterministic=True)
    connection.create_scalar_function("by_id_of", _by_id_of, 1, deterministic=True)
    steps = named_statements(sql_of("from_format_1.sql"))
    with _transaction(connection):
        schema = sql_of("schema.sql"), sql_of("texts.sql"), sql_of("vectors.sql")
        for step in (steps["before"], *schema, steps["after"]):
            connection.execute(step)


def _take_over(connection: apsw.Connection, found: int) -> None:
    """Give a store of a later format than 1 the tables that it lacks, all or nothing."""
    with _transaction(connection):
        for before, added in _ADDED_AFTER.items():
            if found <= before:
                connection.execute(sql_of(added))
        connection.execute(SQL["set_meta"], ("format", _FORMAT))


def _id_key_of(*parameters: Any) -> bytes:
    """Return the key of the id with which a key ends: a string, whose tag is in no id."""
    (key,) = parameters
    assert isinstance(key, bytes)
    return key[key.rindex(encode_key([""])[:1]) :]


def _by_id_of(*parameters: Any) -> IndexId:
    return by_id_index(decode_id(id_of_key(_id_key_of(*parameters))).table_number)


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
        case StorageFailed():
            what = error.sentence
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
        raise StoreUnusable(msg, code="StoreInUse") from None
    return lock_file
