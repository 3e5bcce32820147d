"""Values as the model has them, and their order (semantics 3.3), written out once more.

An int64 is a `Big`, any other number a float; what is missing is `MISSING`. Two values are equal
if neither comes before the other.
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from camber import Int64


@dataclass(frozen=True)
class Big:
    """An int64."""

    number: int


def from_json(value: Any) -> Any:
    """Return a value that clients were sent, as the model has it (protocol 1.3)."""
    match value:
        case list():
            return [from_json(item) for item in value]
        case {"$integer": text}:
            return Big(int.from_bytes(b64decode(text), "little", signed=True))
        case {"$float": text}:
            return struct.unpack("<d", b64decode(text))[0]
        case {"$bytes": text}:
            return b64decode(text)
        case dict():
            return {name: from_json(item) for name, item in value.items()}
        case _:
            return plain(value)


class Now:
    """The type of `NOW`."""

    def __repr__(self) -> str:
        return "NOW"


#: When the mutation that is running commits, as long as nobody knows that.
NOW = Now()


def at(value: Any, when: Any) -> Any:
    """Return a value with `when` in the place of `NOW`."""
    match value:
        case Now():
            return when
        case list():
            return [at(item, when) for item in value]
        case dict():
            return {name: at(item, when) for name, item in value.items()}
        case _:
            return value


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def plain(value: Any) -> Any:
    """Return a value of the real database as the model has it."""
    if isinstance(value, Int64):
        return Big(int(value))
    if repr(value) == "commit_ts":
        return NOW
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    assert isinstance(value, str | bytes), value
    return value


def place(value: Any) -> Any:
    """Return what stands where the value stands in the order of all values."""
    match value:
        case Missing():
            return (0,)
        case None:
            return (1,)
        case Big(number):
            return (2, number)
        case Now():
            # Behind every timestamp. The largest int64 is none of `VALUES`, so this is not equal to one.
            return (2, 2**63 - 1)
        case bool():
            return (5 if value else 4,)
        case float():
            if math.isnan(value):
                return (3, 1)
            return (3, 0, value, math.copysign(1.0, value))
        case str():
            return (6, value)
        case bytes():
            return (7, value)
        case list():
            return (8, [place(item) for item in value])
        case dict():
            return (9, [(name, place(value[name])) for name in sorted(value)])
        case _:
            raise TypeError(value)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal."""
    return bool(place(one) == place(other))
