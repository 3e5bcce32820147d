"""Which read sets a commit touches, found without looking at the others.

Most reads are an equality prefix: all of a channel's messages, one document. So each interval is
filed in a bucket by its index and prefix, and a written key probes one bucket for each prefix
length in use in its index. In a bucket, intervals that span the whole prefix lie side by side; the others
are in a tree ordered by start that knows the furthest end below each node. A commit costs what it
touches, plus a few probes: read sets elsewhere cost it nothing. Searches are found by their words
(`camber.occ.watched_searches`), or by what was nearest to them (`camber.occ.watched_vectors`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar
from zlib import crc32

from camber.occ.interval import IndexId, Interval
from camber.occ.read_set import ReadSet
from camber.occ.watched_searches import WatchedSearches
from camber.occ.watched_vectors import WatchedVectors
from camber.occ.write_set import EveryKey, IndexWrites
from camber.search.texts import TextQuery
from camber.values.keys import GOES_ON

K = TypeVar("K", bound=Hashable)

#: An interval's end, comparable: no end lies above every end.
_End: TypeAlias = tuple[bool, bytes]


class Subscriptions(Generic[K]):
    """Read sets under watch, by a key of the caller's."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[IndexId, bytes], _Bucket[K]] = {}
        #: How many buckets of an index have a prefix of each length.
        self._lengths: dict[IndexId, Counter[int]] = {}
        self._reads: dict[K, ReadSet] = {}
        self._searches: WatchedSearches[K] = WatchedSearches()
        self._vectors: WatchedVectors[K] = WatchedVectors()

    def __len__(self) -> int:
        return len(self._reads)

    def __iter__(self) -> Iterator[K]:
        return iter(self._reads)

    def add(self, key: K, reads: ReadSet) -> None:
        """Watch a read set, which must not change any more."""
        assert key not in self._reads, f"{key!r} is watched already"
        self._reads[key] = reads
        for index, read in reads.items():
            place = (index, read.prefix)
            bucket = self._buckets.get(place)
            if bucket is None:
                bucket = self._buckets[place] = _Bucket()
                self._lengths.setdefault(index, Counter())[len(read.prefix)] += 1
            bucket.add(key, read.interval, read.prefix)
        for index, query in reads.searches:
            if isinstance(query, TextQuery):
                self._searches.add(key, index, query)
            else:
                self._vectors.add(key, index, query)

    def remove(self, key: K) -> None:
        """Stop to watch; nothing happens if it is not watched."""
        reads = self._reads.pop(key, None)
        if reads is None:
            return
        for index, read in reads.items():
            place = (index, read.prefix)
            bucket = self._buckets[place]
            bucket.remove(key, read.interval, read.prefix)
            if bucket.is_empty:
                del self._buckets[place]
                self._forget_length(index, len(read.prefix))
        for index, query in reads.searches:
            if isinstance(query, TextQuery):
                self._searches.remove(key, index, query)
            else:
                self._vectors.remove(key, index, query)

    def _forget_length(self, index: IndexId, length: int) -> None:
        lengths = self._lengths[index]
        lengths[length] -= 1
        if not lengths[length]:
            del lengths[length]
        if not lengths:
            del self._lengths[index]

    def stale(self, writes: IndexWrites) -> Collection[K]:
        """Return the keys of the read sets that a commit touches, each once.

        Equal histories give them in equal order, which no set of objects would.
        """
        found: dict[K, None] = {}
        for index, keys in writes.items():
            lengths = self._lengths.get(index)
            if lengths is None:
                continue
            if isinstance(keys, EveryKey):
                # Rare enough to look at every bucket of every index.
                for (of, _), watched in self._buckets.items():
                    if of == index:
                        found.update(dict.fromkeys(watched.everybody()))
                continue
            for key in keys:
                for length in lengths:
                    bucket = self._buckets.get((index, key[:length]))
                    # A longer string may begin as the prefix does, and is none of its keys.
                    goes_on = key[length : length + 1] == GOES_ON
                    if bucket is not None and length <= len(key) and not goes_on:
                        found.update(dict.fromkeys(bucket.stale(key)))
        if self._searches:
            self._searches.touched(writes, found)
        if self._vectors:
            self._vectors.touched(writes, found)
        return found.keys()


@dataclass(slots=True)
class _Bucket(Generic[K]):
    """The watched intervals of one index and prefix."""

    whole: dict[K, None] = field(default_factory=dict)
    ranges: _Node[K] | None = None

    def add(self, key: K, interval: Interval, prefix: bytes) -> None:
        if _is_whole(interval, prefix):
            self.whole[key] = None
        else:
            self.ranges = _add(self.ranges, interval.start, _end(interval), key)

    def remove(self, key: K, interval: Interval, prefix: bytes) -> None:
        if _is_whole(interval, prefix):
            self.whole.pop(key, None)
        else:
            self.ranges = _remove(self.ranges, interval.start, _end(interval), key)

    @property
    def is_empty(self) -> bool:
        return not self.whole and self.ranges is None

    def everybody(self) -> Iterator[K]:
        """Yield who watches anything here."""
        yield from self.whole
        waiting = [] if self.ranges is None else [self.ranges]
        while waiting:
            node = waiting.pop()
            yield from node.members
            waiting += [child for child in (node.left, node.right) if child is not None]

    def stale(self, key: bytes) -> Iterator[K]:
        yield from self.whole
        if self.ranges is not None:
            yield from _containing(self.ranges, key)


def _is_whole(interval: Interval, prefix: bytes) -> bool:
    # A key's bytes are no prefix of another key's, so the point of a whole key is its prefix too.
    return interval in (Interval.prefix(prefix), Interval.point(prefix))


def _end(interval: Interval) -> _End:
    return (interval.end is None, interval.end or b"")


@dataclass(slots=True)
class _Node(Generic[K]):
    """A treap of intervals: ordered by (start, end), heap-ordered by a hash of both.

    The hash spreads like chance but is the same in every run.
    """

    start: bytes
    end: _End
    priority: int
    members: dict[K, None]
    furthest: _End
    left: _Node[K] | None = None
    right: _Node[K] | None = None

    def refresh(self) -> _Node[K]:
        """Recompute the furthest end below; called after every change of a child."""
        furthest = self.end
        if self.left is not None and self.left.furthest > furthest:
            furthest = self.left.furthest
        if self.right is not None and self.right.furthest > furthest:
            furthest = self.right.furthest
        self.furthest = furthest
        return self


def _add(node: _Node[K] | None, start: bytes, end: _End, key: K) -> _Node[K]:
    if node is None:
        priority = crc32(end[1], crc32(start))
        return _Node(start, end, priority, {key: None}, end)
    if (start, end) == (node.start, node.end):
        node.members[key] = None
        return node
    if (start, end) < (node.start, node.end):
        node.left = _add(node.left, start, end, key)
        if node.left.priority > node.priority:
            return _rotate_right(node, node.left)
    else:
        node.right = _add(node.right, start, end, key)
        if node.right.priority > node.priority:
            return _rotate_left(node, node.right)
    return node.refresh()


def _remove(node: _Node[K] | None, start: bytes, end: _End, key: K) -> _Node[K] | None:
    if node is None:
        return None
    if (start, end) == (node.start, node.end):
        node.members.pop(key, None)
        return node if node.members else _joined(node.left, node.right)
    if (start, end) < (node.start, node.end):
        node.left = _remove(node.left, start, end, key)
    else:
        node.right = _remove(node.right, start, end, key)
    return node.refresh()


def _joined(left: _Node[K] | None, right: _Node[K] | None) -> _Node[K] | None:
    """Return one tree of two, of which all of `left` lies before all of `right`."""
    if left is None:
        return right
    if right is None:
        return left
    if left.priority > right.priority:
        left.right = _joined(left.right, right)
        return left.refresh()
    right.left = _joined(left, right.left)
    return right.refresh()


def _rotate_right(node: _Node[K], left: _Node[K]) -> _Node[K]:
    node.left, left.right = left.right, node
    node.refresh()
    return left.refresh()


def _rotate_left(node: _Node[K], right: _Node[K]) -> _Node[K]:
    node.right, right.left = right.left, node
    node.refresh()
    return right.refresh()


def _containing(root: _Node[K], key: bytes) -> Iterator[K]:
    """Yield the members of every interval that contains `key`."""
    bound = (False, key)
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.furthest <= bound:
            continue
        if node.left is not None:
            waiting.append(node.left)
        if node.start <= key:
            if node.end > bound:
                yield from node.members
            if node.right is not None:
                waiting.append(node.right)
