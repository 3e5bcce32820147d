"""What a transaction looked at, as intervals of index keys, and as searches of texts and vectors.

Only `record` and `record_search` add to a read set, and only the engine's transaction calls them: a
read that forgets to record itself is a query that never updates.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from camber.occ.interval import IndexId, Interval
from camber.occ.write_set import EveryKey, IndexWrites
from camber.search.nearest import Nearest
from camber.search.texts import TextQuery

#: An index, the start and end of an interval of its keys, and the prefix that they share.
RecordedRow: TypeAlias = tuple[IndexId, bytes, bytes | None, bytes]
#: A text or vector index, and what was looked for in it: whatever matches, or did, was read.
RecordedSearch: TypeAlias = tuple[IndexId, TextQuery | Nearest]


@dataclass(frozen=True, slots=True)
class RecordedRead:
    """An interval and the equality prefix that all its keys share, which may be empty."""

    interval: Interval
    prefix: bytes


class ReadSet:
    """Intervals by index. Those of one index and prefix that touch are merged."""

    __slots__ = ("_count", "_reads", "_rows", "_searches")

    def __init__(self) -> None:
        #: Disjoint intervals in order, by index and prefix, as parallel starts and ends.
        self._reads: dict[tuple[IndexId, bytes], tuple[list[bytes], list[bytes | None]]] = {}
        self._count = 0
        #: The same as rows, as long as nothing else is recorded.
        self._rows: Sequence[RecordedRow] | None = None
        self._searches: Sequence[RecordedSearch] = ()

    def record(self, index: IndexId, interval: Interval, *, prefix: bytes = b"") -> None:
        """Add an interval. `prefix` must start every key in it."""
        if interval.is_empty:
            return
        self._spread()
        self._rows = None
        key = (index, prefix)
        found = self._reads.get(key)
        if found is None:
            self._reads[key] = ([interval.start], [interval.end])
            self._count += 1
            return
        starts, ends = found
        self._count -= len(starts)
        _insert(starts, ends, interval)
        self._count += len(starts)

    def record_search(self, index: IndexId, query: TextQuery | Nearest) -> None:
        """Add a search of a text or vector index."""
        if not query.is_empty and (index, query) not in self._searches:
            self._searches = (*self._searches, (index, query))

    @property
    def interval_count(self) -> int:
        """Return how many intervals there are, after merging, and searches."""
        intervals = self._count if self._rows is None else len(self._rows)
        return intervals + len(self._searches)

    @property
    def searches(self) -> Sequence[RecordedSearch]:
        """Return the searches."""
        return self._searches

    def items(self) -> Iterator[tuple[IndexId, RecordedRead]]:
        """Yield every interval with its index."""
        for index, start, end, prefix in self.rows():
            yield index, RecordedRead(Interval(start, end), prefix)

    def meets(self, index: IndexId, prefix: bytes) -> bool:
        """Return whether something was read that may have keys which start with `prefix`."""
        return any(
            each == index and (read.startswith(prefix) or prefix.startswith(read))
            for each, _, _, read in self.rows()
        ) or any(each == index for each, _ in self._searches)

    def overlaps(self, writes: IndexWrites) -> tuple[IndexId, bytes] | None:
        """Return an index and a key in it that was read and is written, or None."""
        self._spread()
        for (index, _), (starts, ends) in self._reads.items():
            keys = writes.get(index)
            if not keys:
                continue
            if isinstance(keys, EveryKey):
                return index, starts[0]
            for key in keys:
                at = bisect_right(starts, key) - 1
                if at >= 0:
                    end = ends[at]
                    if end is None or key < end:
                        return index, key
        for index, query in self._searches:
            keys = writes.get(index, ())
            if isinstance(keys, EveryKey):
                return index, b""
            for key in filter(query.matcher(), keys):
                return index, key
        return None

    def rows(self) -> Sequence[RecordedRow]:
        """Return the intervals as plain values: those of one index and prefix are in order."""
        if self._rows is None:
            self._rows = [
                (index, start, end, prefix)
                for (index, prefix), (starts, ends) in self._reads.items()
                for start, end in zip(starts, ends, strict=True)
            ]
        return self._rows

    @staticmethod
    def from_rows(rows: Sequence[RecordedRow], searches: Sequence[RecordedSearch] = ()) -> ReadSet:
        """Return the read set that `rows` and `searches` were asked of."""
        reads = ReadSet()
        reads._searches = searches
        # Most are held against a log of writes and forgotten.
        reads._rows = rows
        return reads

    def _spread(self) -> None:
        """Put rows where they can be found."""
        if self._rows is None or self._reads:
            return
        for index, start, end, prefix in self._rows:
            # They were merged before: one after another, and apart.
            starts, ends = self._reads.setdefault((index, prefix), ([], []))
            starts.append(start)
            ends.append(end)
        self._count = len(self._rows)


def _insert(starts: list[bytes], ends: list[bytes | None], interval: Interval) -> None:
    """Put an interval among disjoint ones in order, merged with those that it touches."""
    start, end = interval.start, interval.end
    first = bisect_left(starts, start)
    if first > 0 and _reaches(ends[first - 1], start):
        first -= 1
        start = starts[first]
    last = first
    while last < len(starts) and (end is None or starts[last] <= end):
        end = _later(end, ends[last])
        last += 1
    starts[first:last] = [start]
    ends[first:last] = [end]


def _reaches(end: bytes | None, start: bytes) -> bool:
    return end is None or end >= start


def _later(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return None
    return max(one, other)
