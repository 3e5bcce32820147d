"""From the figures of runs to results: pure, and tested against definitions written out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.keys import Better, Key

#: A yardstick that moved by more than this factor says that the machine did not hold still.
YARDSTICK_FACTOR_MAX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the things that were compared: how it was run, and what each run gave."""

    durability: str
    command: str
    #: By the figure's name, such as `rate`: one number for each run.
    figures: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a series found out about one key."""

    #: One for each pair of runs; the key's value is their median.
    values: Sequence[float]
    #: Values of a second figure that must do as well; the worse median counts.
    also: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What was measured in turns, and what it says about its keys."""

    sides: Mapping[str, Side]
    keys: Mapping[str, Measured]
    #: What was checked beside the clock, in words.
    checks: Sequence[str]
    #: Echoes a second of a bare server, before and after.
    yardstick: tuple[float, float] = (0.0, 0.0)

    def between(self, before: float, after: float) -> Series:
        """Return the series with what the yardstick showed before and after it."""
        return replace(self, yardstick=(before, after))


def median(values: Sequence[float]) -> float:
    """Return the middle one, or the mean of the two in the middle."""
    if not values:
        raise ValueError("no run, so no median")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return the ratio of each pair of runs: what drifts between pairs cancels out."""
    if any(value <= 0 for value in under):
        raise ValueError(f"{min(under)} is no figure to divide by")
    return [a / b for a, b in zip(over, under, strict=True)]


def value_of(key: Key, measured: Measured) -> float:
    """Return the number that stands for a key: the worse of its medians."""
    return median(counted(key, measured))


def counted(key: Key, measured: Measured) -> Sequence[float]:
    """Return the values whose median is the worse one."""
    both = [values for values in (measured.values, measured.also) if values]
    return min(both, key=lambda values: _goodness(key, median(values)))


def _goodness(key: Key, value: float) -> float:
    return value if key.better is Better.HIGHER else -value


def has_moved(yardstick: tuple[float, float]) -> bool:
    """Return whether the machine's speed changed so much that a series says little."""
    before, after = yardstick
    if before <= 0 or after <= 0:
        return before != after
    return max(before, after) / min(before, after) > YARDSTICK_FACTOR_MAX


def details_of(key: Key, series: Series) -> dict[str, Any]:
    """Return what results.json says of a key beside its number."""
    measured = series.keys[key.name]
    details: dict[str, Any] = {
        "what": key.what,
        "target": f"{key.better.value} {key.target:g}",
        "met": key.is_met_by(value_of(key, measured)),
        "values": [_rounded(value) for value in measured.values],
        "min": _rounded(min(counted(key, measured))),
        "max": _rounded(max(counted(key, measured))),
    }
    if measured.also:
        details["also"] = [_rounded(value) for value in measured.also]
    details["yardstick"] = {
        "echoes_per_s": [_rounded(rate) for rate in series.yardstick],
        "moved": has_moved(series.yardstick),
    }
    details["checks"] = list(series.checks)
    details["sides"] = {name: _side(side) for name, side in series.sides.items()}
    return details


def _side(side: Side) -> dict[str, Any]:
    return {
        "durability": side.durability,
        "command": side.command,
        "runs": {name: [_rounded(v) for v in values] for name, values in side.figures.items()},
        "median": {name: _rounded(median(values)) for name, values in side.figures.items()},
    }


def rounded_value(key: Key, series: Series) -> float:
    """Return a key's number as results.json has it."""
    return _rounded(value_of(key, series.keys[key.name]))


def _rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
