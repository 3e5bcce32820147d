"""What the engine asks of a store.

Documents are packed fields under their ids; an index is a set of keys, each of which ends with the
id of the document that it leads to. `by_id` has no entries of its own: the documents, ordered by
the key of their id, are that index. The keys of a text index are texts (`camber.search.texts`), those
of a vector index vectors (`camber.search.vectors`), by which a store searches; both are kept, built,
staged and dropped as any other.

A store answers reads at its newest timestamp from what is current, and older ones by laying what
was superseded since over that, as far back as history is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec
import msgspec.structs

from camber.occ.interval import IndexId, Interval, Order
from camber.occ.write_set import EVERY_KEY, EveryKey, IndexWrites
from camber.search.nearest import VectorHit
from camber.search.ranking import Hit, Statistics, Window
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery
from camber.storage.index_ids import by_id_index, is_vector_index
from camber.values.ids import id_length
from camber.values.timestamp import Timestamp


class Row(NamedTuple):
    """A document found by a scan: its key in the index, and its packed fields."""

    key: bytes
    packed: bytes


class EntryChange(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a document was and is in one index.

    Equal keys mean that it stayed where it was: nothing to store, but whoever read there has read
    the document. In a vector index nobody has: who finds a vector has read no document.
    """

    index: IndexId
    removed: bytes | None
    added: bytes | None


class DocumentChange(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One new revision of a document: what it was and what it is; None is absent.

    `entries` has every index of the table but `by_id`. In a text or vector index a document without a
    text or vector has no key.
    """

    table: int
    id: str
    before: bytes | None
    after: bytes | None
    entries: tuple[EntryChange, ...]


class StagedRow(NamedTuple):
    """A document that waits for its table: the key of its id, and where it will stand."""

    key: bytes
    packed: bytes
    #: By every index of the table but `by_id`.
    entries: tuple[tuple[IndexId, bytes], ...]


class Placement(Enum):
    """What staged rows do to the table that they enter."""

    #: It holds them and nothing else.
    REPLACE = "replace"
    #: It holds them beside what it held; none of them is there already.
    ADD = "add"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedTable:
    """Rows that enter a table by a commit. `indexes` has all of the table's but `by_id`.

    `documents` is how many were staged: a store that has another number refuses the commit.
    """

    table: int
    indexes: tuple[IndexId, ...]
    placement: Placement
    documents: int


class StagedTwice(Exception):
    """A row whose key is staged already."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.key = key


class StagingLost(Exception):
    """A commit lets in rows that are not there: they were staged elsewhere, or unstaged."""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A timestamped group of revisions, all or nothing. `source` is the function that wrote it.

    `staged` tables are none of those that `changes` has. `writes` follows from the others.
    """

    ts: Timestamp
    changes: tuple[DocumentChange, ...]
    source: str
    staged: tuple[StagedTable, ...] = ()
    #: Every index key that the commit touched, old and new.
    writes: IndexWrites = {}

    def __post_init__(self) -> None:
        """Find out what was touched: everybody who hears of a commit asks."""
        msgspec.structs.force_setattr(self, "writes", index_writes(self.changes, self.staged))

    def history_bytes(self) -> int:
        """Return about how much history the changes add: what they superseded, and their keys.

        What staged tables add is for the store to count.
        """
        size = 0
        for change in self.changes:
            size += len(change.id)
            if change.before is not None:
                size += len(change.before)
            for entry in change.entries:
                if entry.removed is not None:
                    size += len(entry.removed)
                if entry.added is not None:
                    size += len(entry.added)
        return size


def index_writes(
    changes: Iterable[DocumentChange], staged: Sequence[StagedTable] = ()
) -> IndexWrites:
    """Return every index key that changes touch, old and new."""
    touched: dict[IndexId, set[bytes]] = {}
    for change in changes:
        touched.setdefault(by_id_index(change.table), set()).add(id_key(change.id))
        for entry in change.entries:
            added, removed = entry.added, entry.removed
            if added == removed and is_vector_index(entry.index):
                continue
            keys = touched.setdefault(entry.index, set())
            if added is not None:
                keys.add(added)
            if removed is not None:
                keys.add(removed)
    if not staged:
        return touched
    whole: dict[IndexId, EveryKey] = {
        index: EVERY_KEY for table in staged for index in (by_id_index(table.table), *table.indexes)
    }
    return {**touched, **whole}


class LoggedCommit(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept of a commit for those who follow the log: when, by whom, and what it touched."""

    ts: Timestamp
    source: str
    writes: IndexWrites


class Revision(NamedTuple):
    """What a document became by a commit; no fields where it was removed."""

    ts: Timestamp
    table: int
    id: str
    packed: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """All that happened to some tables from one timestamp up to another, in order of commits."""

    rows: list[Revision]
    #: Every commit up to here is in it.
    through: Timestamp


def id_key(id: str) -> bytes:
    """Return the key of an id, as `encode_key` does: ids are plain letters and digits."""
    return b"\x10" + id.encode() + b"\0"


def id_of_key(key: bytes) -> str:
    """Return the id that the key of a document's id consists of."""
    return key[1:-1].decode()


def id_key_length(table: int) -> int:
    """Return the bytes of the key of an id of a table, with which every key of an index ends."""
    return id_length(table) + 2


class TooManyRevisions(Exception):
    """One commit changed more documents than may be told at once."""

    def __init__(self, ts: Timestamp) -> None:
        super().__init__(ts)
        self.ts = ts


class Snapshot(Protocol):
    """All data as of one timestamp. Used by one thread at a time; closed by whoever opened it."""

    @property
    def ts(self) -> Timestamp:
        """Return the timestamp that the snapshot shows."""

    def get(self, table: int, id: str) -> bytes | None:
        """Return a document's packed fields, or None."""

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        """Return the first `limit` documents of `interval`, in key order. One round trip."""

    def count(self, index: IndexId) -> int:
        """Return how many entries an index other than `by_id` has. Reads no documents."""

    def text_statistics(self, index: IndexId, query: TextQuery) -> Statistics:
        """Return what scores of a search of a text index are made of."""

    def text_hits(
        self, index: IndexId, query: TextQuery, statistics: Statistics, window: Window, limit: int
    ) -> list[Hit]:
        """Return the first `limit` documents that a search finds within `window`, best first.

        Their scores are those that `statistics` give, which may be of another moment.
        """

    def vector_hits(self, index: IndexId, query: VectorQuery, limit: int) -> list[VectorHit]:
        """Return the `limit` documents of a vector index that are nearest, nearest first."""

    def close(self) -> None:
        """Let go of the snapshot; closing twice does nothing."""

    def __enter__(self) -> Snapshot:
        """Return the snapshot itself."""

    def __exit__(self, *exc: object) -> None:
        """Close it."""


class Store(Protocol):
    """One engine's data. Reads run where they are called; writes on one thread at a time."""

    def snapshot(self, ts: Timestamp | None = None) -> Snapshot:
        """Return the newest snapshot, or the one at exactly `ts`.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """

    def append(self, commits: Sequence[Commit]) -> None:
        """Write commits, in order of growing timestamps. Durable, or not done, when it ends.

        Raises:
            StagingLost: what a commit lets in is not what was staged; nothing was written.
        """

    def newest_ts(self) -> Timestamp:
        """Return the timestamp of the newest commit; 0 if there is none."""

    def tail(self, since: Timestamp) -> list[LoggedCommit]:
        """Return the commits after `since`, oldest first.

        Raises:
            OutOfRetention: history does not reach back to `since`.
        """

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

        Ends after the commit by which there are `rows_max` of them, or after `commits_max` commits;
        a commit is told whole.

        Raises:
            OutOfRetention: history does not reach back to `since`.
            TooManyRevisions: one commit has more than `commit_rows_max`.
        """

    def trim(self, *, before: Timestamp, commits_max: int) -> bool:
        """Forget some of what was superseded at or before `before`; older snapshots are gone then.

        Takes the oldest commits, about `commits_max` of them and never the newest, and returns
        whether there may be more to forget.
        """

    def checkpoint(self) -> bool:
        """Put what was appended into its place, if there is enough of it.

        Runs beside appends, on any one thread. If it returns True, `finish_checkpoint` is due.
        """

    def finish_checkpoint(self) -> None:
        """Put the rest into its place, and begin the log anew; takes no longer than a few groups."""

    def history_bytes(self) -> int:
        """Return about how many bytes of history are kept."""

    def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that a snapshot may have."""

    def size_bytes(self) -> int:
        """Return how many bytes the store takes where it is kept."""

    def build_index(self, table: int, index: IndexId, keys: Iterable[bytes]) -> None:
        """Write entries of a new index of a table, for documents that there are now.

        Some of them may be there already, written by commits since the index was declared.
        """

    def drop_index(self, index: IndexId, *, entries_max: int) -> int:
        """Remove entries of an index, and their history; return how many there were.

        Takes at most `entries_max` of each. None are left when it returns 0.
        """

    def stage(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Put rows aside for a table, where no snapshot sees them; a commit lets them in.

        Raises:
            StagedTwice: two rows have one key; none of `rows` is staged.
        """

    def staged_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the first `limit` keys above `after` that are staged for an index, in order."""

    def staged_and_there(self, table: int) -> bytes | None:
        """Return the key of a staged row whose document the table has already, or None."""

    def unstage(self) -> None:
        """Forget all that is staged. Opening a store does so too."""

    def close(self) -> None:
        """Close the store. Snapshots must be closed before."""
