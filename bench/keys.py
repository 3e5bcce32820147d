"""What is measured, and what it must reach."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Better(Enum):
    """Which way a figure should go."""

    HIGHER = ">="
    LOWER = "<="


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One figure of results.json."""

    name: str
    #: The function of `bench.series` that measures it.
    series: str
    better: Better
    target: float
    #: Of what it is the ratio, or its unit.
    what: str

    def is_met_by(self, value: float) -> bool:
        """Return whether a figure is as good as it must be."""
        return value >= self.target if self.better is Better.HIGHER else value <= self.target


def _at_least(name: str, series: str, target: float, what: str) -> Key:
    return Key(name=name, series=series, better=Better.HIGHER, target=target, what=what)


def _at_most(name: str, series: str, target: float, what: str) -> Key:
    return Key(name=name, series=series, better=Better.LOWER, target=target, what=what)


KEYS: tuple[Key, ...] = (
    _at_least("mutations_vs_pocketbase", "mutations", 2.0, "inserts a second, 64 clients"),
    _at_most("mutations_p99_vs_pocketbase", "mutations", 0.5, "their p99 latency"),
    _at_least("mutations_vs_limit", "mutations", 0.30, "against bare commits of the same rows"),
    _at_least("transfer_contended", "transfers", 0.5, "transfers a second, Zipf 1.5 over uniform"),
    _at_least("queries_vs_pocketbase", "queries", 2.0, "lists of 50 a second over HTTP"),
    _at_least("cached_queries_vs_limit", "cached_queries", 0.25, "against a bare echo"),
    _at_least(
        "fanout_1000_vs_pocketbase", "fanout_1000", 3.0, "deliveries a second, 1,000 clients"
    ),
    _at_least(
        "fanout_5000_vs_pocketbase", "fanout_5000", 2.5, "deliveries a second, 5,000 clients"
    ),
    _at_least("fanout_vs_limit", "fanout_1000", 0.6, "against a bare broadcast"),
    _at_most(
        "last_client_vs_pocketbase", "last_client", 0.5, "write to last of 1,000, p50 and p99"
    ),
    _at_least(
        "unrelated_vs_pocketbase", "unrelated", 10.0, "writes a second, 10,000 on other keys"
    ),
    _at_least("unrelated", "unrelated", 0.8, "the same over Camber's own with 1 client"),
    _at_most("distinct", "distinct", 2.0, "p50 with 1,000 queries over that with one"),
    _at_most("idle_kb", "idle", 30.0, "KB for an idle session with 3 queries"),
    _at_most("idle_10000_kb", "idle_10000", 30.0, "KB for one of 10,000 of these"),
    _at_most("start_ms", "start", 700.0, "ms from `camber start` to its first answer"),
    _at_most("vectors_vs_numpy", "vectors", 3.0, "nearest 10 of 100,000, over a matrix in numpy"),
    _at_most("growth", "growth", 2.0, "p50 with 10 million documents over 10 thousand"),
)
