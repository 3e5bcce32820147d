"""Conditions on an index, and the interval of keys that they select (semantics 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from camber.engine.catalog import IndexEntry
from camber.errors import DeveloperError
from camber.occ.interval import Interval
from camber.values.keys import encode_part, prefix_end
from camber.values.value import Value


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range; `inclusive` takes in what equals `value`."""

    value: Any
    inclusive: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A lower and an upper bound, of which either may be absent. `gte(1) & lt(9)` has both."""

    lower: Bound | None = None
    upper: Bound | None = None

    def __and__(self, other: Range) -> Range:
        """Return the range with the bounds of both.

        Raises:
            DeveloperError: both have a lower bound, or both an upper one.
        """
        if (self.lower and other.lower) or (self.upper and other.upper):
            side = "lower" if self.lower and other.lower else "upper"
            msg = f"a range has one {side} bound; {self} and {other} both have one"
            raise DeveloperError(msg, code="AlreadyDefinedBound")
        return Range(self.lower or other.lower, self.upper or other.upper)


def gt(value: Any) -> Any:
    """Return the condition that a field is greater than `value`, in the order of all values."""
    return Range(lower=Bound(value, inclusive=False))


def gte(value: Any) -> Any:
    """Return the condition that a field is greater than or equal to `value`."""
    return Range(lower=Bound(value, inclusive=True))


def lt(value: Any) -> Any:
    """Return the condition that a field is less than `value`; a missing field is."""
    return Range(upper=Bound(value, inclusive=False))


def lte(value: Any) -> Any:
    """Return the condition that a field is less than or equal to `value`."""
    return Range(upper=Bound(value, inclusive=True))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several values, in the filter of a vector search."""

    values: tuple[Any, ...]


def any_of(*values: Any) -> Any:
    """Return the condition that a field is one of `values` (vector search)."""
    return AnyOf(values)


class SelectedKeys(msgspec.Struct, frozen=True, gc=False):
    """The keys that conditions select, and the equality prefix that all of them share."""

    interval: Interval
    prefix: bytes


def select(
    index: IndexEntry,
    conditions: Mapping[str, Any],
    *,
    shown: str,
    encode: Callable[[str, Any], Value],
) -> SelectedKeys:
    """Return which keys of `index` satisfy `conditions`, given by wire path.

    `encode` makes the stored form of a condition's value. `shown` names the index in errors.

    Raises:
        DeveloperError: the conditions are not equalities on the first fields of the index, then
            at most one range on the next.
    """
    fields = index.all_fields
    unknown = [path for path in conditions if path not in fields]
    if unknown:
        msg = f"{shown} has no field {unknown[0]!r}; its fields are {', '.join(fields)}"
        raise DeveloperError(msg, code="FieldNotInIndex")
    ranges = [path for path, value in conditions.items() if isinstance(value, Range)]
    if len(ranges) > 1:
        msg = (
            f"{shown} ({', '.join(fields)}) takes one range, after equalities; there are ranges "
            f"on {' and '.join(ranges)}"
        )
        raise DeveloperError(msg, code="BoundsOnMultipleFields")
    used = [path for path in fields if path in conditions]
    first_wrong = next((at for at, path in enumerate(used) if path != fields[at]), None)
    if first_wrong is not None or (ranges and ranges[0] != used[-1]):
        wrong = fields[first_wrong or 0] if first_wrong is not None else used[-1]
        msg = (
            f"{shown} takes equalities on its first fields, then at most one range on the next. "
            f"Its fields are {', '.join(fields)}; the conditions are on {', '.join(used)}, "
            f"with a range on {ranges[0] if ranges else 'none'}: see {wrong!r}"
        )
        raise DeveloperError(msg, code="InvalidIndexRange")
    equal = [path for path in used if path not in ranges]
    prefix = b"".join([encode_part(encode(path, conditions[path])) for path in equal])
    if not ranges:
        return SelectedKeys(Interval(prefix, prefix_end(prefix)), prefix)
    wanted: Range = conditions[ranges[0]]
    start, end = prefix, prefix_end(prefix)
    if wanted.lower is not None:
        key = prefix + encode_part(encode(ranges[0], wanted.lower.value))
        start = key if wanted.lower.inclusive else prefix_end(key) or key
    if wanted.upper is not None:
        key = prefix + encode_part(encode(ranges[0], wanted.upper.value))
        end = prefix_end(key) if wanted.upper.inclusive else key
    return SelectedKeys(Interval(start, end), prefix)
