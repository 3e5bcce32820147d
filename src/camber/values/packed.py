"""The one internal form of values: msgpack in which equal values have equal bytes.

An integral float64 within 2**53 (not -0.0) is a msgpack int, any other a float64, an int64 the
extension `INT64_EXT`. Object keys are sorted. Within a mutation, what it packs may hold its commit
timestamp, which is not known yet (`pending`): the extension `COMMIT_TS_EXT`, as long as the int64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from camber.values.value import COMMIT_TS, Int64, InvalidValue, Value, canonical_float

INT64_EXT: Final = 1
COMMIT_TS_EXT: Final = 2
#: Shorter arrays have their length in their first byte.
_FIXED_ARRAY: Final = 16
_INT64 = struct.Struct(">q")


class CommitTsUnknown(InvalidValue):
    """The timestamp of a commit to come, where only what is known may be."""

    code = "CommitTsUnknown"


def ext_hook(code: int, data: memoryview) -> Any:
    """Turn an extension back into what it stands for, for msgspec's decoders."""
    if code == INT64_EXT:
        return Int64(_INT64.unpack(data)[0])
    assert code == COMMIT_TS_EXT, f"unknown extension {code} in a stored value"
    return COMMIT_TS


#: Types whose values msgpack has as they are; `Raw` is what is packed already.
_AS_IT_IS: Final = frozenset({str, int, bool, bytes, type(None), msgspec.Raw})

_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(ext_hook=ext_hook)


def pack(value: Value) -> bytes:
    """Return the canonical bytes of a value that has been checked.

    Raises:
        CommitTsUnknown: there is the timestamp of a commit to come in it.
    """
    return _encoder.encode(_packable(value))


def as_value(packed: bytes) -> Value:
    """Return what stands for a packed value within one that is to be packed."""
    return cast("Value", msgspec.Raw(packed))


def array_of_packed(items: Sequence[bytes]) -> bytes:
    """Return the packed array of packed values."""
    count = len(items)
    if count < _FIXED_ARRAY:
        head = bytes((0x90 | count,))
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(items)


def unpack(packed: bytes) -> Value:
    """Return the value of `packed`."""
    return cast("Value", _decoder.decode(packed))


def _packable(value: Value) -> Any:
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is float:
        return canonical_float(value)  # type: ignore[arg-type]
    if kind is dict:
        return {
            name: item if type(item) in _AS_IT_IS else _packable(item)
            for name, item in value.items()  # type: ignore[union-attr]
        }
    if kind is list:
        return [
            item if type(item) in _AS_IT_IS else _packable(item)
            for item in value  # type: ignore[union-attr]
        ]
    if isinstance(value, Int64):
        return msgspec.msgpack.Ext(INT64_EXT, _INT64.pack(value))
    if value is COMMIT_TS:
        raise CommitTsUnknown(
            (),
            value,
            "is not known before the mutation has committed. Until then it can be stored in "
            "documents, passed to queries and mutations that the mutation runs, and returned",
        )
    msg = f"{value!r} has not been checked"
    raise TypeError(msg)
