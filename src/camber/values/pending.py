"""Packed values and keys in which a commit timestamp is not known yet.

A mutation packs its documents and its result before anybody knows when it commits. Where the
timestamp goes they have `PLACEHOLDER`, as long as the int64 that it becomes, and with them travels
at which offsets. The committer then puts in 8 bytes and looks at nothing.

The offsets are where the same value packs to other bytes once the placeholders in it are an int64:
strings and bytes that look like a placeholder are the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from camber.values.keys import encode_part
from camber.values.packed import COMMIT_TS_EXT, as_value, pack, unpack
from camber.values.timestamp import Timestamp
from camber.values.value import COMMIT_TS, Int64, Value

#: Where something begins that becomes the timestamp.
Places = tuple[int, ...]

PLACEHOLDER: Final = msgspec.msgpack.encode(msgspec.msgpack.Ext(COMMIT_TS_EXT, bytes(8)))
#: What stands for it within a value that is to be packed.
PACKED_COMMIT_TS: Final = as_value(PLACEHOLDER)

_IN_KEYS: Final = encode_part(COMMIT_TS)
#: Packs as long as the timestamp does, and as keys differs from `_IN_KEYS` in its last byte alone.
_KNOWN: Final = Int64(2**63 - 2)


def pack_pending(value: Value) -> bytes:
    """Return the bytes of a value that may hold the commit timestamp."""
    return pack(with_commit_ts(value, PACKED_COMMIT_TS))


def with_commit_ts(value: Value, ts: Value) -> Value:
    """Return a value with `ts` in the place of the commit timestamp, wherever that stands."""
    if value is COMMIT_TS:
        return ts
    if isinstance(value, list):
        return [with_commit_ts(item, ts) for item in value]
    if isinstance(value, dict):
        return {name: with_commit_ts(item, ts) for name, item in value.items()}
    return value


def known(packed: bytes) -> Value:
    """Return a packed value with some int64 for the commit timestamp."""
    return with_commit_ts(unpack(packed), _KNOWN)


def places_in(packed: bytes) -> Places:
    """Return where a packed value has the commit timestamp."""
    if PLACEHOLDER not in packed:
        return ()
    other = pack(known(packed))
    assert len(other) == len(packed)
    return tuple(at for at in _occurrences(packed, PLACEHOLDER) if other[at + 1] != packed[at + 1])


def places_in_key(key: bytes, other: bytes) -> Places:
    """Return where a key has the commit timestamp; `other` is that of the `known` document."""
    last = len(_IN_KEYS) - 1
    return tuple(at for at in _occurrences(key, _IN_KEYS) if other[at + last] != key[at + last])


def stamped(packed: bytes, places: Places, ts: Timestamp) -> bytes:
    """Return a packed value with the timestamp at its places."""
    return _replaced(packed, places, len(PLACEHOLDER), pack(Int64(ts)))


def stamped_key(key: bytes, places: Places, ts: Timestamp) -> bytes:
    """Return a key with the timestamp at its places."""
    return _replaced(key, places, len(_IN_KEYS), encode_part(Int64(ts)))


def _occurrences(packed: bytes, part: bytes) -> Iterator[int]:
    # They cannot overlap: the first byte of either is nowhere else in it.
    at = packed.find(part)
    while at >= 0:
        yield at
        at = packed.find(part, at + len(part))


def _replaced(packed: bytes, places: Places, length: int, by: bytes) -> bytes:
    pieces: list[Any] = []
    begin = 0
    for at in places:
        pieces += (packed[begin:at], by)
        begin = at + length
    pieces.append(packed[begin:])
    return b"".join(pieces)
