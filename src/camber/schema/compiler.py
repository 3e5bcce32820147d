"""From annotations to plans.

Annotations are resolved when all modules have loaded, so that forward and circular references
work. One that has no wire form is refused there, with the place where it stands.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import re
import types
import typing
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, get_args, get_origin

import msgspec

from camber.errors import CamberError
from camber.schema.annotations import Arg, IdOf, IdOfTable, Int64LiteralOf
from camber.schema.plan import (
    AnyPlan,
    ArrayPlan,
    BooleanPlan,
    BytesPlan,
    CommitTsPlan,
    ConstrainedPlan,
    ConvertedPlan,
    FieldPlan,
    FloatPlan,
    IdPlan,
    Int64Plan,
    IntegerPlan,
    LiteralPlan,
    NullPlan,
    ObjectPlan,
    Plan,
    RecordPlan,
    StringPlan,
    UnionPlan,
)
from camber.values.value import COMMIT_TS, UNSET, CommitTs, Int64


class AnnotationError(CamberError):
    """An annotation that cannot be used, and where it stands."""

    code = "AnnotationError"


class NamedTable(Protocol):
    """What the compiler needs to know of a declared table."""

    name: str


_SIMPLE: Mapping[Any, Plan] = {
    str: StringPlan(),
    int: IntegerPlan(),
    float: FloatPlan(),
    bool: BooleanPlan(),
    bytes: BytesPlan(),
    Int64: Int64Plan(),
    CommitTs: CommitTsPlan(),
    None: NullPlan(),
    type(None): NullPlan(),
    Any: AnyPlan(),
    object: AnyPlan(),
    list: ArrayPlan(AnyPlan()),
    dict: RecordPlan(AnyPlan()),
}


class Compiler:
    """Turns annotations into plans; `tables` are the declared tables by class name."""

    def __init__(self, tables: Mapping[str, NamedTable] | None = None) -> None:
        self.tables = dict(tables or {})
        self._objects: dict[Any, ObjectPlan] = {}

    def hints(self, owner: Any, where: str) -> dict[str, Any]:
        """Return the resolved annotations of a class or function.

        Raises:
            AnnotationError: a name that does not exist when the program runs.
        """
        try:
            return typing.get_type_hints(owner, include_extras=True)
        except NameError as error:
            msg = (
                f"{where}: the name {error.name!r} in an annotation does not exist when the "
                "program runs. Import it outside of `if TYPE_CHECKING:`"
            )
            raise AnnotationError(msg) from error
        except TypeError as error:
            msg = f"{where}: an annotation cannot be resolved: {error}"
            raise AnnotationError(msg) from error

    def compile(self, annotation: Any, where: str) -> Plan:
        """Return the plan of a resolved annotation; `where` says where it stands."""
        try:
            simple = _SIMPLE.get(annotation)
        except TypeError:
            simple = None
        if simple is not None:
            return simple
        own = getattr(get_origin(annotation) or annotation, "__camber_plan__", None)
        if own is not None:
            return own(get_args(annotation), self, where)  # type: ignore[no-any-return]
        if isinstance(annotation, type) and get_origin(annotation) is None:
            return self._class(annotation, where)
        return self._generic(annotation, where)

    def _generic(self, annotation: Any, where: str) -> Plan:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is typing.Annotated:
            return self._annotated(arguments[0], arguments[1:], where)
        if origin is typing.Union or origin is types.UnionType:
            return _union(
                [
                    self.compile(member, where)
                    for member in arguments
                    if member is not msgspec.UnsetType
                ]
            )
        if origin is typing.Literal:
            return _union([_literal(value, where) for value in arguments])
        if origin in {list, collections.abc.Sequence, collections.abc.Iterable}:
            return ArrayPlan(self.compile(arguments[0], where))
        if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            return ArrayPlan(self.compile(arguments[0], where), make=tuple)
        if origin in {dict, collections.abc.Mapping}:
            return self._record(arguments, where)
        if origin in {typing.Required, typing.NotRequired, typing.ClassVar, typing.Final}:
            return self.compile(arguments[0], where)
        if isinstance(annotation, typing.TypeVar):
            return AnyPlan()
        if isinstance(annotation, typing.NewType):
            return self.compile(annotation.__supertype__, where)
        raise _unsupported(annotation, where)

    def _record(self, arguments: tuple[Any, ...], where: str) -> Plan:
        key = self.compile(arguments[0], where)
        if not isinstance(key, StringPlan | IdPlan | ConstrainedPlan):
            msg = f"{where}: the keys of a dict are strings, not {_name(arguments[0])}"
            raise AnnotationError(msg)
        return RecordPlan(self.compile(arguments[1], where), key)

    def _annotated(self, inner: Any, marks: tuple[Any, ...], where: str) -> Plan:
        for mark in marks:
            if isinstance(mark, IdOf):
                return IdPlan(self._table_name(mark.target, where))
            if isinstance(mark, IdOfTable):
                return IdPlan(mark.table)
            if isinstance(mark, Int64LiteralOf):
                return _union([LiteralPlan(Int64(value)) for value in mark.values])
        plan = self.compile(inner, where)
        for mark in marks:
            if isinstance(mark, msgspec.Meta):
                plan = ConstrainedPlan(plan, _constraint(mark), _bounds(mark))
            elif not isinstance(mark, Arg | str):
                continue
        return plan

    def _table_name(self, target: Any, where: str) -> str:
        """Return the table that `Id[target]` is about: the target is no declared table's class."""
        if isinstance(target, typing.ForwardRef):
            target = target.__forward_arg__
        if isinstance(target, str):
            table = self.tables.get(target)
            return target if table is None else table.name
        msg = f"{where}: Id[{_name(target)}] is not about a table"
        raise AnnotationError(msg)

    def _class(self, annotation: type, where: str) -> Plan:
        found = self._objects.get(annotation)
        if found is not None:
            return found
        declared = getattr(annotation, "__camber__", None)
        if declared is not None:
            return declared.document_plan(self)  # type: ignore[no-any-return]
        if issubclass(annotation, enum.Enum):
            return _enum(annotation, where)
        # Equal, not identical: user modules have another one in its place.
        if annotation == datetime.datetime:
            return _DATETIME
        if annotation is uuid.UUID:
            return ConvertedPlan(StringPlan(), uuid.UUID, _text_of_uuid, domain="uuid")
        if issubclass(annotation, msgspec.Struct):
            return self._struct(annotation, where)
        if dataclasses.is_dataclass(annotation):
            return self._dataclass(annotation, where)
        if typing.is_typeddict(annotation):
            return self._typed_dict(annotation, where)
        raise _unsupported(annotation, where)

    def _struct(self, struct: type[msgspec.Struct], where: str) -> ObjectPlan:
        def take(value: Any) -> Mapping[str, Any] | None:
            if not isinstance(value, struct):
                return None
            return {name: getattr(value, name) for name in struct.__struct_fields__}

        plan = self._object(struct, lambda fields: struct(**fields), take)
        plan.fields = self.struct_fields(struct, where)
        return plan

    def struct_fields(
        self, struct: type[msgspec.Struct], where: str, hidden: Collection[str] = ()
    ) -> tuple[FieldPlan, ...]:
        """Return the plans of a struct's fields, but for those of the attributes `hidden`."""
        hints = self.hints(struct, where)
        return tuple(
            self.field(
                attribute=info.name,
                name=info.encode_name,
                annotation=hints[info.name],
                default=UNSET if info.default is msgspec.NODEFAULT else info.default,
                factory=None if info.default_factory is msgspec.NODEFAULT else info.default_factory,
                has_default=info.default is not msgspec.NODEFAULT,
                where=f"{where}, field {struct.__name__}.{info.name}",
            )
            for info in msgspec.structs.fields(struct)
            if info.name not in hidden
        )

    def _dataclass(self, cls: Any, where: str) -> ObjectPlan:
        def take(value: Any) -> Mapping[str, Any] | None:
            if not isinstance(value, cls):
                return None
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(cls)}

        plan = self._object(cls, lambda fields: cls(**fields), take)
        hints = self.hints(cls, where)
        plan.fields = tuple(
            self.field(
                attribute=f.name,
                name=f.name,
                annotation=hints[f.name],
                default=UNSET if f.default is dataclasses.MISSING else f.default,
                factory=None if f.default_factory is dataclasses.MISSING else f.default_factory,
                has_default=f.default is not dataclasses.MISSING,
                where=f"{where}, field {cls.__name__}.{f.name}",
            )
            for f in dataclasses.fields(cls)
        )
        return plan

    def _typed_dict(self, cls: Any, where: str) -> ObjectPlan:
        def take(value: Any) -> Mapping[str, Any] | None:
            return value if isinstance(value, dict) else None

        def make(fields: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in fields.items() if value is not UNSET}

        plan = self._object(cls, make, take, extra_is_refused=True)
        plan.fields = tuple(
            FieldPlan(
                attribute=name,
                name=name,
                plan=self.compile(annotation, f"{where}, field {cls.__name__}[{name!r}]"),
                required=_is_required(cls, name, annotation),
            )
            for name, annotation in self.hints(cls, where).items()
        )
        return plan

    def _object(
        self,
        cls: Any,
        make: Callable[[dict[str, Any]], Any],
        take: Callable[[Any], Mapping[str, Any] | None],
        *,
        extra_is_refused: bool = False,
    ) -> ObjectPlan:
        plan: ObjectPlan = (
            _StrictObjectPlan(cls.__name__, make, take)
            if extra_is_refused
            else ObjectPlan(cls.__name__, make, take)
        )
        plan.may_refuse = _has_own_checks(cls)
        # Known before its fields are: a struct may hold itself.
        self._objects[cls] = plan
        return plan

    def field(
        self,
        *,
        attribute: str,
        name: str,
        annotation: Any,
        default: Any,
        factory: Callable[[], Any] | None,
        has_default: bool,
        where: str,
    ) -> FieldPlan:
        """Return the plan of one declared field."""
        return FieldPlan(
            attribute=attribute,
            name=name,
            plan=self.compile(annotation, where),
            required=not has_default and factory is None,
            default=default,
            factory=factory,
        )


def _has_own_checks(cls: Any) -> bool:
    """Return whether making an object of a class runs code of the application's."""
    if hasattr(cls, "__post_init__"):
        return True
    params = getattr(cls, "__dataclass_params__", None)
    return params is not None and not params.init


class _StrictObjectPlan(ObjectPlan):
    """A typed dict: taken as a mapping, but with no fields beside the declared ones."""

    def encode(self, value: Any, names: Any) -> Any:
        if not isinstance(value, dict):
            raise self.refuse(value)
        return self.encode_plain(value, names)


def _is_required(typed_dict: Any, name: str, annotation: Any) -> bool:
    # Resolved annotations first: of those written as text the class itself knows nothing.
    origin = get_origin(annotation)
    if origin in {typing.Required, typing.NotRequired}:
        return origin is typing.Required
    return name in typed_dict.__required_keys__


def _union(members: list[Plan]) -> Plan:
    flat: list[Plan] = []
    for member in members:
        flat.extend(member.members if isinstance(member, UnionPlan) else [member])
    return flat[0] if len(flat) == 1 else UnionPlan(tuple(flat))


def _literal(value: Any, where: str) -> Plan:
    if value is None:
        return NullPlan()
    if isinstance(value, enum.Enum):
        value = value.value
    if not isinstance(value, str | int | float | bool):
        msg = f"{where}: Literal[{value!r}] has no wire form; use strings, numbers or booleans"
        raise AnnotationError(msg)
    return LiteralPlan(value)


def _enum(cls: type[enum.Enum], where: str) -> Plan:
    members = [_literal(member.value, f"{where}, {cls.__name__}") for member in cls]
    return ConvertedPlan(_union(members), cls, lambda value: cls(value).value)


def _from_ms(ms: float) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(milliseconds=ms)


def _to_ms(value: Any) -> float:
    if not isinstance(value, datetime.datetime):
        msg = f"Expected a datetime, got {type(value).__name__}"
        raise TypeError(msg)
    if value.tzinfo is None:
        msg = f"{value!r} is naive; give it a time zone, such as datetime.UTC"
        raise ValueError(msg)
    since: datetime.timedelta = value - _EPOCH
    return since / datetime.timedelta(milliseconds=1)


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DATETIME = ConvertedPlan(FloatPlan(), _from_ms, _to_ms, domain="datetime")


def _text_of_uuid(value: Any) -> str:
    if not isinstance(value, uuid.UUID):
        msg = f"Expected a UUID, got {type(value).__name__}"
        raise TypeError(msg)
    return str(value)


def _constraint(meta: msgspec.Meta) -> Callable[[Any], str | None]:
    """Return what says how a value breaks a constraint, or None."""
    checks: list[tuple[Callable[[Any], bool], str]] = []
    for bound, test, text in (
        (meta.gt, lambda v, b: v > b, "greater than"),
        (meta.ge, lambda v, b: v >= b, "at least"),
        (meta.lt, lambda v, b: v < b, "less than"),
        (meta.le, lambda v, b: v <= b, "at most"),
        (meta.multiple_of, lambda v, b: v % b == 0, "a multiple of"),
    ):
        if bound is not None:
            checks.append((_bound(test, bound), f"must be {text} {bound}"))
    if meta.min_length is not None:
        least = meta.min_length
        checks.append((lambda v: len(v) >= least, f"must have a length of at least {least}"))
    if meta.max_length is not None:
        most = meta.max_length
        checks.append((lambda v: len(v) <= most, f"must have a length of at most {most}"))
    if meta.pattern is not None:
        pattern = re.compile(meta.pattern)
        checks.append((lambda v: pattern.search(v) is not None, f"must match {meta.pattern!r}"))

    def problem(value: Any) -> str | None:
        # What is not known yet lies within no bounds, and beyond none.
        if value is None or value is COMMIT_TS:
            return None
        for holds, text in checks:
            if not holds(value):
                return f"Value {text}."
        return None

    return problem


def _bounds(meta: msgspec.Meta) -> dict[str, int | float | str]:
    """Return what `_constraint` checks, by name."""
    names = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")
    return {name: getattr(meta, name) for name in names if getattr(meta, name) is not None}


def _bound(test: Callable[[Any, Any], bool], bound: Any) -> Callable[[Any], bool]:
    return lambda value: test(value, bound)


def _unsupported(annotation: Any, where: str) -> AnnotationError:
    return AnnotationError(
        f"{where}: {_name(annotation)} has no wire form. Use str, int, float, bool, bytes, None, "
        "Int64, Id, list, dict with string keys, Literal, unions, enums, datetime, UUID, "
        "TypedDict, dataclasses or Structs"
    )


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation)
