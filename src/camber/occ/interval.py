"""Intervals of index keys.

Keys are byte strings, of which each has a direct successor, so intervals that include their start
and exclude their end are all that is needed: a point is [key, key + 00).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

import msgspec

from camber.values.keys import prefix_end

#: Names an index across all tables.
IndexId: TypeAlias = int


class Order(Enum):
    """The direction of a scan."""

    ASC = "asc"
    DESC = "desc"


class Interval(msgspec.Struct, frozen=True, gc=False):
    """All keys from `start` up to but not including `end`; no end means all that follow."""

    start: bytes
    end: bytes | None

    @staticmethod
    def prefix(prefix: bytes) -> Interval:
        """Return the interval of all keys that begin with the values in `prefix`."""
        return Interval(prefix, prefix_end(prefix))

    @staticmethod
    def point(key: bytes) -> Interval:
        """Return the interval of one key."""
        return Interval(key, key + b"\0")

    @property
    def is_empty(self) -> bool:
        """Return whether no key lies in the interval."""
        return self.end is not None and self.end <= self.start

    def contains(self, key: bytes) -> bool:
        """Return whether `key` lies in the interval."""
        return self.start <= key and (self.end is None or key < self.end)

    def intersect(self, other: Interval) -> Interval:
        """Return what lies in both."""
        start = max(self.start, other.start)
        if self.end is None:
            return Interval(start, other.end)
        if other.end is None:
            return Interval(start, self.end)
        return Interval(start, min(self.end, other.end))


#: Every key.
ALL: Final = Interval(b"", None)
