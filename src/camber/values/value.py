"""What can be stored and sent: null, numbers, booleans, strings, bytes, arrays and objects.

In Python a Convex number (float64) is an `int` where it is integral and within 2**53, and a
`float` otherwise; `3` and `3.0` are the same value and `canonical` gives both the form `3`.
Convex's int64 is `Int64`, a value of another type: `Int64(3)` equals neither. What is missing is
`UNSET`, never `None`, which is Convex's null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast, final

import msgspec

from camber import limits
from camber.errors import DeveloperError

Value: TypeAlias = bool | int | float | str | bytes | list["Value"] | dict[str, "Value"] | None

#: The missing value. Typed `Any`, so that it may stand as the default of any field.
UNSET: Final[Any] = msgspec.UNSET

#: Integers up to here are float64 values exactly.
FLOAT64_INTEGER_MAX: Final = 2**53


class Int64(int):
    """Convex's int64 (BigInt in JavaScript): from -2**63 to 2**63 - 1."""

    __slots__ = ()

    def __new__(cls, value: Any = 0) -> Int64:
        """Return the int64, or raise if it is out of range."""
        number = super().__new__(cls, value)
        if not -(2**63) <= number < 2**63:
            raise InvalidValue((), int(number), "is outside the range of int64")
        return number

    def __repr__(self) -> str:
        return f"Int64({int(self)})"

    def __str__(self) -> str:
        return int.__repr__(self)


class CommitTs(Int64):
    """When a mutation has committed: nanoseconds, in the order of commits.

    A field of this type takes `ctx.db.vars.commit_ts`, and an int64 that is known already.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"CommitTs({int(self)})"


def _is_no_number(*_: object) -> Any:
    msg = (
        "ctx.db.vars.commit_ts is no number before the mutation has committed: it can be stored, "
        "passed to queries and mutations, returned, and told from other values by == and `is`"
    )
    raise DeveloperError(msg, code="CommitTsUnknown")


@final
class UnknownCommitTs:
    """What stands for the timestamp of a commit that has not happened yet. There is one: `COMMIT_TS`.

    It is no number: it can be stored, passed on, returned and compared with itself.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "commit_ts"

    def __reduce__(self) -> str:
        return "COMMIT_TS"

    __lt__ = __le__ = __gt__ = __ge__ = _is_no_number
    __int__ = __index__ = __float__ = __round__ = __neg__ = __abs__ = _is_no_number
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _is_no_number
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _is_no_number
    __mod__ = __rmod__ = __divmod__ = __rdivmod__ = _is_no_number


#: Typed `Any`: within a mutation it stands where values do.
COMMIT_TS: Final[Any] = UnknownCommitTs()


class Phrase(str):
    """Words in the place of a value that is too large to be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class InvalidValue(DeveloperError):
    """Something that cannot be stored or sent: says where in the value, what, and why."""

    code = "InvalidValue"

    def __init__(self, path: Iterable[str | int], value: object, reason: str) -> None:
        self.path = tuple(path)
        self.value = value
        self.reason = reason
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        super().__init__(f"{shown(value)}{f' at {where}' if where else ''} {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (InvalidValue, (self.path, self.value, self.reason))


def shown(value: object) -> str:
    """Return `repr(value)`, cut where it gets long."""
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"


def canonical(value: object, *, nesting_max: int = limits.value_nesting_max) -> Value:
    """Return a storable copy of `value` in canonical form.

    Fields that are `UNSET` are left out; floats that are integers become `int`.

    Raises:
        InvalidValue: a type, name, length, range or nesting that cannot be stored.
    """
    return _canonical(value, (), nesting_max)


def check(value: object, *, nesting_max: int = limits.value_nesting_max) -> None:
    """Raise `InvalidValue` unless `value` can be stored."""
    _canonical(value, (), nesting_max)


def _canonical(value: object, path: tuple[str | int, ...], nesting: int) -> Value:
    kind = type(value)
    if value is None or kind is bool or kind is Int64 or kind is bytes:
        return value  # type: ignore[return-value]  # narrowed by its exact type
    if kind is str:
        return _text(value, path)  # type: ignore[arg-type]
    if kind is int:
        return _integer(value, path)  # type: ignore[arg-type]
    if kind is float:
        return canonical_float(value)  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return _array(value, path, nesting)
    if isinstance(value, dict):
        return _object(value, path, nesting)
    # Subclasses of the plain types, such as enums of strings.
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, Int64):
        return Int64(value)
    if isinstance(value, int):
        return _integer(int(value), path)
    if isinstance(value, float):
        return canonical_float(float(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if value is COMMIT_TS:
        return cast("Value", value)
    raise InvalidValue(path, value, "is not a supported Convex type")


def _text(value: str, path: tuple[str | int, ...]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(path, value, "holds a lone surrogate; strings are Unicode") from None
    return value


def _integer(value: int, path: tuple[str | int, ...]) -> int:
    if not -FLOAT64_INTEGER_MAX <= value <= FLOAT64_INTEGER_MAX:
        raise InvalidValue(
            path,
            value,
            "is beyond 2**53, where float64 has no exact integers; declare it as Int64 and pass "
            "Int64(...)",
        )
    return value


def canonical_float(value: float) -> int | float:
    """Return an integral float within 2**53, but not -0.0, as `int`; others as they are."""
    if value.is_integer() and -FLOAT64_INTEGER_MAX <= value <= FLOAT64_INTEGER_MAX:
        if value == 0 and math.copysign(1.0, value) < 0:
            return value
        return int(value)
    return value


def _array(
    value: list[Any] | tuple[Any, ...], path: tuple[str | int, ...], nesting: int
) -> list[Value]:
    if nesting <= 0:
        raise InvalidValue(path, value, "is nested too deeply (TooNestedError)")
    if len(value) > limits.array_length_max:
        raise InvalidValue(
            path,
            Phrase(f"an array of {len(value)} elements"),
            f"is too long: an array may have {limits.array_length_max} (ArrayTooLong)",
        )
    return [_canonical(item, (*path, at), nesting - 1) for at, item in enumerate(value)]


def _object(value: dict[Any, Any], path: tuple[str | int, ...], nesting: int) -> dict[str, Value]:
    if nesting <= 0:
        raise InvalidValue(path, value, "is nested too deeply (TooNestedError)")
    if len(value) > limits.object_fields_max:
        raise InvalidValue(
            path,
            Phrase(f"an object of {len(value)} fields"),
            f"is too large: an object may have {limits.object_fields_max} (TooManyFieldsError)",
        )
    result: dict[str, Value] = {}
    for name, item in value.items():
        check_field_name(name, path)
        if item is not UNSET:
            result[str(name)] = _canonical(item, (*path, name), nesting - 1)
    return result


def check_field_name(name: object, path: Iterable[str | int] = ()) -> None:
    """Raise `InvalidValue` unless `name` can name a field (protocol 1.2)."""
    if not isinstance(name, str):
        raise InvalidValue(path, name, "is not a supported Convex type: field names are strings")
    if name.startswith("$"):
        raise InvalidValue(path, name, "starts with '$', which is reserved")
    if len(name) > limits.field_name_length_max:
        raise InvalidValue(
            path, name, f"is longer than {limits.field_name_length_max}, the most for a field name"
        )
    if not (name.isascii() and name.isprintable()):
        raise InvalidValue(path, name, "is no field name: use printable ASCII characters")
