"""Index keys: bytes that sort as the values do (protocol 1.6).

missing < null < int64 < float64 < false < true < string < bytes < array < object. Each value's
bytes end by themselves, so a key is its values' bytes one after the other. Only those of a string,
or of bytes, may begin those of another, which has a zero there; what goes on is `GOES_ON` then,
which begins no value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, cast

from camber.values.value import COMMIT_TS, UNSET, Int64, Value

#: What escapes a zero byte within a string or bytes. No value begins with it.
GOES_ON: Final = b"\xff"

#: How long the part of a number is.
NUMBER_BYTES: Final = 9

#: What follows the values of a key in a bound.
_AFTER_VALUES: Final = frozenset((0x00, GOES_ON[0]))
_CONSTANTS: Final[Mapping[int, Value]] = {
    0x01: cast("Value", UNSET),
    0x03: None,
    0x08: Int64(0),
    0x0E: False,
    0x0F: True,
}
#: Beyond it a float64 may stand for several whole numbers.
_EXACT_MAX: Final = 2**53
#: By the tags of int64s that are not zero.
_INT64_BYTES: Final = {4: 8, 5: 4, 6: 2, 7: 1, 9: 1, 10: 2, 11: 4, 12: 8}
_FLOAT = struct.Struct(">d")
_U64 = struct.Struct(">Q")
_ALL = (1 << 64) - 1
_LATEST: Final = Int64(2**63 - 1)


def encode_key(values: Sequence[Value]) -> bytes:
    """Return the key of a sequence of values; `UNSET` stands for a missing one."""
    return b"".join([encode_part(value) for value in values])


def encode_part(value: Value) -> bytes:
    """Return the sortable bytes of one value, `UNSET` included."""
    kind = type(value)
    if kind is str:
        return b"\x10" + value.encode().replace(b"\0", b"\0\xff") + b"\0"  # type: ignore[union-attr]
    if kind is int or kind is float:
        packed = _FLOAT.pack(value)
        if packed[0] < 0x80:
            # A positive number's first bit is 0, and becomes 1.
            return b"\x0d" + bytes((packed[0] | 0x80,)) + packed[1:]
        return b"\x0d" + _U64.pack(_U64.unpack(packed)[0] ^ _ALL)
    if value is None:
        return b"\x03"
    if value is UNSET:
        return b"\x01"
    if kind is bool:
        return b"\x0f" if value else b"\x0e"
    if isinstance(value, Int64):
        return _int64(value)
    if isinstance(value, bytes):
        return b"\x11" + _escaped(value)
    if isinstance(value, list):
        return b"\x12" + b"".join([encode_part(item) for item in value]) + b"\0"
    if isinstance(value, dict):
        parts = [b"\x15"]
        for name in sorted(value):
            # An empty name must not look like the end of the object.
            parts.append(_escaped(name.encode()) if name else b"\1\0")
            parts.append(encode_part(value[name]))
        return b"".join(parts) + b"\0"
    if isinstance(value, str):
        return encode_part(str.__str__(value))
    if value is COMMIT_TS:
        # Behind all commits that there have been.
        return _int64(_LATEST)
    msg = f"{value!r} has no place in the order of values"
    raise TypeError(msg)


def decode_number(part: bytes) -> float:
    """Return the number of a part that `encode_part` made of one."""
    sortable = part[1:]
    if sortable[0] & 0x80:
        packed = bytes((sortable[0] & 0x7F,)) + sortable[1:]
    else:
        packed = _U64.pack(_U64.unpack(sortable)[0] ^ _ALL)
    number: float = _FLOAT.unpack(packed)[0]
    return number


def decode_key(key: bytes) -> tuple[list[Value], bytes]:
    """Return the values that a key is made of, and what bounds of intervals have after them.

    That is nothing, a zero (directly after the key) or `GOES_ON` (after all that begin with it).
    """
    values: list[Value] = []
    at = 0
    while at < len(key) and key[at] not in _AFTER_VALUES:
        value, at = _decoded(key, at)
        values.append(value)
    return values, key[at:]


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the end of all keys that begin with the values in `prefix`; None if it has none."""
    return prefix + GOES_ON if prefix else None


def _escaped(raw: bytes) -> bytes:
    return raw.replace(b"\0", b"\0\xff") + b"\0"


def _decoded(key: bytes, at: int) -> tuple[Value, int]:
    """Return the value whose part begins at `at`, and where that ends."""
    tag, at = key[at], at + 1
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag == 0x0D:
        at += NUMBER_BYTES - 1
        return _canonical(decode_number(key[at - NUMBER_BYTES : at])), at
    if tag in {0x10, 0x11}:
        raw, at = _unescaped(key, at)
        return raw.decode() if tag == 0x10 else raw, at
    if tag == 0x12:
        items: list[Value] = []
        while key[at]:
            item, at = _decoded(key, at)
            items.append(item)
        return items, at + 1
    if tag == 0x15:
        fields: dict[str, Value] = {}
        while key[at]:
            raw, at = _unescaped(key, at)
            name = "" if raw == b"\1" else raw.decode()
            fields[name], at = _decoded(key, at)
        return fields, at + 1
    size = _INT64_BYTES[tag]
    return Int64(int.from_bytes(key[at : at + size], "big", signed=True)), at + size


def _canonical(number: float) -> Value:
    """Return a number as values have it: an int where it is whole and exact, unless it is -0.0."""
    is_whole = abs(number) <= _EXACT_MAX and number.is_integer()
    return int(number) if is_whole and str(number) != "-0.0" else number


def _unescaped(key: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes that are escaped from `at` on, and where what follows them begins."""
    end = key.find(b"\0", at)
    while end >= 0 and key[end + 1 : end + 2] == GOES_ON:
        if end + 2 == len(key):
            # Not an escaped zero, for then something would follow: the last part of a bound.
            break
        end = key.find(b"\0", end + 2)
    assert end >= 0, f"a key ends within a value: {key.hex()}"
    return key[at:end].replace(b"\0\xff", b"\0"), end + 1


def _int64(value: Int64) -> bytes:
    number = int(value)
    if number == 0:
        return b"\x08"
    for tag, size in enumerate((1, 2, 4, 8), start=1):
        half = 1 << (8 * size - 1)
        if -half <= number < half:
            mark = 8 + tag if number > 0 else 8 - tag
            return bytes([mark]) + number.to_bytes(size, "big", signed=True)
    raise AssertionError(number)
