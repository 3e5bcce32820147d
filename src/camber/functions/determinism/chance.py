"""Chance: `random`, `secrets`, `uuid` and `os.urandom`.

Nothing is seeded in place: the generators that the process shares stay as random as they were,
and each run has one of its own.
"""

from __future__ import annotations

import functools
import os
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from camber.functions.determinism.conditions import Conditions, current

#: 100 ns intervals between the epoch of UUIDs, in 1582, and Unix's.
_UUID_EPOCH = 0x01B21DD213814000

_urandom = os.urandom
_seed = random.Random.seed
_uuid1 = uuid.uuid1


class _Drawn:
    """The door to a function of the module `random`, all of which share one generator."""

    def __init__(self, real: Callable[..., Any]) -> None:
        functools.update_wrapper(self, real)
        self._name = real.__name__
        self._real = real

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        conditions = current.conditions
        if conditions is None:
            return self._real(*args, **kwargs)
        return getattr(conditions.random, self._name)(*args, **kwargs)


class _SystemChance:
    """What the operating system gives; bound methods, as the functions in C are."""

    def urandom(self, size: int, /) -> bytes:
        conditions = current.conditions
        if conditions is None or size < 0:
            return _urandom(size)
        return conditions.random_bytes(size)

    def uuid1(self, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        conditions = current.conditions
        if conditions is None:
            return _uuid1(node, clock_seq)
        return _uuid_of(conditions, node, clock_seq)


def _uuid_of(conditions: Conditions, node: int | None, clock_seq: int | None) -> uuid.UUID:
    """Return a time-based UUID. It names no machine: a drawn node stands in for its address."""
    ticks = conditions.now_ns() // 100 + _UUID_EPOCH
    drawn = int.from_bytes(conditions.random_bytes(8), "big")
    if node is None:
        node = drawn & 0xFFFF_FFFF_FFFF | 1 << 40  # a multicast address is no machine's
    if clock_seq is None:
        clock_seq = drawn >> 48
    fields = (
        ticks & 0xFFFF_FFFF,
        ticks >> 32 & 0xFFFF,
        ticks >> 48 & 0x0FFF,
        clock_seq >> 8 & 0x3F,
        clock_seq & 0xFF,
        node,
    )
    return uuid.UUID(fields=fields, version=1)


def _seed_generator(self: random.Random, a: Any = None, version: int = 2) -> None:
    """Seed a generator: `random.Random()` in a run draws its seed from the run's."""
    conditions = current.conditions
    if a is None and conditions is not None:
        a = conditions.random_bytes(32)
    _seed(self, a, version)


def chance_doors() -> Iterator[tuple[Any, str, Any]]:
    """Yield (module or class, name, door) for each source of chance."""
    shared = random._inst  # noqa: SLF001
    for name, value in list(vars(random).items()):
        if getattr(value, "__self__", None) is shared:
            yield random, name, _Drawn(value)
    chance = _SystemChance()
    yield random.Random, "seed", _seed_generator
    # What `random.SystemRandom` draws from, and so all of `secrets`.
    yield random, "_urandom", chance.urandom
    yield os, "urandom", chance.urandom
    yield uuid, "uuid1", chance.uuid1
