"""Recent commits, kept in memory to answer whether what was read has been written since.

The same question has two uses: a transaction asks before it commits, and a query's result asks
before it is shared at a later timestamp than it was computed at.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from camber import limits
from camber.occ.interval import IndexId
from camber.occ.read_set import ReadSet
from camber.occ.write_set import EveryKey, IndexWrites
from camber.values.timestamp import Timestamp

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The first commit that wrote what was read; `index` is where, if that is known."""

    ts: Timestamp
    source: str
    place: str
    index: IndexId | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    writes: IndexWrites
    source: str
    bytes: int


class WriteLog:
    """Commits after `floor`, oldest first. Only `append` adds and only `trim` removes."""

    def __init__(self, *, floor: Timestamp) -> None:
        self._floor = floor
        self._timestamps: list[Timestamp] = []
        self._entries: list[_Entry] = []
        self._bytes = 0

    def append(self, ts: Timestamp, writes: IndexWrites, source: str) -> None:
        """Add a commit by the function `source`."""
        newest = self._timestamps[-1] if self._timestamps else self._floor
        assert ts > newest, f"commit timestamps must grow: {ts} after {newest}"
        size = sum(
            len(key) for keys in writes.values() if not isinstance(keys, EveryKey) for key in keys
        )
        self._timestamps.append(ts)
        self._entries.append(_Entry(writes, source, size))
        self._bytes += size

    def holds_since(self, ts: Timestamp) -> bool:
        """Return whether every commit after `ts` is still here."""
        return ts >= self._floor

    def conflict(self, reads: ReadSet, *, since: Timestamp) -> Conflict | None:
        """Return the first commit after `since` that wrote into `reads`, or None.

        Where the log no longer reaches back to `since`, the oldest commit that is gone counts as
        one: nobody can say that it did not.
        """
        if not self.holds_since(since):
            return Conflict(ts=since + 1, source="a commit too old to check", place="anything")
        for at in range(bisect_right(self._timestamps, since), len(self._timestamps)):
            place = reads.overlaps(self._entries[at].writes)
            if place is not None:
                entry = self._entries[at]
                shown = f"key {place[1].hex()} of index {place[0]}"
                return Conflict(
                    ts=self._timestamps[at], source=entry.source, place=shown, index=place[0]
                )
        return None

    def trim(self, *, now: Timestamp) -> None:
        """Forget commits that are too old, or old enough while the log is too large."""
        gone = bisect_right(self._timestamps, now - int(limits.write_log_s_max * _NS))
        young = bisect_right(self._timestamps, now - int(limits.write_log_s_min * _NS))
        size = self._bytes - sum(entry.bytes for entry in self._entries[:gone])
        while size > limits.write_log_bytes_max and gone < young:
            size -= self._entries[gone].bytes
            gone += 1
        if gone:
            self._floor = self._timestamps[gone - 1]
            del self._timestamps[:gone]
            del self._entries[:gone]
            self._bytes = size
