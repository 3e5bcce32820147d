"""Recent commits, kept in memory to answer whether what was read has been written since.

The same question has two uses: a transaction asks before it commits, and a query's result asks
before it is shared at a later timestamp than it was computed at.

Commits are kept in generations, each of which knows by key when it was written: what a question
costs follows from how much was read, not from how many commits there were since. Whole generations
are forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from camber import limits
from camber.occ.interval import IndexId
from camber.occ.read_set import ReadSet
from camber.occ.write_set import EveryKey, IndexWrites
from camber.search.nearest import Nearest
from camber.search.texts import TextQuery
from camber.values.keys import prefix_end
from camber.values.timestamp import Timestamp

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The first commit that wrote what was read, and where, if that is known.

    `prefix` is the one under which it was read.
    """

    ts: Timestamp
    source: str
    index: IndexId | None = None
    prefix: bytes = b""
    key: bytes | None = None

    @property
    def place(self) -> str:
        """Return where, for people."""
        if self.key is None:
            return "anything" if self.index is None else f"what it looks for in index {self.index}"
        return f"key {self.key.hex()} of index {self.index}"


class WriteLog:
    """Commits after `floor`, oldest first. They are added in order; `trim` forgets the oldest."""

    def __init__(self, *, floor: Timestamp) -> None:
        self._floor = floor
        self._newest = floor
        self._generations: deque[_Generation] = deque()
        self._bytes = 0

    def append(self, ts: Timestamp, writes: IndexWrites, source: str) -> None:
        """Add a commit by the function `source`."""
        assert ts > self._newest, f"commit timestamps must grow: {ts} after {self._newest}"
        self._newest = ts
        if not self._generations or self._generations[-1].is_full(ts):
            self._generations.append(_Generation())
        self._bytes += self._generations[-1].add(ts, writes, source)

    def retract(self, *, after: Timestamp) -> None:
        """Take back the commits later than `after`: they have failed."""
        while self._generations and self._generations[-1].timestamps[0] > after:
            self._bytes -= self._generations.pop().bytes
        if self._generations:
            self._generations[-1].retract(after)

    def holds_since(self, ts: Timestamp) -> bool:
        """Return whether every commit after `ts` is still here."""
        return ts >= self._floor

    def conflict(
        self, reads: ReadSet, *, since: Timestamp, upto: Timestamp | None = None
    ) -> Conflict | None:
        """Return the first commit after `since`, up to `upto`, that wrote into `reads`, or None.

        Where the log no longer reaches back to `since`, the oldest commit that is gone counts as
        one: nobody can say that it did not.
        """
        if not self.holds_since(since):
            return Conflict(ts=since + 1, source="a commit too old to check")
        for generation in self._since(since):
            conflict = generation.conflict(reads, since)
            if conflict is not None:
                return conflict if upto is None or conflict.ts <= upto else None
        return None

    def wrote(self, index: IndexId, prefix: bytes, *, since: Timestamp) -> bool:
        """Return whether a commit after `since` wrote keys that start with `prefix`."""
        return any(g.wrote(index, prefix, since) for g in self._since(since))

    def _since(self, ts: Timestamp) -> list[_Generation]:
        """Return the generations that have commits after `ts`, oldest first."""
        found: list[_Generation] = []
        for generation in reversed(self._generations):
            if generation.timestamps[-1] <= ts:
                break
            found.append(generation)
        found.reverse()
        return found

    def trim(self, *, now: Timestamp) -> None:
        """Forget generations that are too old, or old enough while the log is too large."""
        while self._generations:
            age = now - self._generations[0].timestamps[-1]
            if age < limits.write_log_s_max * _NS and (
                self._bytes <= limits.write_log_bytes_max or age < limits.write_log_s_min * _NS
            ):
                return
            gone = self._generations.popleft()
            self._floor = gone.timestamps[-1]
            self._bytes -= gone.bytes


class _Generation:
    """Commits one after another, and by index and key when they wrote it."""

    __slots__ = ("_indexes", "_sources", "bytes", "timestamps")

    def __init__(self) -> None:
        self.timestamps: list[Timestamp] = []
        self._sources: list[str] = []
        self._indexes: dict[IndexId, _Written] = {}
        self.bytes = 0

    def is_full(self, ts: Timestamp) -> bool:
        """Return whether a commit at `ts` belongs to the next generation."""
        return (
            len(self.timestamps) >= limits.write_log_generation_commits
            or ts - self.timestamps[0] > limits.write_log_generation_s * _NS
        )

    def add(self, ts: Timestamp, writes: IndexWrites, source: str) -> int:
        """Add a commit; return how many bytes of keys it brought."""
        self.timestamps.append(ts)
        self._sources.append(source)
        size = 0
        indexes = self._indexes
        for index, keys in writes.items():
            written = indexes.get(index)
            if written is None:
                written = indexes[index] = _Written()
            written.newest = ts
            if isinstance(keys, EveryKey):
                written.every.append(ts)
                continue
            first, ordered = written.first, written.ordered
            for key in keys:
                size += len(key)
                if first.setdefault(key, ts) != ts:
                    written.again.setdefault(key, []).append(ts)
                elif ordered is not None:
                    insort(ordered, key)
        self.bytes += size
        return size

    def retract(self, after: Timestamp) -> None:
        """Take back the commits later than `after`."""
        kept = bisect_right(self.timestamps, after)
        if kept == len(self.timestamps):
            return
        del self.timestamps[kept:]
        del self._sources[kept:]
        for written in self._indexes.values():
            written.retract(after)

    def conflict(self, reads: ReadSet, since: Timestamp) -> Conflict | None:
        """Return the first commit after `since` that wrote into `reads`, or None."""
        first: Conflict | None = None
        for index, start, end, prefix in reads.rows():
            written = self._indexes.get(index)
            if written is None or written.newest <= since:
                continue
            found = written.first_after(since, start, end)
            if found is not None and (first is None or found[0] < first.ts):
                ts, key = found
                source = self._sources[bisect_left(self.timestamps, ts)]
                first = Conflict(ts=ts, source=source, index=index, prefix=prefix, key=key)
        for index, query in reads.searches:
            written = self._indexes.get(index)
            if written is None or written.newest <= since:
                continue
            at = written.first_match_after(since, query)
            if at is not None and (first is None or at < first.ts):
                source = self._sources[bisect_left(self.timestamps, at)]
                first = Conflict(ts=at, source=source, index=index)
        return first

    def wrote(self, index: IndexId, prefix: bytes, since: Timestamp) -> bool:
        """Return whether a commit after `since` wrote keys that start with `prefix`."""
        written = self._indexes.get(index)
        if written is None or written.newest <= since:
            return False
        return written.first_after(since, prefix, prefix_end(prefix)) is not None


class _Written:
    """When keys of one index were written, in one generation."""

    __slots__ = ("again", "every", "first", "newest", "ordered")

    def __init__(self) -> None:
        self.newest: Timestamp = 0
        #: When a key was written first, and when again.
        self.first: dict[bytes, Timestamp] = {}
        self.again: dict[bytes, list[Timestamp]] = {}
        #: When all of them were written at once.
        self.every: list[Timestamp] = []
        #: The keys in order, kept from the first question on that is about more than one.
        self.ordered: list[bytes] | None = None

    def retract(self, after: Timestamp) -> None:
        """Take back what was written later than `after`."""
        self.first = {key: ts for key, ts in self.first.items() if ts <= after}
        again = ((key, [ts for ts in all_ if ts <= after]) for key, all_ in self.again.items())
        self.again = {key: kept for key, kept in again if kept}
        self.every = [ts for ts in self.every if ts <= after]
        self.ordered = None
        self.newest = min(self.newest, after)

    def first_after(
        self, since: Timestamp, start: bytes, end: bytes | None
    ) -> tuple[Timestamp, bytes | None] | None:
        """Return when and where an interval was first written after `since`, or None."""
        first: tuple[Timestamp, bytes | None] | None = None
        if self.every and (at := bisect_right(self.every, since)) < len(self.every):
            first = (self.every[at], None)
        for key in self._within(start, end):
            ts = self._key_after(since, key)
            if ts is not None and (first is None or ts < first[0]):
                first = (ts, key)
        return first

    def first_match_after(self, since: Timestamp, query: TextQuery | Nearest) -> Timestamp | None:
        """Return when what a search matches was first written after `since`, or None."""
        found = [ts for ts in self.every if ts > since][:1]
        matches = query.matcher()
        # The newest first: what was written before `since` is not looked at.
        for key, ts in reversed(self.first.items()):
            if ts <= since:
                break
            if matches(key):
                found.append(ts)
        for key, again in self.again.items():
            if again[-1] > since >= self.first[key] and matches(key):
                found.append(again[bisect_right(again, since)])
        return min(found, default=None)

    def _within(self, start: bytes, end: bytes | None) -> Sequence[bytes]:
        """Return the written keys of an interval."""
        if end is not None and len(end) == len(start) + 1 and end == start + b"\0":
            return (start,) if start in self.first else ()
        if self.ordered is None:
            self.ordered = sorted(self.first)
        ordered = self.ordered
        low = bisect_left(ordered, start)
        high = len(ordered) if end is None else bisect_left(ordered, end, low)
        return ordered[low:high]

    def _key_after(self, since: Timestamp, key: bytes) -> Timestamp | None:
        ts = self.first[key]
        if ts > since:
            return ts
        again = self.again.get(key)
        if again is None or again[-1] <= since:
            return None
        return again[bisect_right(again, since)]
