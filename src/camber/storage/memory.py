"""The store in memory: every revision of everything, kept until it is trimmed.

Simple enough to be obviously right; other engines are compared with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from sortedcontainers import SortedDict

from camber.errors import OutOfRetention
from camber.occ.interval import ALL, IndexId, Interval, Order
from camber.search.nearest import VectorHit, nearest_of
from camber.search.ranking import Hit, Statistics, Window, hits_of, statistics_of
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery
from camber.storage.index_ids import by_id_index
from camber.storage.store import (
    Commit,
    LoggedCommit,
    Placement,
    Revision,
    Revisions,
    Row,
    StagedRow,
    StagedTable,
    StagedTwice,
    StagingLost,
    TooManyRevisions,
    id_key,
    id_of_key,
)
from camber.values.ids import id_length
from camber.values.timestamp import Timestamp

#: Revisions of one key, oldest first: packed fields for a document, b"" for an entry, None for
#: absence.
_Revisions = list[tuple[Timestamp, bytes | None]]


class MemoryStore:
    """A store that ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: dict[IndexId, SortedDict[bytes, _Revisions]] = {}
        self._log: list[LoggedCommit] = []
        self._newest: Timestamp = 0
        self._floor: Timestamp = 0
        #: What each logged commit adds to history.
        self._history: list[int] = []
        #: What waits to enter: keys of each index, and the packed documents of `by_id` ones.
        self._staged: dict[IndexId, SortedDict[bytes, bytes]] = {}

    def snapshot(self, ts: Timestamp | None = None) -> MemorySnapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""
        with self._lock:
            asked = self._newest if ts is None else ts
            assert asked <= self._newest, f"{asked} is not here yet, the newest is {self._newest}"
            if asked < self._floor:
                raise OutOfRetention(
                    f"the snapshot at {asked} is gone: history begins at {self._floor}"
                )
        return MemorySnapshot(self, asked)

    def append(self, commits: Sequence[Commit]) -> None:
        """Write commits, in order of growing timestamps."""
        with self._lock:
            for staged in (staged for commit in commits for staged in commit.staged):
                found = len(self._staged.get(by_id_index(staged.table), ()))
                if found != staged.documents:
                    raise StagingLost(f"{found} rows are staged, not {staged.documents}")
            for commit in commits:
                assert commit.ts > self._newest
                self._newest = commit.ts
                for change in commit.changes:
                    key = id_key(change.id)
                    self._put(by_id_index(change.table), key, commit.ts, change.after)
                    for entry in change.entries:
                        if entry.removed == entry.added:
                            continue
                        if entry.removed is not None:
                            self._put(entry.index, entry.removed, commit.ts, None)
                        if entry.added is not None:
                            self._put(entry.index, entry.added, commit.ts, b"")
                size = commit.history_bytes()
                for staged in commit.staged:
                    size += self._let_in(staged, commit.ts)
                self._history.append(size)
                self._log.append(
                    LoggedCommit(ts=commit.ts, source=commit.source, writes=commit.writes)
                )

    def _put(self, index: IndexId, key: bytes, ts: Timestamp, value: bytes | None) -> None:
        revisions = self._indexes.setdefault(index, SortedDict()).setdefault(key, [])
        revisions.append((ts, value))

    def _let_in(self, staged: StagedTable, ts: Timestamp) -> int:
        size = 0
        for index in (by_id_index(staged.table), *staged.indexes):
            rows = self._staged.pop(index, SortedDict())
            revisions = self._indexes.get(index, SortedDict())
            there = {key for key in revisions if revisions[key][-1][1] is not None}
            if staged.placement is Placement.ADD:
                there &= rows.keys()
            for key in sorted(there | rows.keys()):
                if key in there:
                    size += len(key) + len(revisions[key][-1][1] or b"")
                self._put(index, key, ts, rows.get(key))
        return size

    def newest_ts(self) -> Timestamp:
        """Return the timestamp of the newest commit; 0 if there is none."""
        return self._newest

    def tail(self, since: Timestamp) -> list[LoggedCommit]:
        """Return the commits after `since`, oldest first."""
        with self._lock:
            if since < self._floor:
                raise OutOfRetention(f"the log begins at {self._floor}, after {since}")
            return [commit for commit in self._log if commit.ts > since]

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
        commits = [commit for commit in self.tail(since) if commit.ts <= upto]
        rows: list[Revision] = []
        with self._lock:
            for commit in commits[:commits_max]:
                found = self._of_commit(commit, wanted)
                if len(found) > commit_rows_max:
                    raise TooManyRevisions(commit.ts)
                rows += found
                if len(rows) >= rows_max:
                    return Revisions(rows=rows, through=commit.ts)
        if len(commits) > commits_max:
            return Revisions(rows=rows, through=commits[commits_max - 1].ts)
        return Revisions(rows=rows, through=upto)

    def _of_commit(self, commit: LoggedCommit, wanted: Callable[[int], bool]) -> list[Revision]:
        rows = []
        for index in sorted(commit.writes):
            table = index // 2
            if index != by_id_index(table) or index >= 2**33 or not wanted(table):
                continue
            for key, revisions in self._indexes.get(index, SortedDict()).items():
                for ts, packed in revisions:
                    if ts == commit.ts:
                        rows.append(Revision(ts, table, id_of_key(key), packed))
        return rows

    def trim(self, *, before: Timestamp, commits_max: int) -> bool:
        """Forget what was superseded at or before `before`."""
        with self._lock:
            due = [commit for commit in self._log[:-1] if commit.ts <= before]
            old = due[:commits_max]
            if not old:
                return False
            self._floor = old[-1].ts
            self._log = self._log[len(old) :]
            self._history = self._history[len(old) :]
            for revisions_by_key in self._indexes.values():
                for key, revisions in list(revisions_by_key.items()):
                    kept = _kept(revisions, self._floor)
                    if kept:
                        revisions_by_key[key] = kept
                    else:
                        del revisions_by_key[key]
            return len(due) > len(old)

    def checkpoint(self) -> bool:
        """Return False: everything is in its place."""
        return False

    def finish_checkpoint(self) -> None:
        """Do nothing: see `checkpoint`."""

    def history_bytes(self) -> int:
        """Return about how many bytes of history are kept."""
        with self._lock:
            return sum(self._history)

    def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that a snapshot may have."""
        return self._floor

    def size_bytes(self) -> int:
        """Return 0: nothing is kept anywhere."""
        return 0

    def build_index(self, table: int, index: IndexId, keys: Iterable[bytes]) -> None:
        """Write entries of a new index, for documents that there are now."""
        found = list(keys)
        with self._lock:
            for key in found:
                self._put(index, key, self._newest, b"")

    def drop_index(self, index: IndexId, *, entries_max: int) -> int:
        """Remove entries of an index, and their history; return how many there were."""
        with self._lock:
            revisions = self._indexes.get(index, SortedDict())
            removed = list(revisions.islice(0, entries_max))
            for key in removed:
                del revisions[key]
            if not revisions:
                self._indexes.pop(index, None)
            return len(removed)

    def stage(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Put rows aside for a table."""
        with self._lock:
            documents = self._staged.setdefault(by_id_index(table), SortedDict())
            keys = set(documents)
            for row in rows:
                if row.key in keys:
                    raise StagedTwice(row.key)
                keys.add(row.key)
            for row in rows:
                documents[row.key] = row.packed
                for index, key in row.entries:
                    self._staged.setdefault(index, SortedDict())[key] = b""

    def staged_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys above `after` that are staged for an index, in order."""
        with self._lock:
            staged = self._staged.get(index, SortedDict())
            return list(islice(staged.irange(after, inclusive=(False, False)), limit))

    def staged_and_there(self, table: int) -> bytes | None:
        """Return the key of a staged row whose document the table has already, or None."""
        index = by_id_index(table)
        with self._lock:
            key: bytes
            for key in self._staged.get(index, ()):
                if self._at(index, key, self._newest) is not None:
                    return key
        return None

    def unstage(self) -> None:
        """Forget all that is staged."""
        with self._lock:
            self._staged.clear()

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _at(self, index: IndexId, key: bytes, ts: Timestamp) -> bytes | None:
        return _value_at(self._indexes.get(index, {}).get(key, []), ts)

    def _scan(self, index: IndexId, interval: Interval, ts: Timestamp) -> list[bytes]:
        revisions = self._indexes.get(index)
        if revisions is None or interval.is_empty:
            return []
        keys = revisions.irange(interval.start, interval.end, inclusive=(True, False))
        return [key for key in keys if _value_at(revisions[key], ts) is not None]


class MemorySnapshot:
    """All data of a memory store as of one timestamp."""

    def __init__(self, store: MemoryStore, ts: Timestamp) -> None:
        self._store = store
        self.ts: Timestamp = ts

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""
        with self._store._lock:  # noqa: SLF001  # one class in two
            return self._store._at(by_id_index(table), id_key(id), self.ts)  # noqa: SLF001

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order."""
        id_bytes = id_length(table) + 2
        with self._store._lock:  # noqa: SLF001
            keys = self._store._scan(index, interval, self.ts)  # noqa: SLF001
            if order is Order.DESC:
                keys.reverse()
            rows = []
            for key in keys[:limit]:
                packed = self._store._at(by_id_index(table), key[-id_bytes:], self.ts)  # noqa: SLF001
                assert packed is not None, f"index {index} leads to a document that is not there"
                rows.append(Row(key, packed))
        return rows

    def count(self, index: IndexId) -> int:
        """Return how many entries an index has."""
        with self._store._lock:  # noqa: SLF001
            return len(self._store._scan(index, ALL, self.ts))  # noqa: SLF001

    def text_statistics(self, index: IndexId, query: TextQuery) -> Statistics:
        """Return what scores of a search of a text index are made of."""
        return statistics_of(self._keys(index), query)

    def text_hits(
        self, index: IndexId, query: TextQuery, statistics: Statistics, window: Window, limit: int
    ) -> list[Hit]:
        """Return the first `limit` documents that a search finds within `window`, best first."""
        return hits_of(self._keys(index), query, statistics, window, limit)

    def vector_hits(self, index: IndexId, query: VectorQuery, limit: int) -> list[VectorHit]:
        """Return the `limit` documents of a vector index that are nearest, nearest first."""
        return nearest_of(self._keys(index), query, limit)

    def _keys(self, index: IndexId) -> list[bytes]:
        with self._store._lock:  # noqa: SLF001
            return self._store._scan(index, ALL, self.ts)  # noqa: SLF001

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> MemorySnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _value_at(revisions: _Revisions, ts: Timestamp) -> bytes | None:
    value = None
    for at, revision in revisions:
        if at > ts:
            break
        value = revision
    return value


def _kept(revisions: _Revisions, floor: Timestamp) -> _Revisions:
    """Return the revisions that a snapshot at `floor` or later can see."""
    current = _value_at(revisions, floor)
    later = [(ts, value) for ts, value in revisions if ts > floor]
    return later if current is None else [(floor, current), *later]
