"""The one JSON codec: Convex's lossless encoding, and the forms that HTTP answers may take.

In the lossless encoding (protocol 1.2) int64, bytes and the floats that JSON lacks are objects of
one field, `$integer`, `$bytes` and `$float`. On the socket an integral float is a JSON integer;
on HTTP every float carries a decimal point or an exponent, since the PyPI client takes a JSON
integer for an error.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from camber import limits
from camber.errors import BadRequest
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.value import (
    COMMIT_TS,
    FLOAT64_INTEGER_MAX,
    Int64,
    InvalidValue,
    Phrase,
    Value,
    canonical_float,
    check_field_name,
)

_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")
_U64 = struct.Struct("<Q")
_F64_BIG = struct.Struct(">d")
_COMMIT_TS: Final = "$commitTs"
_json_encoder = msgspec.json.Encoder(order="sorted")
_json_decoder = msgspec.json.Decoder()


class BadJson(BadRequest):
    """Bytes that are not JSON."""

    code = "BadJsonBody"


class Format(Enum):
    """The forms of a value in an HTTP answer (protocol 1.3)."""

    ENCODED = "convex_encoded_json"
    CLEAN = "json"
    EXPORT = "export_json"

    @staticmethod
    def parse(name: str) -> Format:
        """Return the format called `name`.

        Raises:
            BadRequest: there is none (code BadFormat).
        """
        try:
            return _FORMATS[name]
        except KeyError:
            msg = f"{name!r} is no format; use one of {', '.join(sorted(_FORMATS))}"
            raise BadRequest(msg, code="BadFormat") from None


_FORMATS: Final = {
    "convex_encoded_json": Format.ENCODED,
    "convex_json": Format.ENCODED,
    "json": Format.CLEAN,
    "convex_clean_json": Format.CLEAN,
    "export_json": Format.EXPORT,
}


def decode_json(text: bytes | str) -> Any:
    """Return what a JSON text says, with integers as `int` and other numbers as `float`.

    Raises:
        BadJson: it is not JSON.
    """
    try:
        return _json_decoder.decode(text)
    except msgspec.DecodeError as error:
        raise BadJson(f"not valid JSON: {error}") from None
    except (UnicodeError, RecursionError) as error:
        raise BadJson(f"not valid JSON: {error}") from None


def from_wire(json: object) -> Value:
    """Return the value that decoded JSON encodes losslessly, in canonical form."""
    return _from_wire(json, (), limits.value_nesting_max, _number)


def from_export(json: object) -> Value:
    """Return the value of decoded JSON in the form of exports, where an integer is an int64."""
    return _from_wire(json, (), limits.value_nesting_max, _int64)


#: What an integer without a decimal point stands for.
_Integer: TypeAlias = Callable[[int, tuple[str | int, ...]], Value]


def _from_wire(json: object, path: tuple[str | int, ...], nesting: int, integer: _Integer) -> Value:
    kind = type(json)
    if kind is str:
        return _unicode(json, path)  # type: ignore[arg-type]
    if json is None or kind is bool:
        return json  # type: ignore[return-value]
    if kind is int:
        return integer(json, path)  # type: ignore[arg-type]
    if kind is float:
        return canonical_float(json)  # type: ignore[arg-type]
    if kind is list:
        items = cast("list[Any]", json)
        if nesting <= 0:
            raise InvalidValue(path, Phrase("a value"), _too_nested())
        if len(items) > limits.array_length_max:
            raise InvalidValue(
                path,
                Phrase(f"an array of {len(items)} elements"),
                f"is too long: an array may have {limits.array_length_max} (ArrayTooLong)",
            )
        return [
            _from_wire(item, (*path, at), nesting - 1, integer) for at, item in enumerate(items)
        ]
    assert kind is dict
    return _object(cast("dict[str, Any]", json), path, nesting, integer)


def _too_nested() -> str:
    return f"is nested more than {limits.value_nesting_max} deep (TooNestedError)"


def _unicode(text: str, path: tuple[str | int, ...]) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidValue(path, text, "holds a lone surrogate") from None
    return text


def _number(number: int, path: tuple[str | int, ...]) -> int | float:
    if -FLOAT64_INTEGER_MAX <= number <= FLOAT64_INTEGER_MAX:
        return number
    try:
        return canonical_float(float(number))
    except OverflowError:
        raise InvalidValue(path, number, "is outside the range of float64") from None


def _int64(number: int, path: tuple[str | int, ...]) -> Int64:
    if not -(2**63) <= number < 2**63:
        raise InvalidValue(path, number, "is outside the range of int64")
    return Int64(number)


def _object(
    json: dict[str, Any], path: tuple[str | int, ...], nesting: int, integer: _Integer
) -> Value:
    if len(json) == 1:
        ((name, item),) = json.items()
        if name == "$integer":
            return Int64(_I64.unpack(_eight_bytes(item, name, path))[0])
        if name == "$float":
            return _special_float(item, path)
        if name == "$bytes":
            return _base64(item, name, path)
        if name == _COMMIT_TS:
            raise InvalidValue(
                path,
                Phrase("a commit timestamp that is not known yet"),
                "exists only within the mutation that commits: send an int64",
            )
    if nesting <= 0:
        raise InvalidValue(path, Phrase("a value"), _too_nested())
    if len(json) > limits.object_fields_max:
        raise InvalidValue(
            path,
            Phrase(f"an object of {len(json)} fields"),
            f"is too large: an object may have {limits.object_fields_max} (TooManyFieldsError)",
        )
    result: dict[str, Value] = {}
    for name, item in json.items():
        check_field_name(name, path)
        result[name] = _from_wire(item, (*path, name), nesting - 1, integer)
    return result


def _special_float(item: object, path: tuple[str | int, ...]) -> float:
    number = cast("float", _F64.unpack(_eight_bytes(item, "$float", path))[0])
    if math.isfinite(number) and not (number == 0 and math.copysign(1.0, number) < 0):
        raise InvalidValue(path, item, f"encodes {number}, which is written as a JSON number")
    return number


def _eight_bytes(item: object, name: str, path: tuple[str | int, ...]) -> bytes:
    raw = _base64(item, name, path)
    if len(raw) != 8:
        raise InvalidValue(path, item, f"is no {name}: it has {len(raw)} bytes and needs 8")
    return raw


def _base64(item: object, name: str, path: tuple[str | int, ...]) -> bytes:
    if not isinstance(item, str):
        raise InvalidValue(path, item, f"is no {name}: it must be a base64 string")
    try:
        return base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(path, item, f"is no {name}: it is not base64") from None


def to_wire(value: Value) -> Any:
    """Return the lossless encoding of a value, ready for a JSON encoder."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int:
        return value
    if kind is float:
        return _wire_float(cast("float", value))
    if kind is list:
        return [to_wire(item) for item in cast("list[Value]", value)]
    if kind is dict:
        return {name: to_wire(item) for name, item in cast("dict[str, Value]", value).items()}
    if isinstance(value, Int64):
        return {"$integer": base64.b64encode(_I64.pack(value)).decode()}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if value is COMMIT_TS:
        # Only people see it, in what is said of a value within a mutation.
        return {_COMMIT_TS: None}
    raise _unchecked(value)


def _wire_float(value: float) -> Any:
    if math.isfinite(value) and not (value == 0 and math.copysign(1.0, value) < 0):
        return value
    return {"$float": base64.b64encode(_F64.pack(value)).decode()}


def encode_value(value: Value) -> bytes:
    """Return the lossless JSON of a value, for the socket. Object members are sorted."""
    return _json_encoder.encode(to_wire(value))


def encode_json(value: object) -> bytes:
    """Return the JSON of an envelope: plain JSON types and `msgspec.Raw` parts."""
    return _json_encoder.encode(value)


def encode_format(value: Value, form: Format) -> bytes:
    """Return the JSON of a value in an HTTP answer. Every float has a point or an exponent."""
    return _json_encoder.encode(_FORMATTERS[form](value))


def encode_packed(packed: bytes, form: Format) -> bytes:
    """Return the same JSON of a packed value, at the speed of msgspec where it can tell it.

    It can for what all JSON has, where all forms are alike. What it refuses is int64, bytes, the
    floats that JSON lacks, and what is nested deeper than its type; -0.0 it would let pass.
    """
    if form is not Format.ENCODED or _NEGATIVE_ZERO not in packed:
        try:
            return _packed_encoder.encode(_packed_decoder.decode(packed))
        except msgspec.ValidationError:
            pass
    return encode_format(unpack(packed), form)


def _plain_json(nesting: int) -> Any:
    """Return the type of values that JSON has, whose numbers are all finite floats."""
    finite = msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)
    scalar: Any = Annotated[float, finite] | str | bool | None
    nested: Any = scalar
    for _ in range(nesting):
        nested = scalar | list[nested] | dict[str, nested]
    return nested


_packed_decoder = msgspec.msgpack.Decoder(_plain_json(5))
#: Members of packed objects are sorted already.
_packed_encoder = msgspec.json.Encoder()
#: Of a float64 in msgpack, all that follows its tag.
_NEGATIVE_ZERO: Final = _F64_BIG.pack(-0.0)


def _dotted(value: Value) -> Any:
    kind = type(value)
    if kind is int:
        return float(cast("int", value))
    if kind is list:
        return [_dotted(item) for item in cast("list[Value]", value)]
    if kind is dict:
        return {name: _dotted(item) for name, item in cast("dict[str, Value]", value).items()}
    return to_wire(value)


def _clean(value: Value) -> Any:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        return float(cast("int", value))
    if kind is float:
        return _clean_float(cast("float", value))
    if kind is list:
        return [_clean(item) for item in cast("list[Value]", value)]
    if kind is dict:
        return {name: _clean(item) for name, item in cast("dict[str, Value]", value).items()}
    if isinstance(value, Int64):
        return str(int(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise _unchecked(value)


def _clean_float(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _export(value: Value) -> Any:
    kind = type(value)
    if kind is int:
        return float(cast("int", value))
    if kind is float:
        number = cast("float", value)
        return number if math.isfinite(number) else _wire_float(number)
    if kind is list:
        return [_export(item) for item in cast("list[Value]", value)]
    if kind is dict:
        return {name: _export(item) for name, item in cast("dict[str, Value]", value).items()}
    if isinstance(value, Int64):
        return int(value)
    return to_wire(value)


_FORMATTERS: Final = {Format.ENCODED: _dotted, Format.CLEAN: _clean, Format.EXPORT: _export}


def _unchecked(value: object) -> TypeError:
    return TypeError(f"{value!r} has not been checked")


def encode_timestamp(ts: Timestamp) -> str:
    """Return a timestamp as clients have it: 8 bytes, little-endian, base64."""
    return base64.b64encode(_U64.pack(ts)).decode()


def decode_timestamp(text: str) -> Timestamp:
    """Return the timestamp that a client sent.

    Raises:
        BadRequest: not 8 bytes of base64.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        return cast("int", _U64.unpack(raw)[0])
    except (binascii.Error, ValueError, struct.error):
        msg = f"{text!r} is no timestamp: 8 bytes, little-endian, base64"
        raise BadRequest(msg, code="BadTimestamp") from None
