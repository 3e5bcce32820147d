"""A snapshot that is ahead of its store: commits that are not there yet, laid over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from camber.occ.interval import IndexId, Interval, Order
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
from camber.storage.index_ids import by_id_index, is_text_index, is_vector_index
from camber.storage.store import DocumentChange, Row, Snapshot, id_key
from camber.values.timestamp import Timestamp


class AheadSnapshot:
    """All data as of `ts`: a snapshot, and all that was changed between it and `ts`, in order."""

    __slots__ = ("_base", "_counts", "_documents", "_keys", "_texts", "_vectors", "ts")

    def __init__(self, base: Snapshot, ts: Timestamp, changes: Sequence[DocumentChange]) -> None:
        self.ts: Timestamp = ts
        self._base = base
        self._documents: dict[tuple[int, str], bytes | None] = {}
        #: By index what stands at a key now; None where nothing does any more.
        self._keys: dict[IndexId, dict[bytes, bytes | None]] = {}
        #: By how many entries an index has grown.
        self._counts: dict[IndexId, int] = {}
        #: By text index and document where its text was and is.
        self._texts: dict[IndexId, dict[str, TextChange]] = {}
        #: By vector index and document where its vector was and is.
        self._vectors: dict[IndexId, dict[str, VectorChange]] = {}
        for change in changes:
            self._lay(change)

    def _lay(self, change: DocumentChange) -> None:
        after = change.after
        self._documents[change.table, change.id] = after
        by_id = self._keys.setdefault(by_id_index(change.table), {})
        by_id[id_key(change.id)] = after
        for entry in change.entries:
            keys = self._keys.setdefault(entry.index, {})
            count = self._counts.get(entry.index, 0)
            if entry.removed is not None:
                keys[entry.removed] = None
                count -= 1
            if entry.added is not None:
                keys[entry.added] = after
                count += 1
            self._counts[entry.index] = count
            if is_text_index(entry.index):
                texts = self._texts.setdefault(entry.index, {})
                first = texts.get(change.id)
                before = entry.removed if first is None else first.before
                texts[change.id] = TextChange(before, entry.added)
            elif is_vector_index(entry.index):
                vectors = self._vectors.setdefault(entry.index, {})
                earlier = vectors.get(change.id)
                before = entry.removed if earlier is None else earlier.before
                vectors[change.id] = VectorChange(before, entry.added)

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""
        if (table, id) in self._documents:
            return self._documents[table, id]
        return self._base.get(table, id)

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order."""
        laid = {
            key: packed
            for key, packed in self._keys.get(index, {}).items()
            if interval.contains(key)
        }
        if not laid:
            return self._base.scan(table, index, interval, order, limit)
        # As many more as may be hidden: what is left are the first ones then.
        stored = self._base.scan(table, index, interval, order, limit + len(laid))
        rows = [row for row in stored if row.key not in laid]
        rows += [Row(key, packed) for key, packed in laid.items() if packed is not None]
        rows.sort(reverse=order is Order.DESC)
        return rows[:limit]

    def count(self, index: IndexId) -> int:
        """Return how many entries an index other than `by_id` has."""
        return self._base.count(index) + self._counts.get(index, 0)

    def text_statistics(self, index: IndexId, query: TextQuery) -> Statistics:
        """Return what scores of a search of a text index are made of."""
        changes = self._texts.get(index, {}).values()
        return overlaid_statistics(self._base.text_statistics(index, query), query, changes)

    def text_hits(
        self, index: IndexId, query: TextQuery, statistics: Statistics, window: Window, limit: int
    ) -> list[Hit]:
        """Return the first `limit` documents that a search finds within `window`, best first."""
        changes = self._texts.get(index, {}).values()
        most = limit + len(changes)
        stored = self._base.text_hits(index, query, statistics, window, most)
        if not changes:
            return stored
        return overlaid_hits(stored, query, statistics, window, limit, changes)

    def vector_hits(self, index: IndexId, query: VectorQuery, limit: int) -> list[VectorHit]:
        """Return the `limit` documents of a vector index that are nearest, nearest first."""
        changes = self._vectors.get(index, {}).values()
        stored = self._base.vector_hits(index, query, limit + len(changes))
        return overlaid(stored, query, limit, changes) if changes else stored

    def close(self) -> None:
        """Let go of the snapshot below."""
        self._base.close()

    def __enter__(self) -> AheadSnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ChangesAt(Protocol):
    """What a commit has changed."""

    @property
    def ts(self) -> Timestamp:
        """Return when."""

    @property
    def changes(self) -> tuple[DocumentChange, ...]:
        """Return what."""


class SnapshotSource(Protocol):
    """The part of a store that only reads."""

    def snapshot(self, ts: Timestamp | None = None) -> Snapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""


def snapshot_ahead(source: SnapshotSource, ts: Timestamp, commits: Iterable[ChangesAt]) -> Snapshot:
    """Return the snapshot at exactly `ts`, which the store may not have yet.

    `commits` are, in order, all that were assigned and not published when this was asked for.
    """
    newest = source.snapshot()
    if newest.ts == ts:
        return newest
    if newest.ts > ts:
        newest.close()
        return source.snapshot(ts)
    changes = [
        change for commit in commits if newest.ts < commit.ts <= ts for change in commit.changes
    ]
    return AheadSnapshot(newest, ts, changes)
