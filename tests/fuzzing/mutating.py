"""Changing bytes as fuzzers do, from a seed: the same seed gives the same inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

#: What breaks decoders: ends of ranges, depth, lone surrogates, text that is no UTF-8.
_NASTY = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud800",
    b'"\\ud800"',
    b"1e400",
    b"-0.0",
    b"9007199254740993",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"1" * 400,
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'{"$integer":"AAAA"}',
    b'{"$float":"AAAAAAAA+H8="}',
    b'{"$bytes":"=="}',
    b'{"$other":1}',
    b"[" * 70,
    b'{"a":' * 70,
    b"[" * 5000,
    b"x" * 3000,
    b"__proto__",
    b"../",
    "\u2028\U0001f600".encode(),
)
_CHANGES_MAX = 4

Change = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def _flip(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _overwrite(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.randrange(256)


def _insert(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    at = dice.randint(0, len(data))
    data[at:at] = dice.choice(_NASTY)


def _replace(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    start, end = sorted(dice.randint(0, len(data)) for _ in range(2))
    data[start : min(end, start + 12)] = dice.choice(_NASTY)


def _truncate(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    del data[dice.randint(0, len(data)) :]


def _cut(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    start, end = sorted(dice.randint(0, len(data)) for _ in range(2))
    del data[start:end]


def _repeat(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    start, end = sorted(dice.randint(0, len(data)) for _ in range(2))
    data[end:end] = data[start:end] * dice.randint(1, 4)


def _splice(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    other = dice.choice(seeds)
    data[dice.randint(0, len(data)) :] = other[dice.randint(0, len(other)) :]


_CHANGES: tuple[Change, ...] = (
    _flip, _overwrite, _insert, _replace, _truncate, _cut, _repeat, _splice,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """Return one of the seeds with a few changes."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, _CHANGES_MAX)):
        dice.choice(_CHANGES)(data, dice, seeds)
    return bytes(data)
