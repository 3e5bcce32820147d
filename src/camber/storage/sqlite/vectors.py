"""Vector indexes in a SQLite store: exact search, by blocks of directions that a process keeps.

Vectors lie in blocks of 256, each in one blob in the form in which it is searched. A block has the number
of the write that changed it last, as whoever reads it sees that. So a process keeps the blocks that
it has read, and reads those again whose number is another one. What there is no room for is read each
time.

The scores of a search are computed from all directions in float32, and those of the vectors that may
be among the nearest are computed again (`camber.search.nearest`).
"""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import apsw

from camber import limits
from camber.errors import StorageDamaged
from camber.occ.interval import IndexId
from camber.search.nearest import VectorChange, VectorHit, error_max, matrix_of, scores_of
from camber.search.texts import DIGEST_BYTES
from camber.search.vectors import DIGESTS_AT, Clause, VectorParts, VectorQuery, parts_of
from camber.storage.index_ids import is_vector_index
from camber.storage.sqlite.statements import named_statements, sql_of
from camber.storage.store import id_of_key
from camber.values.timestamp import Timestamp

if TYPE_CHECKING:
    import numpy as np

_SQL: Final = named_statements(sql_of("vector_queries.sql"))
#: `vector_queries.sql` has the same number.
_SLOTS: Final = 256
_COMPONENT_BYTES: Final = 4
#: Candidates beyond those that are asked for, up to which their scores are not computed again yet.
_CANDIDATES: Final = 4 * _SLOTS
#: What a block of fewer bytes gets is memory of the process's own.
_MAPPED_BYTES_MIN: Final = 64 * 1024


def stored_key(index: IndexId, key: bytes) -> bytes:
    """Return a key as it stands in `entries`: that of a vector without its direction."""
    return parts_of(key).place if is_vector_index(index) else key


@lru_cache(maxsize=limits.search_statements_kept)
def _of(name: str, index: IndexId) -> str:
    """Return a statement about an index, or about what is staged for it under its negative id."""
    return _SQL[name].replace("_N", _suffix(index))


def _suffix(index: IndexId) -> str:
    return f"_{index}" if index > 0 else f"_staged_{-index}"


class _Shape(NamedTuple):
    """How long the parts of the keys of an index are, and its last write."""

    head: int
    direction: int
    id: int
    changed: int

    @property
    def block_bytes(self) -> int:
        return _SLOTS * (self.direction + self.head + self.id)

    def offsets(self, slot: int) -> tuple[int, int, int]:
        """Return where the direction, the head and the key of the id of a slot are in its block."""
        at = slot % _SLOTS
        heads = _SLOTS * self.direction
        ids = heads + _SLOTS * self.head
        return at * self.direction, heads + at * self.head, ids + at * self.id


def _shape_of(connection: apsw.Connection, index: IndexId) -> _Shape | None:
    for row in connection.execute(_SQL["shape"], (index,)):
        return _Shape(*row)
    return None


# Reading.


class _Vectors(Protocol):
    """Vectors in memory, by number."""

    directions: np.ndarray[Any, np.dtype[np.float32]]

    def id_of(self, slot: int) -> str:
        """Return the id of the document of one."""


#: A vector that may be among the nearest.
_Candidate: TypeAlias = tuple[_Vectors, int]


class _Copies:
    """Some of the vectors of a block that is forgotten."""

    __slots__ = ("_ids", "directions")

    def __init__(
        self, directions: np.ndarray[Any, np.dtype[np.float32]], ids: Sequence[str]
    ) -> None:
        self.directions = directions
        self._ids = ids

    def id_of(self, slot: int) -> str:
        return self._ids[slot]


class _Block:
    """A block in memory."""

    __slots__ = ("_ids", "bytes", "changed", "digests", "directions", "is_kept", "used")

    def __init__(
        self, buffer: bytes | mmap.mmap, shape: _Shape, changed: int, *, is_kept: bool
    ) -> None:
        import numpy as np

        self.changed = changed
        self.is_kept = is_kept
        self.bytes = len(buffer)
        _, heads, ids = shape.offsets(0)
        directions = np.frombuffer(buffer, dtype="<f4", count=heads // _COMPONENT_BYTES)
        self.directions = directions.reshape(_SLOTS, -1)
        every = np.frombuffer(buffer, dtype=np.uint8)
        self._ids = every[ids:].reshape(_SLOTS, shape.id)
        #: Which slots are in use; None if all are.
        used = self._ids[:, 0] != 0
        self.used: np.ndarray[Any, np.dtype[np.bool_]] | None = None if used.all() else used
        # By slot and place, as two numbers each.
        digests = every[heads:ids].reshape(_SLOTS, shape.head)[:, DIGESTS_AT:]
        places = digests.shape[1] // DIGEST_BYTES
        self.digests = np.ascontiguousarray(digests).view("<u8").reshape(_SLOTS, places, 2)

    def id_of(self, slot: int) -> str:
        key: bytes = self._ids[slot].tobytes()
        return id_of_key(key)

    def candidates(self, slots: list[int]) -> list[_Candidate]:
        """Return the vectors in some slots: copies, where the block is to be forgotten."""
        if self.is_kept:
            return [(self, slot) for slot in slots]
        copies = _Copies(self.directions[slots], [self.id_of(slot) for slot in slots])
        return [(copies, at) for at in range(len(slots))]

    def admitted(
        self, clauses: Sequence[_EncodedClause]
    ) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        """Return which slots may be found; None if all may."""
        import numpy as np

        if not clauses:
            return self.used
        admitted = np.zeros(_SLOTS, dtype=np.bool_)
        for clause in clauses:
            held = np.ones(_SLOTS, dtype=np.bool_)
            for place, digests in clause:
                one_of = np.zeros(_SLOTS, dtype=np.bool_)
                for digest in digests:
                    one_of |= (self.digests[:, place] == digest).all(axis=1)
                held &= one_of
            admitted |= held
        return admitted if self.used is None else admitted & self.used


def _to_keep(data: bytes) -> bytes | mmap.mmap:
    """Return the same data where it does not count towards what a transaction's values may take."""
    if len(data) < _MAPPED_BYTES_MIN:
        return data
    buffer = mmap.mmap(-1, len(data))
    buffer.write(data)
    return buffer


#: A clause of a search, with digests as two numbers each.
_EncodedClause = list[tuple[int, "list[np.ndarray[Any, np.dtype[np.uint64]]]"]]


def _encoded(clause: Clause) -> _EncodedClause:
    import numpy as np

    return [
        (place, [np.frombuffer(digest, dtype="<u8") for digest in digests])
        for place, digests in clause
    ]


@dataclass(slots=True)
class _Kept:
    """The blocks of one index that are in memory."""

    blocks: dict[int, _Block] = field(default_factory=dict)
    #: All that there are, by the number of their last write, and that of the index.
    numbers: dict[int, int] = field(default_factory=dict)
    changed: int = -1


class VectorBlocks:
    """The blocks that one process keeps, of all vector indexes of a store."""

    def __init__(self, bytes_max: int = limits.vector_blocks_bytes_max) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        #: The index that was searched last is the last.
        self._kept: OrderedDict[IndexId, _Kept] = OrderedDict()
        self._bytes = 0

    def hits(
        self, connection: apsw.Connection, index: IndexId, query: VectorQuery, limit: int
    ) -> list[VectorHit]:
        """Return the nearest vectors of what is current."""
        shape = _shape_of(connection, index)
        if shape is None:
            return []
        nearest = _Candidates(query, limit)
        # Queries of one process run one at a time, but for those of the server's own.
        with self._lock:
            for block in self._blocks(connection, index, shape):
                nearest.look_at(block)
        return nearest.hits()

    def _blocks(
        self, connection: apsw.Connection, index: IndexId, shape: _Shape
    ) -> Iterator[_Block]:
        kept = self._kept.setdefault(index, _Kept())
        self._kept.move_to_end(index)
        if kept.changed != shape.changed:
            kept.numbers = dict(connection.execute(_of("blocks", index)))
            kept.changed = shape.changed
            for number in kept.blocks.keys() - kept.numbers.keys():
                self._forget(kept, number)
        for number, changed in kept.numbers.items():
            block = kept.blocks.get(number)
            if block is None or block.changed != changed:
                if block is not None:
                    self._forget(kept, number)
                data = _data_of(connection, index, shape, number)
                if self._has_room(index, len(data)):
                    block = kept.blocks[number] = _Block(
                        _to_keep(data), shape, changed, is_kept=True
                    )
                    self._bytes += block.bytes
                else:
                    block = _Block(data, shape, changed, is_kept=False)
            yield block

    def _has_room(self, index: IndexId, size: int) -> bool:
        """Return whether there is room for one more block, which other indexes make if need be.

        Not this one: each search looks at all of its blocks, so none is better kept than another.
        """
        while self._bytes + size > self.bytes_max:
            oldest = next(iter(self._kept))
            if oldest == index:
                return False
            for other in self._kept.pop(oldest).blocks.values():
                self._bytes -= other.bytes
        return True

    def _forget(self, kept: _Kept, number: int) -> None:
        self._bytes -= kept.blocks.pop(number).bytes


class _Candidates:
    """The vectors that may be among the nearest, of those that were looked at."""

    def __init__(self, query: VectorQuery, limit: int) -> None:
        import numpy as np

        (self._wanted,) = matrix_of([query.direction])
        self._direction = query.direction
        self._clauses = [_encoded(clause) for clause in query.clauses]
        self._limit = limit
        # Two scores may both be off.
        self._margin = 2 * error_max(len(self._wanted))
        #: What is farther than this is not among the nearest.
        self._least = -np.inf
        self._scores = np.empty(0, dtype=np.float32)
        self._candidates: list[_Candidate] = []

    def look_at(self, block: _Block) -> None:
        """Take in what may be among the nearest of one more block."""
        import numpy as np

        admitted = block.admitted(self._clauses)
        if admitted is None:
            scores = block.directions @ self._wanted
            near = np.flatnonzero(scores >= self._least)
            scores = scores[near]
        else:
            slots = np.flatnonzero(admitted)
            if not len(slots):
                return
            # All of them at once, unless they are few.
            if len(slots) * 4 < _SLOTS:
                scores = block.directions[slots] @ self._wanted
            else:
                scores = (block.directions @ self._wanted)[slots]
            is_near = scores >= self._least
            near, scores = slots[is_near], scores[is_near]
        if not len(near):
            return
        self._scores = np.concatenate((self._scores, scores))
        self._candidates += block.candidates(near.tolist())
        self._forget_far()

    def _forget_far(self) -> None:
        import numpy as np

        if len(self._candidates) <= self._limit:
            return
        at = len(self._candidates) - self._limit
        self._least = float(np.partition(self._scores, at)[at]) - self._margin
        near = np.flatnonzero(self._scores >= self._least)
        if len(near) < len(self._candidates):
            self._keep(near.tolist())
        # As near as makes no difference, as equal vectors are, there may be any number of them.
        if len(self._candidates) > self._limit + _CANDIDATES:
            self._keep([at for _, at in self._ranked()])

    def _keep(self, candidates: list[int]) -> None:
        self._scores = self._scores[candidates]
        self._candidates = [self._candidates[each] for each in candidates]

    def _ranked(self) -> list[tuple[VectorHit, int]]:
        """Return the nearest candidates, and where they are among all."""
        found: list[tuple[VectorHit, int]] = []
        # Some at a time: as float64 they take several times the memory of a block.
        for begin in range(0, len(self._candidates), _SLOTS):
            some = self._candidates[begin : begin + _SLOTS]
            directions = [vectors.directions[slot].tobytes() for vectors, slot in some]
            scores = scores_of(matrix_of(directions), self._direction)
            for at, (score, (vectors, slot)) in enumerate(zip(scores, some, strict=True), begin):
                found.append((VectorHit(score, vectors.id_of(slot)), at))
        return nsmallest(self._limit, found, key=lambda each: each[0].rank)

    def hits(self) -> list[VectorHit]:
        """Return the nearest of all."""
        return [hit for hit, _ in self._ranked()]


def changes_since(
    connection: apsw.Connection, index: IndexId, ts: Timestamp, removed: Iterable[bytes]
) -> list[VectorChange]:
    """Return how to come from what is current to what was there at `ts`, by document.

    `removed` are the keys that were there and are no more, or are there again.
    """
    shape = _shape_of(connection, index)
    now: dict[str, bytes] = {}
    if shape is not None:
        slots = [slot for (slot,) in connection.execute(_of("younger", index), (ts,))]
        now = {parts.id: b"".join(parts) for parts in _keys_at(connection, index, shape, slots)}
    then = {parts_of(key).id: key for key in removed}
    return [VectorChange(now.get(id_), then.get(id_)) for id_ in {**now, **then}]


def _keys_at(
    connection: apsw.Connection, index: IndexId, shape: _Shape, slots: Iterable[int]
) -> Iterator[VectorParts]:
    """Yield the parts of the keys that are in slots, in their order."""
    blocks: dict[int, bytes] = {}
    for slot in slots:
        number = slot // _SLOTS
        data = blocks.get(number)
        if data is None:
            data = _data_of(connection, index, shape, number)
            blocks = {number: data}
        direction, head, id_ = shape.offsets(slot)
        yield VectorParts(
            data[head : head + shape.head],
            data[direction : direction + shape.direction],
            data[id_ : id_ + shape.id],
        )


def _data_of(connection: apsw.Connection, index: IndexId, shape: _Shape, number: int) -> bytes:
    """Return what is in a block.

    Raises:
        StorageDamaged: it is not there, or not whole.
    """
    for (data,) in connection.execute(_of("data", index), (number,)):
        if isinstance(data, bytes) and len(data) == shape.block_bytes:
            return data
    msg = (
        f"what is stored is damaged (no block {number} of vector index {index}): stop the server and "
        "restore a backup"
    )
    raise StorageDamaged(msg)


# Writing.


class VectorRow(NamedTuple):
    """What becomes of a document's vector: a key since a timestamp, or none."""

    of: IndexId
    document: int
    since: Timestamp
    key: bytes | None


class RemovedVector(NamedTuple):
    """A vector that is cleared away: its document, since when it was there, and its key."""

    document: int
    since: Timestamp
    key: bytes


class VectorWriter:
    """The vector indexes of one store, on its writer's connection, within its transactions."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def write(self, rows: Iterable[VectorRow]) -> None:
        """Give documents other vectors."""
        for index, changed in _by_index(rows):
            tables = self._tables(index)
            for row in changed:
                if row.key is None:
                    tables.remove(row.document)
                else:
                    tables.put(row.document, row.since, row.key)
            tables.finish()

    def add_missing(self, rows: Iterable[VectorRow]) -> None:
        """Add vectors of documents that have none yet."""
        for index, found in _by_index(rows):
            tables = self._tables(index)
            for row in found:
                if row.key is not None and tables.slot_of(row.document) is None:
                    tables.put(row.document, row.since, row.key)
            tables.finish()

    def stage(self, rows: Iterable[VectorRow]) -> None:
        """Put vectors aside for their indexes."""
        self.write(row._replace(of=-row.of) for row in rows)

    def unstage(self) -> None:
        """Forget all vectors that are staged."""
        for (index,) in list(self._connection.execute(_SQL["staged_indexes"])):
            self._forget(index)

    def clear(self, index: IndexId) -> Iterator[RemovedVector]:
        """Remove all vectors of an index; yield them, while they are still there."""
        shape = _shape_of(self._connection, index)
        if shape is None:
            return
        # In the order of slots: one block after another.
        there = list(self._connection.execute(_of("all", index)))
        keys = _keys_at(self._connection, index, shape, (slot for _, slot, _ in there))
        for (document, _, since), parts in zip(there, keys, strict=True):
            yield RemovedVector(document, since, b"".join(parts))
        self._forget(index)

    def let_in(self, index: IndexId, ts: Timestamp) -> None:
        """Add all vectors that are staged for an index: at once, if it has no others."""
        shape = _shape_of(self._connection, -index)
        if shape is None:
            return
        if not self._has_any(index):
            self._take_over(index, ts)
            return
        staged = list(self._connection.execute(_of("all", -index)))
        keys = _keys_at(self._connection, -index, shape, (slot for _, slot, _ in staged))
        tables = self._tables(index)
        for (document, _, _), parts in zip(staged, keys, strict=True):
            tables.put(document, ts, b"".join(parts))
        tables.finish()
        self._forget(-index)

    def drop(self, index: IndexId, vectors_max: int) -> int:
        """Remove some of what is kept of an index; return how many vectors or so went."""
        if _shape_of(self._connection, index) is None:
            return 0
        self._connection.execute(_of("drop_data", index), (max(1, vectors_max // _SLOTS),))
        blocks = self._connection.changes()
        if not blocks:
            self._forget(index)
        return blocks * _SLOTS

    def _tables(self, index: IndexId) -> _Tables:
        return _Tables(self._connection, index, self._next_write())

    def _next_write(self) -> int:
        ((number,),) = self._connection.execute(_SQL["next_write"])
        return int(number)

    def _has_any(self, index: IndexId) -> bool:
        if _shape_of(self._connection, index) is None:
            return False
        return any(True for _ in self._connection.execute(_of("any", index)))

    def _take_over(self, index: IndexId, ts: Timestamp) -> None:
        """Make what is staged for an index what it has."""
        if _shape_of(self._connection, index) is not None:
            self._forget(index)
        write = self._next_write()
        renamed = _SQL["take_over"].replace("_S", _suffix(-index))
        self._connection.execute(renamed.replace("_N", _suffix(index)))
        self._connection.execute(_of("index_tables", index))
        self._connection.execute(_of("take_over_since", index), (ts,))
        self._connection.execute(_of("take_over_blocks", index), (write,))
        self._connection.execute(_SQL["take_over_index"], (index, write))

    def _forget(self, index: IndexId) -> None:
        self._connection.execute(_of("drop", index))
        self._connection.execute(_SQL["drop_index"], (index,))


class _Tables:
    """The tables of one index, or of what is staged for it, while one write goes on."""

    def __init__(self, connection: apsw.Connection, index: IndexId, write: int) -> None:
        self._connection = connection
        self._index = index
        self._write = write
        self._shape = _shape_of(connection, index)
        self._is_changed = False

    def slot_of(self, document: int) -> int | None:
        """Return where the vector of a document is, if it has one."""
        if self._shape is not None:
            for (slot,) in self._run("slot", document):
                return int(slot)
        return None

    def put(self, document: int, since: Timestamp, key: bytes) -> None:
        """Give a document a vector, in the place of the one that it has."""
        parts = parts_of(key)
        shape = self._shape or self._make(parts)
        slot, used = self.slot_of(document), 0
        if slot is None:
            slot, used = self._free_slot(shape), 1
        self._fill(shape, slot, parts)
        self._run("put", document, slot, since)
        list(self._run("use", slot // _SLOTS, self._write, used))
        self._is_changed = True

    def remove(self, document: int) -> None:
        """Take a document's vector away, if it has one."""
        slot = self.slot_of(document)
        if slot is None:
            return
        assert self._shape is not None
        shape, block = self._shape, slot // _SLOTS
        self._run("delete", document)
        ((used,),) = self._run("use", block, self._write, -1)
        if used:
            nothing = VectorParts(bytes(shape.head), bytes(shape.direction), bytes(shape.id))
            self._fill(shape, slot, nothing)
        else:
            self._run("delete_block", block)
            self._run("delete_data", block)
        self._is_changed = True

    def finish(self) -> None:
        """Note which write was the last."""
        if self._is_changed:
            self._connection.execute(_SQL["index_changed"], (self._index, self._write))

    def _free_slot(self, shape: _Shape) -> int:
        for (block,) in list(self._run("with_room")):
            _, _, ids = shape.offsets(0)
            with self._blob(block) as blob:
                blob.seek(ids)
                first = blob.read()[:: shape.id]
            return int(block) * _SLOTS + first.index(0)
        ((last,),) = self._run("last_block")
        block = int(last) + 1
        self._run("add_block", block)
        self._run("add_data", block, shape.block_bytes)
        return block * _SLOTS

    def _fill(self, shape: _Shape, slot: int, parts: VectorParts) -> None:
        direction, head, id_ = shape.offsets(slot)
        with self._blob(slot // _SLOTS) as blob:
            for at, part in (
                (direction, parts.direction),
                (head, parts.head),
                (id_, parts.id_key),
            ):
                blob.seek(at)
                blob.write(part)

    def _blob(self, block: int) -> apsw.Blob:
        table = f"vector_data{_suffix(self._index)}"
        return self._connection.blob_open("main", table, "data", block, True)  # noqa: FBT003

    def _make(self, parts: VectorParts) -> _Shape:
        """Make the tables, for keys of the lengths that this one has."""
        lengths = (len(parts.head), len(parts.direction), len(parts.id_key))
        self._run("create")
        self._run("index_tables")
        self._connection.execute(_SQL["add_index"], (self._index, *lengths))
        self._shape = _Shape(*lengths, self._write)
        return self._shape

    def _run(self, name: str, *parameters: int) -> apsw.Cursor:
        return self._connection.execute(_of(name, self._index), parameters)


def _by_index(rows: Iterable[VectorRow]) -> Iterable[tuple[IndexId, list[VectorRow]]]:
    found: dict[IndexId, list[VectorRow]] = {}
    for row in rows:
        found.setdefault(row.of, []).append(row)
    return found.items()
