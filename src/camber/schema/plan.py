"""Plans: what an annotation accepts, how it crosses the wire, and how it is told.

The kinds of plan are closed, so that the code generator can match on them:

    AnyPlan NullPlan BooleanPlan StringPlan IntegerPlan FloatPlan Int64Plan CommitTsPlan BytesPlan
    IdPlan LiteralPlan ArrayPlan RecordPlan ObjectPlan UnionPlan ConvertedPlan ConstrainedPlan

`decode` takes a wire value to what user code sees, `encode` takes that back; both check. Paths in
errors are put together on the way out, so that success pays nothing for them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from camber.errors import DeveloperError
from camber.values.ids import InvalidId, decode_id
from camber.values.value import (
    COMMIT_TS,
    FLOAT64_INTEGER_MAX,
    UNSET,
    CommitTs,
    Int64,
    InvalidValue,
    Phrase,
    Value,
    canonical,
    canonical_float,
    shown,
)
from camber.values.wire import encode_value


class TableNames(Protocol):
    """The numbers of tables, which ids carry."""

    def number(self, name: str) -> int | None:
        """Return the number of a table."""

    def name(self, number: int) -> str | None:
        """Return the name of a table."""


class ValidationError(DeveloperError):
    """A value that a plan does not accept: what is wrong, where, and what was expected."""

    code = "ValidationError"

    def __init__(self, reason: str, value: object, plan: Plan) -> None:
        self.reason = reason
        self.value = value
        self.plan = plan
        self._path: list[str] = []
        super().__init__(reason)

    def under(self, part: str) -> ValidationError:
        """Return the error itself, as seen from one level up."""
        self._path.insert(0, part)
        return self

    @property
    def path(self) -> str:
        """Return where in the value it went wrong: `.a.b[0]`."""
        return "".join(self._path)

    def __str__(self) -> str:
        kind = "Object" if isinstance(self.value, dict) else "Value"
        lines = [self.reason]
        if self._path:
            lines.append(f"Path: {self.path}")
        lines.append(f"{kind}: {_shown(self.value)}")
        lines.append(f"Validator: {self.plan.builder}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return (DeveloperError, (str(self),))


def _shown(value: object) -> str:
    if value is UNSET:
        return "undefined"
    if isinstance(value, Phrase):
        return value
    try:
        text = encode_value(canonical(value)).decode()
    except (InvalidValue, TypeError):
        return shown(value)
    return text if len(text) <= 1000 else text[:1000] + "…"


class Plan(ABC):
    """What one annotation accepts."""

    @property
    @abstractmethod
    def json(self) -> dict[str, Any]:
        """Return the validator's JSON (semantics 2.1)."""

    @property
    @abstractmethod
    def builder(self) -> str:
        """Return the validator as Convex's builder writes it, for people."""

    @abstractmethod
    def decode(self, value: Value, names: TableNames) -> Any:
        """Return what user code sees of a wire value, or raise `ValidationError`."""

    @abstractmethod
    def encode(self, value: Any, names: TableNames) -> Value:
        """Return the wire value of what user code gave, or raise `ValidationError`."""

    def encode_all(self, values: list[Any] | tuple[Any, ...], names: TableNames) -> Value:
        """Return the wire value of an array of such values, or raise `ValidationError`."""
        encode = self.encode
        items: list[Value] = []
        try:
            for item in values:
                items.append(encode(item, names))  # the error needs the place
        except ValidationError as error:
            raise error.under(f"[{len(items)}]") from None
        return items

    def refuse(self, value: object, reason: str = "") -> ValidationError:
        """Return the error for a value that does not match."""
        if value is COMMIT_TS:
            reason = "The commit timestamp is no number yet: declare what may hold it as CommitTs."
        return ValidationError(reason or "Value does not match validator.", value, self)


@dataclass(frozen=True, slots=True)
class AnyPlan(Plan):
    """Any value."""

    json = {"type": "any"}  # noqa: RUF012  # read only
    builder = "v.any()"

    def decode(self, value: Value, names: TableNames) -> Any:
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        to_dict = getattr(value, "to_dict", None)
        try:
            return canonical(_untyped(value) if to_dict is None else to_dict())
        except InvalidValue as error:
            raise _as_validation(error, self) from None


def _untyped(value: Any) -> Any:
    """Return documents inside plain lists and dicts as their fields."""
    if isinstance(value, list | tuple):
        return [_untyped(item) for item in value]
    if isinstance(value, dict):
        return {name: _untyped(item) for name, item in value.items()}
    to_dict = getattr(value, "to_dict", None)
    return value if to_dict is None else to_dict()


def _as_validation(error: InvalidValue, plan: Plan) -> ValidationError:
    found = ValidationError(f"{shown(error.value)} {error.reason}", error.value, plan)
    for part in reversed(error.path):
        found.under(f"[{part}]" if isinstance(part, int) else f".{part}")
    return found


@dataclass(frozen=True, slots=True)
class NullPlan(Plan):
    """None."""

    json = {"type": "null"}  # noqa: RUF012
    builder = "v.null()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if value is not None:
            raise self.refuse(value)
        return None

    def encode(self, value: Any, names: TableNames) -> Value:
        return self.decode(value, names)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class BooleanPlan(Plan):
    """True or False."""

    json = {"type": "boolean"}  # noqa: RUF012
    builder = "v.boolean()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if type(value) is not bool:
            raise self.refuse(value)
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        return self.decode(value, names)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class StringPlan(Plan):
    """A string."""

    json = {"type": "string"}  # noqa: RUF012
    builder = "v.string()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, str):
            raise self.refuse(value)
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        if not isinstance(value, str):
            raise self.refuse(value)
        text = str.__str__(value)
        return text if text.isascii() else _canonical(text, self)


def _canonical(value: object, plan: Plan) -> Value:
    try:
        return canonical(value)
    except InvalidValue as error:
        raise _as_validation(error, plan) from None


@dataclass(frozen=True, slots=True)
class IntegerPlan(Plan):
    """A float64 that is an integer, seen as `int`; takes an int64 too."""

    json = {"type": "number"}  # noqa: RUF012
    builder = "v.number()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if isinstance(value, int) and type(value) is not bool:
            return int(value)
        if isinstance(value, float):
            raise self.refuse(value, f"{value!r} is not an integer.")
        raise self.refuse(value)

    def encode(self, value: Any, names: TableNames) -> Value:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or type(value) is bool:
            raise self.refuse(value)
        if not -FLOAT64_INTEGER_MAX <= value <= FLOAT64_INTEGER_MAX:
            reason = f"{int(value)} is beyond 2**53; declare it as Int64."
            raise self.refuse(value, reason)
        return int(value)


@dataclass(frozen=True, slots=True)
class FloatPlan(Plan):
    """A float64, seen as `float`."""

    json = {"type": "number"}  # noqa: RUF012
    builder = "v.number()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if isinstance(value, float):
            return value
        if type(value) is int:
            return float(value)
        raise self.refuse(value)

    def encode(self, value: Any, names: TableNames) -> Value:
        if type(value) is bool or isinstance(value, Int64) or not isinstance(value, int | float):
            raise self.refuse(value)
        if isinstance(value, int):
            return _canonical(int(value), self)
        return canonical_float(float(value))


@dataclass(frozen=True, slots=True)
class Int64Plan(Plan):
    """An int64."""

    json = {"type": "bigint"}  # noqa: RUF012
    builder = "v.int64()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, Int64):
            raise self.refuse(value)
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        if type(value) is bool or not isinstance(value, int):
            raise self.refuse(value)
        try:
            return Int64(value)
        except InvalidValue as error:
            raise _as_validation(error, self) from None


@dataclass(frozen=True, slots=True)
class CommitTsPlan(Plan):
    """The timestamp of a commit: an int64, or what stands for it until the mutation commits."""

    json = {"type": "commitTs"}  # noqa: RUF012
    builder = "v.commitTs()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if isinstance(value, Int64):
            return CommitTs(value)
        if value is COMMIT_TS:
            return value
        raise self.refuse(value)

    def encode(self, value: Any, names: TableNames) -> Value:
        if value is COMMIT_TS:
            return value  # type: ignore[no-any-return]
        if type(value) is bool or not isinstance(value, int):
            raise self.refuse(value)
        try:
            return Int64(value)
        except InvalidValue as error:
            raise _as_validation(error, self) from None


@dataclass(frozen=True, slots=True)
class BytesPlan(Plan):
    """Bytes."""

    json = {"type": "bytes"}  # noqa: RUF012
    builder = "v.bytes()"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, bytes):
            raise self.refuse(value)
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise self.refuse(value)
        return bytes(value)


@dataclass(frozen=True, slots=True)
class IdPlan(Plan):
    """The id of a document of one table, which need not exist."""

    table: str

    @property
    def json(self) -> dict[str, Any]:
        return {"type": "id", "tableName": self.table}

    @property
    def builder(self) -> str:
        return f"v.id({json.dumps(self.table)})"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, str):
            raise self.refuse(value)
        try:
            number = decode_id(value).table_number
        except InvalidId as error:
            raise self.refuse(value, f"Value is not a document id: {error.sentence}.") from None
        if number != names.number(self.table):
            actual = names.name(number)
            if actual is None:
                reason = f"The id is of a table that does not exist here, not of {self.table!r}."
            else:
                reason = f"The id is of table {actual!r}, not of {self.table!r}."
            raise self.refuse(value, reason)
        return value

    def encode(self, value: Any, names: TableNames) -> Value:
        return self.decode(value, names)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class LiteralPlan(Plan):
    """Exactly one string, number, boolean or int64."""

    value: str | int | float | bool

    @property
    def json(self) -> dict[str, Any]:
        return {"type": "literal", "value": json.loads(encode_value(self.value))}

    @property
    def builder(self) -> str:
        if isinstance(self.value, Int64):
            return f"v.literal({int(self.value)}n)"
        return f"v.literal({json.dumps(self.value)})"

    def decode(self, value: Value, names: TableNames) -> Any:
        if value != self.value or _kind(value) is not _kind(self.value):
            raise self.refuse(value)
        return self.value

    def encode(self, value: Any, names: TableNames) -> Value:
        if type(value) is int and isinstance(self.value, Int64) and value == self.value:
            return self.value
        return self.decode(value, names)  # type: ignore[no-any-return]


def _kind(value: object) -> type:
    if isinstance(value, str):
        return str
    if type(value) is int or isinstance(value, float):
        return float
    return type(value)


@dataclass(frozen=True, slots=True)
class ArrayPlan(Plan):
    """A list, or what `make` makes of one."""

    item: Plan
    make: Callable[[list[Any]], Any] = list

    @property
    def json(self) -> dict[str, Any]:
        return {"type": "array", "value": self.item.json}

    @property
    def builder(self) -> str:
        return f"v.array({self.item.builder})"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, list):
            raise self.refuse(value)
        decode = self.item.decode
        items: list[Any] = []
        try:
            for item in value:
                items.append(decode(item, names))  # the error needs the place
        except ValidationError as error:
            raise error.under(f"[{len(items)}]") from None
        return items if self.make is list else self.make(items)

    def encode(self, value: Any, names: TableNames) -> Value:
        if not isinstance(value, list | tuple):
            raise self.refuse(value)
        return self.item.encode_all(value, names)


@dataclass(frozen=True, slots=True)
class RecordPlan(Plan):
    """An object with any field names, as `dict`."""

    item: Plan
    key: Plan = field(default_factory=StringPlan)

    @property
    def json(self) -> dict[str, Any]:
        values = {"fieldType": self.item.json, "optional": False}
        return {"type": "record", "keys": self.key.json, "values": values}

    @property
    def builder(self) -> str:
        return f"v.record({self.key.builder}, {self.item.builder})"

    def decode(self, value: Value, names: TableNames) -> Any:
        if not isinstance(value, dict):
            raise self.refuse(value)
        return self._each(value, names, self.key.decode, self.item.decode)

    def encode(self, value: Any, names: TableNames) -> Value:
        if not isinstance(value, Mapping):
            raise self.refuse(value)
        found = self._each(value, names, self.key.encode, self.item.encode)
        return _canonical({name: found[name] for name in found}, self)

    def _each(
        self,
        value: Mapping[Any, Any],
        names: TableNames,
        key: Callable[[Any, TableNames], Any],
        item: Callable[[Any, TableNames], Any],
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, part in value.items():
            try:
                checked = key(name, names)
            except ValidationError as error:
                raise error.under(".keys()") from None
            try:
                found[checked] = item(part, names)
            except ValidationError as error:
                raise error.under(f".{name}") from None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPlan:
    """One field of an object.

    `default` fills in for a missing field when it is read and written; `UNSET` leaves it out;
    `required` fields have neither. `factory` makes a fresh default each time.
    """

    attribute: str
    name: str
    plan: Plan
    required: bool = True
    default: Any = UNSET
    factory: Callable[[], Any] | None = None

    @property
    def has_default(self) -> bool:
        """Return whether a missing field is read as something else than missing."""
        return self.factory is not None or self.default is not UNSET

    def missing(self) -> Any:
        """Return what user code sees of a missing field."""
        return self.default if self.factory is None else self.factory()


#: The object plans that are being described: a type that holds itself is described once.
_DESCRIBED: ContextVar[frozenset[int]] = ContextVar("described", default=frozenset())


@dataclass(slots=True)
class ObjectPlan(Plan):
    """An object with exactly these fields; `make` builds what user code sees of it.

    Declared fields are listed after the plan is made, since they may refer to the plan itself.
    """

    title: str
    make: Callable[[dict[str, Any]], Any]
    take: Callable[[Any], Mapping[str, Any] | None]
    fields: tuple[FieldPlan, ...] = ()
    #: Undeclared fields are kept under this attribute, where there is one.
    extra: str | None = None
    #: The type that client libraries have for such an object, where they have one.
    client_type: str | None = None
    #: The items of the client's type, where it is generic.
    client_item: Plan | None = None
    #: Whether making what user code sees of it runs the application's code, which may raise.
    may_refuse: bool = False

    @property
    def json(self) -> dict[str, Any]:
        if self.extra is not None:
            return {"type": "any"}
        with self._described() as again:
            if again:
                return {"type": "any"}
            return {
                "type": "object",
                "value": {
                    f.name: {"fieldType": f.plan.json, "optional": not f.required}
                    for f in self.fields
                },
            }

    @property
    def builder(self) -> str:
        with self._described() as again:
            if again:
                return "v.any()"
            parts = [
                f"{f.name}: {f.plan.builder if f.required else f'v.optional({f.plan.builder})'}"
                for f in self.fields
            ]
            return f"v.object({{{', '.join(parts)}}})"

    @contextmanager
    def _described(self) -> Iterator[bool]:
        """Yield whether the plan is being described already: validators cannot be recursive."""
        described = _DESCRIBED.get()
        token = _DESCRIBED.set(described | {id(self)})
        try:
            yield id(self) in described
        finally:
            _DESCRIBED.reset(token)

    def decode(self, value: Value, names: TableNames) -> Any:
        return self.make(self.decode_fields(value, names))

    def decode_fields(self, value: Value, names: TableNames) -> dict[str, Any]:
        """Return what user code sees of each field, by attribute."""
        if not isinstance(value, dict):
            raise self.refuse(value)
        found: dict[str, Any] = {}
        taken = 0
        for f in self.fields:
            item = value.get(f.name, UNSET)
            if item is UNSET:
                if f.required:
                    raise self.lacks(f, value)
                found[f.attribute] = f.missing()
                continue
            taken += 1
            try:
                found[f.attribute] = f.plan.decode(item, names)
            except ValidationError as error:
                raise error.under(f".{f.name}") from None
        if self.extra is not None:
            known = {f.name for f in self.fields}
            found[self.extra] = {k: v for k, v in value.items() if k not in known}
        elif taken != len(value):
            raise self.has_extra(value)
        return found

    def encode(self, value: Any, names: TableNames) -> Value:
        attributes = self.take(value)
        if attributes is None:
            # A plain dict of wire names does as well.
            if not isinstance(value, dict):
                raise self.refuse(value, f"Expected {self.title}, got {type(value).__name__}.")
            return self.encode_plain(value, names)
        found: dict[str, Value] = {}
        for f in self.fields:
            item = attributes.get(f.attribute, UNSET)
            if item is UNSET:
                if f.required:
                    raise self.lacks(f, value)
                continue
            try:
                found[f.name] = f.plan.encode(item, names)
            except ValidationError as error:
                raise error.under(f".{f.name}") from None
        if self.extra is not None:
            extra = _canonical(attributes.get(self.extra, {}), self)
            assert isinstance(extra, dict)
            found = {**extra, **found}
        return found

    def encode_plain(self, value: dict[str, Any], names: TableNames) -> Value:
        """Return the wire form of fields given by wire name."""
        found: dict[str, Value] = {}
        known = set()
        for f in self.fields:
            known.add(f.name)
            item = value.get(f.name, UNSET)
            if item is UNSET:
                item = f.missing()
                if f.required:
                    raise self.lacks(f, value)
                if item is UNSET:
                    continue
            try:
                found[f.name] = f.plan.encode(item, names)
            except ValidationError as error:
                raise error.under(f".{f.name}") from None
        extra = {k: v for k, v in value.items() if k not in known and v is not UNSET}
        if self.extra is not None:
            kept = _canonical(extra, self)
            assert isinstance(kept, dict)
            found = {**kept, **found}
        elif extra:
            raise self.has_extra(value)
        return found

    def lacks(self, missing: FieldPlan, value: object) -> ValidationError:
        """Return the error for a value without a required field."""
        return self.refuse(
            value,
            f"Object is missing the required field `{missing.name}`. Give it a value, or declare "
            "a default for it.",
        )

    def has_extra(self, value: Mapping[str, Any]) -> ValidationError:
        """Return the error for a value with a field that is not declared."""
        known = {f.name for f in self.fields}
        extra = next(name for name in value if name not in known and value[name] is not UNSET)
        return self.refuse(
            value, f"Object contains extra field `{extra}` that is not in the validator."
        )


@dataclass(frozen=True, slots=True)
class UnionPlan(Plan):
    """Any of its members; the first that accepts a value wins."""

    members: tuple[Plan, ...]

    @property
    def json(self) -> dict[str, Any]:
        return {"type": "union", "value": [member.json for member in self.members]}

    @property
    def builder(self) -> str:
        return f"v.union({', '.join(member.builder for member in self.members)})"

    def decode(self, value: Value, names: TableNames) -> Any:
        problem = None
        for member in self.members:
            try:
                return member.decode(value, names)
            except ValidationError as error:
                problem = self._told(member, error) or problem
        raise problem or self.refuse(value)

    def encode(self, value: Any, names: TableNames) -> Value:
        problem = None
        for member in self.members:
            try:
                return member.encode(value, names)
            except ValidationError as error:
                problem = self._told(member, error) or problem
        raise problem or self.refuse(value)

    def _told(self, member: Plan, error: ValidationError) -> ValidationError | None:
        """Return the error of the one member beside null, if there is one: it says more."""
        beside_null = [each for each in self.members if not isinstance(each, NullPlan)]
        return error if beside_null == [member] else None


@dataclass(frozen=True, slots=True)
class ConvertedPlan(Plan):
    """A type of Python's that crosses the wire as another: enums, datetimes, UUIDs.

    `domain` names which of the wire's values there are of it, unless all are.
    """

    wire: Plan
    to_python: Callable[[Any], Any]
    to_wire: Callable[[Any], Any]
    domain: str | None = None

    @property
    def json(self) -> dict[str, Any]:
        return self.wire.json

    @property
    def builder(self) -> str:
        return self.wire.builder

    def decode(self, value: Value, names: TableNames) -> Any:
        found = self.wire.decode(value, names)
        try:
            return self.to_python(found)
        except (ValueError, OverflowError, OSError) as error:
            raise self.refuse(value, f"{error}.") from None

    def encode(self, value: Any, names: TableNames) -> Value:
        try:
            found = self.to_wire(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise self.refuse(value, f"{error}.") from None
        return self.wire.encode(found, names)


@dataclass(frozen=True, slots=True)
class ConstrainedPlan(Plan):
    """A plan with bounds on its value (`msgspec.Meta`), by the names that they have there."""

    inner: Plan
    problem: Callable[[Any], str | None]
    bounds: Mapping[str, int | float | str]

    @property
    def json(self) -> dict[str, Any]:
        return self.inner.json

    @property
    def builder(self) -> str:
        return self.inner.builder

    def decode(self, value: Value, names: TableNames) -> Any:
        found = self.inner.decode(value, names)
        self._check(found)
        return found

    def encode(self, value: Any, names: TableNames) -> Value:
        found = self.inner.encode(value, names)
        self._check(value)
        return found

    def _check(self, value: Any) -> None:
        problem = self.problem(value)
        if problem is not None:
            raise self.refuse(value, problem)
