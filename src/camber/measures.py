"""Counters and histograms that cost an addition: what the running server keeps for its metrics.

Each is written on one thread. `camber.server.exposition` reads them when it is asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

#: Seconds, from what a cached result takes to the longest transaction.
SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60,
)  # fmt: skip
#: How many of something were done together.
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A number that is asked for when somebody looks. Those of one name have the same labels."""

    name: str
    description: str
    read: Callable[[], float]
    labels: Mapping[str, str] = field(default_factory=dict)


class Histogram:
    """How often a number fell into each of a few ranges, and their sum."""

    __slots__ = ("_range", "_seen", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        #: One more than there are bounds: the last is for what lies beyond them.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        #: The number that came last, which often comes again, and its range.
        self._seen: float | None = None
        self._range = 0

    def observe(self, number: float, times: int = 1) -> None:
        """Count a number: in the first range whose bound it does not exceed."""
        if number != self._seen:
            self._seen, self._range = number, bisect_left(self.bounds, number)
        self.counts[self._range] += times
        self.total += number * times

    @property
    def count(self) -> int:
        """Return how many numbers were counted."""
        return sum(self.counts)
