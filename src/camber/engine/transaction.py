"""One transaction: a snapshot, its own writes over it, and what it looked at.

Everything a transaction reads goes through `get`, `scan`, `search`, `nearest`, `table` and
`environment`, and only those record reads; everything it writes goes through `_put`. A transaction that has finished is
data: `finish` returns what the committer needs and nothing refers to the snapshot any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from sortedcontainers import SortedDict

from camber import limits
from camber.engine import system_tables
from camber.engine.allowance import UNBOUNDED, Allowance
from camber.engine.catalog import (
    CREATION_TIME_FIELD,
    ID_FIELD,
    Catalog,
    IndexEntry,
    TableEntry,
    table_entry,
)
from camber.engine.search_scan import SearchScan
from camber.engine.stamps import Stamp, has_its_place, stamp_of
from camber.errors import DeveloperError, OutOfRetention
from camber.occ.interval import IndexId, Interval, Order
from camber.occ.read_set import ReadSet
from camber.search.nearest import Nearest, VectorChange, VectorHit, overlaid
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
from camber.storage.store import DocumentChange, EntryChange, Row, Snapshot, StagedTable
from camber.values.ids import decode_id, encode_id, new_internal_id
from camber.values.keys import encode_key, encode_part
from camber.values.packed import CommitTsUnknown, pack, unpack
from camber.values.pending import pack_pending
from camber.values.size import value_size
from camber.values.timestamp import Timestamp
from camber.values.value import Value

#: Rows of a scan's first and largest reads from the store: most queries end within the first.
_SCAN_ROWS_MIN = 64
_SCAN_ROWS_MAX = 1024

_NOTHING: Final = Interval(b"", b"")


class Entropy(Protocol):
    """Where ids come from; `host` has it."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` unpredictable bytes."""


class FinishedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a transaction read and wants to change, for the committer."""

    begin_ts: Timestamp
    reads: ReadSet
    changes: tuple[DocumentChange, ...]
    source: str
    #: Functions that it has scheduled, also those that it did not keep.
    scheduled: int = 0
    #: Tables that staged rows enter, besides.
    staged: tuple[StagedTable, ...] = ()
    #: Where the commit timestamp goes.
    stamps: tuple[Stamp, ...] = ()

    def stamped(self, ts: Timestamp) -> tuple[DocumentChange, ...]:
        """Return the changes with the commit timestamp put where it was asked for."""
        if not self.stamps:
            return self.changes
        changes = list(self.changes)
        for stamp in self.stamps:
            changes[stamp.change] = stamp.put(changes[stamp.change], ts)
        return tuple(changes)


@dataclass(slots=True)
class _Pending:
    """What the transaction wants one document to become. `None` means that there is none."""

    table: TableEntry
    before: bytes | None
    before_keys: dict[IndexId, bytes]
    after: bytes | None
    after_keys: dict[IndexId, bytes]

    def lay_over(self, index: IndexId, overlay: SortedDict[bytes, bytes | None]) -> None:
        """Put it over what an index has: None where the document is not any more."""
        before = self.before_keys.get(index)
        if before is not None:
            overlay[before] = None
        after = self.after_keys.get(index)
        if after is not None:
            overlay[after] = self.after

    def take_off(self, index: IndexId, overlay: SortedDict[bytes, bytes | None]) -> None:
        """Undo `lay_over`."""
        for keys in (self.before_keys, self.after_keys):
            overlay.pop(keys.get(index, b""), None)


class Scan:
    """The documents whose keys lie in an interval, in key order, read as they are taken.

    They are the snapshot's, with the transaction's own writes laid over them, also those that are
    made while the scan is open. The read set gets the interval up to the last row taken, all of it
    when the scan has come to its end.
    """

    __slots__ = (
        "_at",
        "_index",
        "_interval",
        "_is_open",
        "_last",
        "_order",
        "_position",
        "_prefix",
        "_rest",
        "_rows",
        "_stored",
        "_table",
        "_transaction",
    )

    def __init__(
        self,
        transaction: Transaction,
        table: TableEntry,
        index: IndexId,
        interval: Interval,
        order: Order,
        *,
        prefix: bytes,
        rows: int,
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._index = index
        self._interval = interval
        self._order = order
        self._prefix = prefix
        #: The key of the last row that was taken.
        self._last: bytes | None = None
        #: Up to where own writes have been laid over what is stored.
        self._position: bytes | None = None
        #: Rows of the snapshot, how many of them have been passed, and where to read on, how many.
        self._stored: list[Row] = []
        self._at = 0
        self._rest = interval
        self._rows = rows
        self._is_open = True

    def take(self, most: int) -> list[Row]:
        """Return the next `most` rows; fewer at the end of the scan.

        Raises:
            DeveloperError: the transaction has read too much.
        """
        if not self._is_open:
            return []
        own = self._transaction._own_writes(self._index)  # noqa: SLF001  # one mechanism
        taken = self._stored_rows(most) if own is None else self._merged_rows(most, own)
        if taken:
            self._count(taken)
        if len(taken) < most:
            self._end(self._interval)
        return taken

    def __iter__(self) -> Scan:
        return self

    def __next__(self) -> Row:
        for row in self.take(1):
            return row
        raise StopIteration

    def close(self) -> None:
        """Record what was taken, and take nothing more."""
        self._end(self.consumed())

    def consumed(self) -> Interval | None:
        """Return the part up to the last row that was taken."""
        if self._last is None:
            return None
        if self._order is Order.ASC:
            return Interval(self._interval.start, self._last + b"\0")
        return Interval(self._last, self._interval.end)

    def _end(self, consumed: Interval | None) -> None:
        if self._is_open:
            self._is_open = False
            self._stored = []
            self._transaction._record_scan(self, consumed)  # noqa: SLF001

    def _count(self, rows: list[Row]) -> None:
        if not self._table.is_system:
            transaction = self._transaction
            size = sum([len(packed) for _, packed in rows])
            if transaction._may_read(len(rows), size):  # noqa: SLF001
                transaction._count_read(len(rows), size)  # noqa: SLF001
            else:
                for row in rows:
                    self._last = row.key
                    transaction._count_read(1, len(row.packed))  # noqa: SLF001
        self._last = rows[-1].key

    def _stored_rows(self, most: int) -> list[Row]:
        taken: list[Row] = []
        while True:
            part = self._stored[self._at : self._at + most - len(taken)]
            self._at += len(part)
            taken = taken + part if taken else part
            if len(taken) == most or not self._read_on():
                break
        if taken:
            self._position = taken[-1].key
        return taken

    def _merged_rows(self, most: int, own: SortedDict[bytes, bytes | None]) -> list[Row]:
        taken: list[Row] = []
        while len(taken) < most:
            row = self._next_stored()
            written = self._next_written(own)
            if written is not None and (row is None or self._is_first(written, row.key)):
                if row is not None and row.key == written:
                    self._at += 1
                packed = own[written]
                row = None if packed is None else Row(written, packed)
                self._position = written
            elif row is not None:
                self._at += 1
                self._position = row.key
            else:
                break
            if row is not None:
                taken.append(row)
        return taken

    def _next_stored(self) -> Row | None:
        if self._at == len(self._stored) and not self._read_on():
            return None
        return self._stored[self._at]

    def _read_on(self) -> bool:
        """Read the next rows of the snapshot; return whether there are any."""
        if self._rest.is_empty:
            return False
        wanted = self._rows
        snapshot = self._transaction.snapshot
        found = snapshot.scan(self._table.number, self._index, self._rest, self._order, wanted)
        self._stored, self._at = found, 0
        if len(found) < wanted:
            self._rest = _NOTHING
        elif self._order is Order.ASC:
            self._rest = Interval(found[-1].key + b"\0", self._rest.end)
        else:
            self._rest = Interval(self._rest.start, found[-1].key)
        self._rows = min(wanted * 4, _SCAN_ROWS_MAX)
        return bool(found)

    def _next_written(self, own: SortedDict[bytes, bytes | None]) -> bytes | None:
        """Return the next key after the position at which the transaction has written."""
        keys = own.keys()
        if self._order is Order.ASC:
            at = (
                own.bisect_left(self._interval.start)
                if self._position is None
                else own.bisect_right(self._position)
            )
            if at >= len(keys):
                return None
        else:
            bound = self._interval.end if self._position is None else self._position
            at = (len(keys) if bound is None else own.bisect_left(bound)) - 1
            if at < 0:
                return None
        key = keys[at]
        return key if self._interval.contains(key) else None

    def _is_first(self, written: bytes, stored: bytes) -> bool:
        return written <= stored if self._order is Order.ASC else written >= stored


class Transaction:
    """A transaction at `begin_ts`. Used by one thread at a time; `close` ends its snapshot."""

    def __init__(
        self,
        *,
        snapshot: Snapshot,
        catalog: Catalog,
        entropy: Entropy,
        now_ns: int,
        source: str,
    ) -> None:
        self.catalog = catalog
        self.begin_ts: Timestamp = snapshot.ts
        self.reads = ReadSet()
        self.source = source
        self._snapshot = snapshot
        self._entropy = entropy
        #: The wall clock when the transaction began.
        self.now_ns = now_ns
        self._pending: dict[str, _Pending] = {}
        self._undo: list[tuple[str, _Pending | None]] = []
        #: How often what a document is to become was changed, or changed back.
        self.changes = 0
        self._created_tables: dict[str, TableEntry] = {}
        #: Own writes by their keys, of the indexes that have been scanned since the first one.
        self._overlay: dict[IndexId, SortedDict[bytes, bytes | None]] = {}
        #: Those that have not recorded what they read yet, with what to record it under.
        self._open_scans: dict[Scan, tuple[IndexId, bytes]] = {}
        self._written_tables: set[int] = set()
        #: What was got from the snapshot, by id.
        self._got: dict[str, bytes | None] = {}
        # At least the snapshot's own moment, so that a document never seems older than what its
        # transaction has read (semantics 1.3).
        self._next_creation_time = max(snapshot.ts + 1, now_ns) / 1e6
        self._documents_read = 0
        self._bytes_read = 0
        self._documents_written = 0
        self._bytes_written = 0
        self._functions_scheduled = 0
        self._scheduled_bytes = 0
        #: Of the call that runs, if its caller bounds it.
        self._allowance: Allowance | None = None
        #: Whether anything of the mutation holds the timestamp of its commit.
        self.awaits_commit_ts = False

    # Reads.

    def table(self, name: str) -> TableEntry | None:
        """Return a table, or None where there is none; creating it later invalidates that."""
        table = self._created_tables.get(name) or self.catalog.by_name(name)
        if table is None:
            self._record_absent_table(name)
        return table

    def table_by_number(self, number: int) -> TableEntry | None:
        """Return the table whose ids carry `number`."""
        table = self.catalog.by_number(number)
        if table is not None:
            return table
        return next((t for t in self._created_tables.values() if t.number == number), None)

    # A transaction gives tables their names and numbers, its own new ones included.

    def number(self, name: str) -> int | None:
        """Return the number of the table called `name`; not recorded as a read."""
        table = self._created_tables.get(name) or self.catalog.by_name(name)
        return None if table is None else table.number

    def name(self, number: int) -> str | None:
        """Return the name of the table whose ids carry `number`."""
        table = self.table_by_number(number)
        return None if table is None else table.name

    def user_tables(self) -> list[TableEntry]:
        """Return all user tables, own new ones included; not recorded as a read."""
        tables = [*self.catalog.tables(), *self._created_tables.values()]
        return [table for table in tables if not table.is_system]

    @property
    def snapshot(self) -> Snapshot:
        """Return the snapshot without the transaction's own writes; reads are not recorded."""
        return self._snapshot

    def get(self, id: str) -> bytes | None:  # the field's word
        """Return a document's packed fields, or None. An absent one is recorded as read too."""
        number = decode_id(id).table_number
        table = self.table_by_number(number)
        if table is None:
            # A table of that number may come, and the document with it.
            self.depend_on_document(number, id)
            return None
        return self.get_of(table, id)

    def get_of(self, table: TableEntry, id: str) -> bytes | None:
        """Return the same as `get`, for who knows the table of the id."""
        self._check_intervals()
        self.depend_on_document(table.number, id)
        pending = self._pending.get(id)
        packed = self._stored(table, id) if pending is None else pending.after
        if packed is not None and not table.is_system:
            self._count_read(1, len(packed))
        return packed

    def scan(
        self,
        table: TableEntry,
        index: IndexEntry,
        interval: Interval,
        order: Order,
        *,
        prefix: bytes = b"",
        rows: int = _SCAN_ROWS_MIN,
    ) -> Scan:
        """Return the documents whose keys lie in `interval`, in key order.

        `rows` is how many the caller expects to take.
        """
        self._check_intervals()
        self._check_age(table, index)
        rows = max(1, min(rows, _SCAN_ROWS_MAX))
        scan = Scan(self, table, index.id, interval, order, prefix=prefix, rows=rows)
        self._open_scans[scan] = (index.id, prefix)
        return scan

    def _check_age(self, table: TableEntry, index: IndexEntry) -> None:
        if index.since > self.begin_ts:
            raise OutOfRetention(
                f"index {table.name}.{index.name} was created after the asked timestamp "
                f"{self.begin_ts}; ask for a newer one"
            )

    def _own_writes(self, index: IndexId) -> SortedDict[bytes, bytes | None] | None:
        """Return what was written over the entries of an index; None if nothing was."""
        if not self._pending:
            return None
        overlay = self._overlay.get(index)
        if overlay is None:
            overlay = self._overlay[index] = SortedDict()
            for pending in self._pending.values():
                pending.lay_over(index, overlay)
        return overlay or None

    # Searches: what is read is everything that matches, however much of it is taken.

    def search(
        self,
        table: TableEntry,
        index: IndexEntry,
        query: TextQuery,
        interval: Interval,
        *,
        rows: int = limits.search_results_max + 1,
    ) -> SearchScan:
        """Return the documents that a search finds, best first, within an interval of its keys.

        `rows` is how many the caller expects to take.
        """
        self._check_intervals()
        self._check_age(table, index)
        self.reads.record_search(index.id, query)
        rows = max(1, min(rows, limits.search_results_max + 1))
        return SearchScan(self, table, index, query, interval, rows=rows)

    def text_statistics(self, index: IndexEntry, query: TextQuery) -> Statistics:
        """Return what scores of a recorded search are made of, own writes included."""
        stored = self._snapshot.text_statistics(index.id, query)
        return overlaid_statistics(stored, query, self._own_texts(index))

    def text_hits(
        self,
        index: IndexEntry,
        query: TextQuery,
        statistics: Statistics,
        window: Window,
        limit: int,
    ) -> list[Hit]:
        """Return the first documents that a recorded search finds, own writes included."""
        if query.is_empty:
            return []
        own = self._own_texts(index)
        most = limit + len(own)
        stored = self._snapshot.text_hits(index.id, query, statistics, window, most)
        return overlaid_hits(stored, query, statistics, window, limit, own) if own else stored

    def found(self, table: TableEntry, id: str) -> bytes | None:
        """Return a document that a recorded search has found; None if it was deleted since."""
        pending = self._pending.get(id)
        packed = self._stored(table, id) if pending is None else pending.after
        if packed is not None:
            self._count_read(1, len(packed))
        return packed

    def _own_texts(self, index: IndexEntry) -> list[TextChange]:
        return [TextChange(before, after) for before, after in self._own_keys(index)]

    def _own_keys(self, index: IndexEntry) -> list[tuple[bytes | None, bytes | None]]:
        """Return the keys before and after of the documents that were written."""
        return [
            (each.before_keys.get(index.id), each.after_keys.get(index.id))
            for each in self._pending.values()
            if index.id in each.before_keys or index.id in each.after_keys
        ]

    def nearest(
        self,
        table: TableEntry,
        index: IndexEntry,
        query: VectorQuery,
        limit: int,
        *,
        accepts: Callable[[str], bool] | None = None,
    ) -> list[VectorHit]:
        """Return the `limit` nearest documents of a vector index, own writes included.

        Of those that `accepts` lets in, if it is given. What is read is which documents are as near
        as the last one that was looked at; not what they hold.
        """
        self._check_intervals()
        self._check_age(table, index)
        own = [VectorChange(before, after) for before, after in self._own_keys(index)]
        accepted: list[VectorHit] = []
        looked_at = 0
        wanted = limit
        while True:
            found = self._snapshot.vector_hits(index.id, query, wanted + len(own))
            if own:
                found = overlaid(found, query, wanted, own)
            for hit in found[looked_at:wanted]:
                if accepts is None or accepts(hit.id):
                    accepted.append(hit)
                    if len(accepted) == limit:
                        self.reads.record_search(index.id, Nearest(query=query, last=hit))
                        return accepted
            if len(found) < wanted:
                self.reads.record_search(index.id, Nearest(query=query, last=None))
                return accepted
            looked_at, wanted = wanted, wanted * 4

    def depend_on(self, table: TableEntry) -> None:
        """Record a whole table as read, without reading it."""
        self._record(by_id_index(table.number), Interval(b"", None), prefix=b"")

    def depend_on_document(self, table: int, id: str) -> None:
        """Record a document of the table of this number as read, without reading it."""
        key = encode_part(id)
        self._record(by_id_index(table), Interval(key, key + b"\0"), prefix=key)

    def count(self, table: TableEntry) -> int:
        """Return how many documents a table has. The whole table is recorded as read."""
        self.depend_on(table)
        own = [pending for pending in self._pending.values() if pending.table == table]
        appeared = sum(each.before is None and each.after is not None for each in own)
        vanished = sum(each.before is not None and each.after is None for each in own)
        by_creation_time = table.indexes["by_creation_time"]
        return self._snapshot.count(by_creation_time.id) + appeared - vanished

    def environment(self, name: str) -> dict[str, Value] | None:
        """Return the document of a deployment variable, or None; its absence is recorded too."""
        table = self.catalog.by_name(system_tables.ENVIRONMENT_VARIABLES)
        assert table is not None
        prefix = encode_key([name])
        rows = self.scan(
            table,
            table.indexes["by_name"],
            Interval.prefix(prefix),
            Order.ASC,
            prefix=prefix,
            rows=1,
        )
        with closing(rows):
            for row in rows.take(1):
                return _unpacked(row.packed)
        return None

    # Writes.

    def insert(
        self,
        table_name: str,
        fields: dict[str, Value],
        *,
        id: str | None = None,
        creation_time: float | None = None,
    ) -> str:
        """Add a document and return its id. A table that does not exist is created.

        `fields` are without system fields. `id` is for documents whose id says what they are, and
        `creation_time` for those that were there before, elsewhere.
        """
        table = self.table(table_name) or self.create_table(table_name)
        known = id is not None
        if id is None:
            id = encode_id(table.number, self.new_internal_id())
        if creation_time is None:
            creation_time = self._next_creation_time
            self._next_creation_time = math.nextafter(creation_time, math.inf)
        document = {**fields, ID_FIELD: id, CREATION_TIME_FIELD: creation_time}
        # A new random id has nothing before it to look for.
        absent = None if known else _Pending(table, None, {}, None, {})
        try:
            packed = pack(document)
        except CommitTsUnknown:
            packed = self._packed_pending(table, document)
        self._put(table, id, packed, document, absent)
        return id

    def new_internal_id(self) -> bytes:
        """Return what the id of a new document is made of."""
        return new_internal_id(self._entropy.random_bytes(10), self.now_ns)

    def replace(self, id: str, fields: dict[str, Value]) -> None:
        """Give an existing document new fields. Equal ones are no write at all."""
        table, current = self._existing(id)
        before = _unpacked(current)
        document = {
            **fields,
            ID_FIELD: id,
            CREATION_TIME_FIELD: before[CREATION_TIME_FIELD],
        }
        try:
            packed = pack(document)
        except CommitTsUnknown:
            packed = self._packed_pending(table, document)
        if packed != current:
            known = self._pending.get(id) or _Pending(table, current, table.keys(before), None, {})
            self._put(table, id, packed, document, known)

    def pack_pending(self, value: Value) -> bytes:
        """Return the bytes of a value of the mutation that holds the timestamp of its commit."""
        self.awaits_commit_ts = True
        return pack_pending(value)

    def has_its_place(self, table: TableEntry, index: IndexEntry, row: Row) -> bool:
        """Return whether a row stands where it will stand: not if that is up to the timestamp."""
        return not self.awaits_commit_ts or has_its_place(table, index, row.packed, row.key)

    def _packed_pending(self, table: TableEntry, document: dict[str, Value]) -> bytes:
        if table.is_system and table.number not in system_tables.STAMPED:
            # What a mutation gives to be kept there has to be known: arguments of functions.
            return pack(document)
        return self.pack_pending(document)

    def delete(self, id: str) -> None:
        """Remove an existing document."""
        table, _ = self._existing(id)
        self._put(table, id, None, None)

    @contextmanager
    def beside(self) -> Iterator[Transaction]:
        """Read the same snapshot without this transaction's writes; it does not depend on that.

        What is read counts towards its limits, and within what is left of them.
        """
        other = Transaction(
            snapshot=self._snapshot,
            catalog=self.catalog,
            entropy=self._entropy,
            now_ns=self.now_ns,
            source=self.source,
        )
        other._documents_read, other._bytes_read = self._documents_read, self._bytes_read
        if self._allowance is not None:
            other._allowance = self._allowance.beside(self._used())
        try:
            yield other
        finally:
            other._record_open_scans()
            self._documents_read, self._bytes_read = other._documents_read, other._bytes_read

    @contextmanager
    def limited(self, given: Mapping[str, int]) -> Iterator[None]:
        """Let the block use no more than is given, by its name in `amounts`, of what is left.

        Raises:
            DeveloperError: it has used more.
        """
        outer = self._allowance
        self._allowance = (outer or UNBOUNDED).within(given, self._used())
        try:
            yield
            self._allowance.check_all(self._used(), self.source)
        finally:
            self._allowance = outer

    @contextmanager
    def sub_transaction(self) -> Iterator[None]:
        """Undo the writes of the block when it raises; what it read stays read."""
        undo_to = len(self._undo)
        tables = dict(self._created_tables)
        try:
            yield
        except BaseException:
            while len(self._undo) > undo_to:
                id_, previous = self._undo.pop()
                self._restore(id_, previous)
            self._created_tables = tables
            raise

    def finish(self) -> FinishedTransaction:
        """Return what to commit. Scans that are still open record what they consumed.

        What has read too much may be finished: a query that failed so is watched for what it read.
        """
        self._record_open_scans()
        changed = [
            (id_, pending)
            for id_, pending in self._pending.items()
            if pending.before != pending.after
        ]
        return FinishedTransaction(
            begin_ts=self.begin_ts,
            reads=self.reads,
            changes=tuple([_change(id_, pending) for id_, pending in changed]),
            source=self.source,
            scheduled=self._functions_scheduled,
            stamps=tuple(_stamps(changed)) if self.awaits_commit_ts else (),
        )

    def check_limits(self) -> None:
        """Raise if the reads so far, those of open scans included, are more than allowed.

        Raises:
            DeveloperError: too many index ranges were read.
        """
        self._record_open_scans()
        self._check_intervals()

    def _record_open_scans(self) -> None:
        for scan in list(self._open_scans):
            self._record_scan(scan, scan.consumed())

    def close(self) -> None:
        """End the snapshot. Rows of scans that are still open cannot be read any more."""
        self._snapshot.close()

    # The write buffer.

    def _stored(self, table: TableEntry, id_: str) -> bytes | None:
        """Return what the snapshot has: whoever writes a document has read it before."""
        if id_ in self._got:
            return self._got[id_]
        packed = self._got[id_] = self._snapshot.get(table.number, id_)
        return packed

    def _existing(self, id_: str) -> tuple[TableEntry, bytes]:
        table = self.table_by_number(decode_id(id_).table_number)
        assert table is not None, f"no table has the number in {id_}"
        pending = self._pending.get(id_)
        current = self._stored(table, id_) if pending is None else pending.after
        assert current is not None, f"{id_} does not exist: callers read it first"
        return table, current

    def _put(
        self,
        table: TableEntry,
        id_: str,
        packed: bytes | None,
        document: dict[str, Value] | None,
        known: _Pending | None = None,
    ) -> None:
        self._count_written(table, id_, document)
        self._record_indexes_of(table)
        previous = self._pending.get(id_)
        known = previous or known
        if known is None:
            before = self._stored(table, id_)
            before_keys = {} if before is None else table.keys(_unpacked(before))
        else:
            before, before_keys = known.before, known.before_keys
        self._undo.append((id_, previous))
        self._restore(
            id_,
            _Pending(
                table=table,
                before=before,
                before_keys=before_keys,
                after=packed,
                after_keys={} if document is None else table.keys(document),
            ),
        )

    def _restore(self, id_: str, pending: _Pending | None) -> None:
        """Make `pending` what is wanted of a document, in the buffer and over every index."""
        self.changes += 1
        previous = self._pending.pop(id_, None)
        if pending is not None:
            self._pending[id_] = pending
        for index, overlay in self._overlay.items():
            if previous is not None:
                previous.take_off(index, overlay)
            if pending is not None:
                pending.lay_over(index, overlay)

    def create_table(self, name: str) -> TableEntry:
        """Create a table that does not exist; one commit cannot create two of one name."""
        tables = self.catalog.by_name(system_tables.TABLES)
        assert tables is not None
        # Numbers are given in order, so two transactions that create tables must not both commit.
        self._record(by_id_index(tables.number), Interval(b"", None), prefix=b"")
        taken = [table.number for table in self.catalog.tables()]
        taken += [table.number for table in self._created_tables.values()]
        number = max(*taken, system_tables.USER_TABLE_NUMBER_MIN - 1) + 1
        # Counted, since imported tables bring numbers of their own.
        if len(self.user_tables()) >= limits.tables_max:
            raise DeveloperError(
                f"cannot create table {name!r}: a deployment may have {limits.tables_max} tables",
                code="TooManyTables",
            )
        table = table_entry(number, name, ())
        self.insert(system_tables.TABLES, system_tables.table_document(number, name))
        self._created_tables[name] = table
        return table

    def remove_table(self, table: TableEntry) -> None:
        """Remove a table that has neither documents nor declared indexes any more."""
        self.depend_on(table)
        id_ = self.table_document_id(table.name)
        # Whoever writes a document has read it.
        self.get(id_)
        self.delete(id_)

    def table_document_id(self, name: str) -> str:
        """Return the id of the document of a table that there is."""
        tables = self.catalog.by_name(system_tables.TABLES)
        assert tables is not None
        interval = Interval.prefix(encode_key([name]))
        rows = self.scan(tables, tables.indexes["by_name"], interval, Order.ASC, rows=1)
        with closing(rows):
            for row in rows:
                return str(_unpacked(row.packed)[ID_FIELD])
        raise AssertionError(f"table {name} has no document")

    # Recording and counting.

    def _record_absent_table(self, name: str) -> None:
        tables = self.catalog.by_name(system_tables.TABLES)
        assert tables is not None
        prefix = encode_key([name])
        self._record(tables.indexes["by_name"].id, Interval.prefix(prefix), prefix=prefix)

    def _record_indexes_of(self, table: TableEntry) -> None:
        """A write depends on which indexes its table has: a push that adds one conflicts."""
        if table.is_system or table.number in self._written_tables:
            return
        self._written_tables.add(table.number)
        prefix = encode_part(table.number)
        self._record(system_tables.INDEXES_BY_TABLE, Interval.prefix(prefix), prefix=prefix)

    def _record_scan(self, scan: Scan, consumed: Interval | None) -> None:
        found = self._open_scans.pop(scan, None)
        if found is not None and consumed is not None:
            index, prefix = found
            self._record(index, consumed, prefix=prefix)

    def _record(self, index: IndexId, interval: Interval, *, prefix: bytes) -> None:
        self.reads.record(index, interval, prefix=prefix)

    def _check_intervals(self) -> None:
        # Not where a read is recorded: a scan records itself when it is closed, and an error
        # raised there may have nobody to reach.
        if self.reads.interval_count > limits.read_intervals_max:
            raise DeveloperError(
                f"{self.source} read {self.reads.interval_count} index ranges; one function may "
                f"read {limits.read_intervals_max}. Read wider ranges, or split the work",
                code="TooManyReads",
            )
        if self._allowance is not None:
            self._allowance.check("database_queries", self.reads.interval_count, self.source)

    def _may_read(self, documents: int, size: int) -> bool:
        return (
            self._allowance is None
            and self._documents_read + documents <= limits.documents_read_max
            and self._bytes_read + size <= limits.bytes_read_max
        )

    def _count_read(self, documents: int, size: int) -> None:
        self._documents_read += documents
        self._bytes_read += size
        if self._documents_read > limits.documents_read_max:
            raise DeveloperError(
                f"{self.source} read {self._documents_read} documents; one function may read "
                f"{limits.documents_read_max}. Narrow the index range, or use paginate()",
                code="TooManyDocumentsRead",
            )
        if self._bytes_read > limits.bytes_read_max:
            raise DeveloperError(
                f"{self.source} read {self._bytes_read} bytes; one function may read "
                f"{limits.bytes_read_max}. Narrow the index range, or use paginate()",
                code="TooManyBytesRead",
            )
        if self._allowance is not None:
            self._allowance.check("documents_read", self._documents_read, self.source)
            self._allowance.check("bytes_read", self._bytes_read, self.source)

    def _count_written(
        self, table: TableEntry, id_: str, document: dict[str, Value] | None
    ) -> None:
        if table.is_system:
            return
        size = 0 if document is None else value_size(document)
        if size > limits.document_bytes_max:
            raise DeveloperError(
                f"document {id_} of {table.name} would have {size} bytes; a document may have "
                f"{limits.document_bytes_max}. Split it, or store a file",
                code="ValueTooLargeError",
            )
        self._documents_written += 1
        self._bytes_written += size
        if self._documents_written > limits.documents_written_max:
            raise DeveloperError(
                f"{self.source} wrote {self._documents_written} documents; one mutation may write "
                f"{limits.documents_written_max}. Split the work over several mutations",
                code="TooManyWrites",
            )
        if self._bytes_written > limits.bytes_written_max:
            raise DeveloperError(
                f"{self.source} wrote {self._bytes_written} bytes; one mutation may write "
                f"{limits.bytes_written_max}. Split the work over several mutations",
                code="TooManyBytesWritten",
            )
        if self._allowance is not None:
            self._allowance.check("documents_written", self._documents_written, self.source)
            self._allowance.check("bytes_written", self._bytes_written, self.source)

    def count_scheduled(self, size: int) -> None:
        """Count a function that is scheduled with arguments of so many bytes.

        Raises:
            DeveloperError: the transaction schedules too much.
        """
        self._functions_scheduled += 1
        self._scheduled_bytes += size
        if self._functions_scheduled > limits.functions_scheduled_max:
            raise DeveloperError(
                f"{self.source} scheduled {self._functions_scheduled} functions; one mutation may "
                f"schedule {limits.functions_scheduled_max}. Schedule one that goes on with the rest",
                code="TooManyFunctionsScheduled",
            )
        if self._scheduled_bytes > limits.scheduled_arguments_bytes_max:
            raise DeveloperError(
                f"{self.source} scheduled functions whose arguments have {self._scheduled_bytes} "
                f"bytes; those of one mutation may have {limits.scheduled_arguments_bytes_max}. "
                "Store the data in documents, and give their ids",
                code="ScheduledFunctionsArgumentsTooLarge",
            )
        if self._allowance is not None:
            self._allowance.check("functions_scheduled", self._functions_scheduled, self.source)
            self._allowance.check(
                "scheduled_function_args_bytes", self._scheduled_bytes, self.source
            )

    def may_read_on(self, share: int) -> bool:
        """Return whether a page may read one more row and stay within 1/`share` of what is left.

        The largest document fits then, unless the call that reads was given little.
        """
        if (
            self._documents_read >= limits.documents_read_max // share
            or self._bytes_read > limits.bytes_read_max // share - 2 * limits.document_bytes_max
            or (share > 1 and self.reads.interval_count >= limits.read_intervals_max // share)
        ):
            return False
        return self._allowance is None or self._allowance.may_read_on(self._used(), share)

    @property
    def usage(self) -> Usage:
        """Return what was used so far; pages end before a limit does (semantics 3.6)."""
        return Usage(
            documents_read=self._documents_read,
            bytes_read=self._bytes_read,
            documents_written=self._documents_written,
            bytes_written=self._bytes_written,
        )

    @property
    def amounts(self) -> Mapping[str, tuple[int, int]]:
        """Return what was used so far, and the most that may be, by what it is."""
        most = {
            "bytes_read": limits.bytes_read_max,
            "bytes_written": limits.bytes_written_max,
            "database_queries": limits.read_intervals_max,
            "documents_read": limits.documents_read_max,
            "documents_written": limits.documents_written_max,
            "functions_scheduled": limits.functions_scheduled_max,
            "scheduled_function_args_bytes": limits.scheduled_arguments_bytes_max,
        }
        if self._allowance is not None:
            most = {name: self._allowance.end(name, end) for name, end in most.items()}
        return {name: (used, most[name]) for name, used in self._used().items()}

    def _used(self) -> dict[str, int]:
        return {
            "bytes_read": self._bytes_read,
            "bytes_written": self._bytes_written,
            "database_queries": self.reads.interval_count,
            "documents_read": self._documents_read,
            "documents_written": self._documents_written,
            "functions_scheduled": self._functions_scheduled,
            "scheduled_function_args_bytes": self._scheduled_bytes,
        }

    def warnings(self) -> list[str]:
        """Return a line for each limit of which more than four fifths are used (semantics 4.10)."""
        used = (
            ("TooManyDocumentsRead", self._documents_read, limits.documents_read_max),
            ("TooManyBytesRead", self._bytes_read, limits.bytes_read_max),
            ("TooManyReads", self.reads.interval_count, limits.read_intervals_max),
            ("TooManyWrites", self._documents_written, limits.documents_written_max),
            ("TooManyBytesWritten", self._bytes_written, limits.bytes_written_max),
            (
                "TooManyFunctionsScheduled",
                self._functions_scheduled,
                limits.functions_scheduled_max,
            ),
            (
                "ScheduledFunctionsArgumentsTooLarge",
                self._scheduled_bytes,
                limits.scheduled_arguments_bytes_max,
            ),
        )
        return [
            f"warning:{code} {self.source} used {amount} of {most}; beyond that it fails"
            for code, amount, most in used
            if amount * 100 > most * limits.warning_percent
        ]


class Usage(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a transaction has read and written of user tables."""

    documents_read: int
    bytes_read: int
    documents_written: int
    bytes_written: int


NOTHING_USED: Final = Usage(documents_read=0, bytes_read=0, documents_written=0, bytes_written=0)


def _unpacked(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document


def _change(id_: str, pending: _Pending) -> DocumentChange:
    entries = []
    for index in pending.table.stored:
        removed = pending.before_keys.get(index.id)
        added = pending.after_keys.get(index.id)
        entries.append(EntryChange(index=index.id, removed=removed, added=added))
    return DocumentChange(
        table=pending.table.number,
        id=id_,
        before=pending.before,
        after=pending.after,
        entries=tuple(entries),
    )


def _stamps(changed: list[tuple[str, _Pending]]) -> Iterator[Stamp]:
    """Yield where the commit timestamp goes in the changes to documents."""
    for at, (_, pending) in enumerate(changed):
        if pending.after is not None:
            stamp = stamp_of(at, pending.table, pending.after, pending.after_keys)
            if stamp is not None:
                yield stamp
