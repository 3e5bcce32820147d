"""Tables: documents as typed, frozen objects, and their indexes.

A table is a `msgspec.Struct` whose metaclass takes the index declarations out of the class body.
The system fields live under private names, since `id` and `creation_time` raise before a document
has been inserted.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    TypeAlias,
    cast,
    dataclass_transform,
    get_args,
)

import msgspec

from camber import limits
from camber.errors import CamberError, DeveloperError
from camber.schema.compiler import Compiler
from camber.schema.plan import (
    AnyPlan,
    ArrayPlan,
    BooleanPlan,
    BytesPlan,
    FieldPlan,
    FloatPlan,
    IdPlan,
    IntegerPlan,
    NullPlan,
    ObjectPlan,
    Plan,
    RecordPlan,
    StringPlan,
    TableNames,
    UnionPlan,
    ValidationError,
)
from camber.values.packed import array_of_packed, as_value, ext_hook, pack, unpack
from camber.values.paths import is_identifier
from camber.values.value import UNSET, Value

#: Wire names of the system fields, and the attributes that hold them.
_SYSTEM_FIELDS = {"_id": "_camber_id", "_creationTime": "_camber_creation_time"}
_EXTRA = "_camber_extra"


class StoredDocuments:
    """Documents as they were read, so that results which hand them on need not write them anew.

    It goes with the names that a result is encoded with; where the names are others, as for what
    is written, documents are encoded field by field.
    """

    __slots__ = ("_documents", "_names", "_packed")

    def __init__(self, names: TableNames) -> None:
        self._names = names
        #: By identity; the documents themselves, so that no other one can take it over.
        self._packed: dict[int, bytes] = {}
        self._documents: list[Table] = []

    def number(self, name: str) -> int | None:
        """Return the number of a table."""
        return self._names.number(name)

    def name(self, number: int) -> str | None:
        """Return the name of a table."""
        return self._names.name(number)

    def keep(self, documents: Sequence[Table], packed: Sequence[bytes]) -> None:
        """Remember what documents were made of."""
        self._documents += documents
        self._packed.update(zip(map(id, documents), packed, strict=True))

    def packed(self, documents: Iterable[object]) -> list[bytes] | None:
        """Return what documents were made of, if that is known of all."""
        try:
            return list(map(self._packed.__getitem__, map(id, documents)))
        except KeyError:
            return None


class SchemaError(CamberError):
    """A table that cannot be declared as it is; the code says which rule it breaks."""

    code = "SchemaDefinitionError"


class SchemaEnforcementError(DeveloperError):
    """A document that does not fit its table."""

    code = "SchemaEnforcementError"


class Index:
    """An index over fields, in this order; `_creationTime` is appended as the tie-break.

    Args:
        fields: wire paths, `"a"` or `"a.b"` for a field of a nested object.
        staged: build it, but let nobody query it yet.
        unique: no two documents may have equal fields; those that lack one, or have None in it,
            are exempt.
        name: what it is called, where that is not the attribute: Convex's applications may have an
            index that is called like a field.
    """

    def __init__(
        self, *fields: str, staged: bool = False, unique: bool = False, name: str | None = None
    ) -> None:
        self.fields = fields
        self.staged = staged
        self.unique = unique
        self.given_name = name
        self.name = ""
        self.table = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.table}.{self.name}"


#: How a search index cuts texts into words (docs/search.md).
Tokenizer = Literal["words", "multilingual"]


class SearchIndex:
    """A full-text index over one string field; documents in which it is no string are not found.

    Args:
        field: the wire path of what is searched, `"a"` or `"a.b"`.
        filter_fields: wire paths that a search may compare with values.
        tokenizer: "words" tells letters with accents apart and takes what stands between spaces for
            words; "multilingual" does neither, for texts in several languages and in Chinese, Japanese,
            Korean or Thai.
        staged: build it, but let nobody search it yet.
    """

    def __init__(
        self,
        field: str,
        *,
        filter_fields: Iterable[str] = (),
        tokenizer: Tokenizer = "words",
        staged: bool = False,
    ) -> None:
        self.field = field
        self.filter_fields = _filter_fields(filter_fields)
        self.tokenizer = tokenizer
        self.staged = staged
        self.name = ""
        self.table = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return all fields that it depends on, the one that is searched first."""
        return (self.field, *self.filter_fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.table}.{self.name}"


class VectorIndex:
    """A nearest-neighbour index over one field that holds a vector, such as an embedding.

    Documents are not found whose field is no list of exactly so many numbers, or one of zeros, or
    one with NaN or infinity in it.

    Args:
        field: the wire path of the vector, `"a"` or `"a.b"`.
        dimensions: how many numbers the vectors have, 2 to 4,096.
        filter_fields: wire paths that a search may compare with values.
        staged: build it, but let nobody search it yet.
    """

    def __init__(
        self,
        field: str,
        *,
        dimensions: int,
        filter_fields: Iterable[str] = (),
        staged: bool = False,
    ) -> None:
        self.field = field
        self.dimensions = dimensions
        self.filter_fields = _filter_fields(filter_fields)
        self.staged = staged
        self.name = ""
        self.table = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return all fields that it depends on, the vector first."""
        return (self.field, *self.filter_fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.table}.{self.name}"


def _filter_fields(paths: Iterable[str]) -> tuple[str, ...]:
    if isinstance(paths, str):
        msg = f'filter_fields is a list of paths: write filter_fields=["{paths}"]'
        raise SchemaError(msg)
    return tuple(paths)


#: What a table may declare an index of any kind as.
DeclaredIndex: TypeAlias = Index | SearchIndex | VectorIndex


@dataclass(slots=True, kw_only=True)
class DeclaredTable:
    """What a table class declares. `resolve` compiles it when all modules have loaded."""

    name: str
    cls: type[Table]
    strict: bool
    indexes: list[Index]
    search_indexes: list[SearchIndex]
    vector_indexes: list[VectorIndex]
    where: str
    _plan: ObjectPlan | None = None
    _document_plan: ObjectPlan | None = None
    _decoder: msgspec.msgpack.Decoder[Any] | None = None
    #: How stored documents begin that are in results as they are stored, if there may be any.
    handed_on: bytes = b""
    _may_hand_on: bool = False
    _wire_names: dict[str, str] = field(default_factory=dict)
    _by_name: dict[str, FieldPlan] = field(default_factory=dict)

    def resolve(self, compiler: Compiler) -> None:
        """Compile the annotations and check the indexes against them.

        Raises:
            AnnotationError: a field's annotation cannot be used.
            SchemaError: an index is not possible.
        """
        # The annotations of a class that was resolved before may name classes of other modules.
        plan = ObjectPlan(self.cls.__name__, self._make, self._take)
        plan.extra = None if self.strict else _EXTRA
        plan.fields = compiler.struct_fields(self.cls, self.where, _HIDDEN)
        self._plan = plan
        self._document_plan = None
        self._decoder = self._fast_decoder()
        handed_on = None if self._decoder is None else self._begin_of_handed_on(plan)
        self._may_hand_on = handed_on is not None
        self.handed_on = handed_on or b""
        self._wire_names = {f.attribute: f.name for f in plan.fields}
        self._by_name = {f.name: f for f in plan.fields}
        _check_indexes(self, plan)

    @property
    def plan(self) -> ObjectPlan:
        """Return the plan of the declared fields, without system fields."""
        assert self._plan is not None, f"{self.name} is used before all modules have loaded"
        return self._plan

    def document_plan(self, compiler: Compiler | None = None) -> ObjectPlan:
        """Return the plan of a stored document, system fields included."""
        if self._document_plan is None:
            plan = _DocumentPlan(self.cls.__name__, self._make, self._take_document)
            plan.table = self
            plan.may_refuse = hasattr(self.cls, "__post_init__")
            self._document_plan = plan
            if self._plan is None:
                assert compiler is not None
                self.resolve(compiler)
                self._document_plan = plan
            plan.extra = self.plan.extra
            plan.fields = (
                FieldPlan(attribute="_camber_id", name="_id", plan=IdPlan(self.name)),
                FieldPlan(
                    attribute="_camber_creation_time", name="_creationTime", plan=FloatPlan()
                ),
                # A stored document is read with its defaults, so results always have the field.
                *(
                    FieldPlan(
                        attribute=f.attribute,
                        name=f.name,
                        plan=f.plan,
                        required=f.required or f.has_default,
                        default=f.default,
                        factory=f.factory,
                    )
                    for f in self.plan.fields
                ),
            )
        return self._document_plan

    @property
    def declared_indexes(self) -> list[DeclaredIndex]:
        """Return the indexes of all kinds."""
        return [*self.indexes, *self.search_indexes, *self.vector_indexes]

    @property
    def json(self) -> dict[str, Any]:
        """Return the JSON of the table's validator."""
        return self.plan.json

    def decode_document(self, packed: bytes, names: TableNames) -> Table:
        """Return the document of stored bytes."""
        if self._decoder is not None:
            try:
                return cast("Table", self._decoder.decode(packed))
            except msgspec.ValidationError:
                # The plan is the truth, and it has the better error.
                pass
        document = unpack(packed)
        assert isinstance(document, dict)
        fields = {k: v for k, v in document.items() if k not in _SYSTEM_FIELDS}
        found = self.plan.decode_fields(fields, names)
        found["_camber_id"] = document["_id"]
        found["_camber_creation_time"] = float(cast("float", document["_creationTime"]))
        return self._make(found)

    def decode_unsaved(self, fields: Mapping[str, Value], names: TableNames) -> Table:
        """Return the document of fields that are not stored: it has no system fields."""
        return self._make(self.plan.decode_fields(dict(fields), names))

    def decode_documents(
        self, packed: list[bytes], names: TableNames, stored: StoredDocuments
    ) -> list[Table]:
        """Return the documents of stored bytes, to be found in `stored` where that helps."""
        if self._decoder is not None:
            try:
                documents: list[Table] = list(map(self._decoder.decode, packed))
            except msgspec.ValidationError:
                pass
            else:
                if self._may_hand_on:
                    stored.keep(documents, packed)
                return documents
        return [self.decode_document(each, names) for each in packed]

    def encode_fields(self, document: Table, names: TableNames) -> dict[str, Value]:
        """Return the wire form of a document's declared fields, checked."""
        try:
            fields = self.plan.encode(document, names)
        except ValidationError as error:
            raise self._enforcement(error) from None
        assert isinstance(fields, dict)
        return fields

    def check(self, fields: Mapping[str, Any], names: TableNames) -> dict[str, Value]:
        """Return fields by wire name in wire form, with defaults filled in.

        Raises:
            SchemaEnforcementError: they do not fit the table.
        """
        try:
            checked = self.plan.encode_plain(dict(fields), names)
        except ValidationError as error:
            raise self._enforcement(error) from None
        assert isinstance(checked, dict)
        return checked

    def check_stored(self, fields: Mapping[str, Any], names: TableNames) -> None:
        """Do nothing if stored fields, by wire name and in wire form, fit the table.

        Raises:
            SchemaEnforcementError: they do not.
        """
        try:
            self.plan.decode_fields(dict(fields), names)
        except ValidationError as error:
            raise self._enforcement(error) from None

    def encode_patch(self, patch: Mapping[str, Any], names: TableNames) -> dict[str, Value]:
        """Return fields of a patch by wire name, in wire form; `UNSET` stands for removal.

        Raises:
            SchemaEnforcementError: the patched document would not fit the table.
        """
        found: dict[str, Value] = {}
        try:
            for name, item in patch.items():
                known = self._by_name.get(name)
                found[name] = item if item is UNSET else self._encode_field(name, item, names)
                if item is UNSET and known is not None and known.required:
                    raise self.plan.lacks(known, dict(patch))
        except ValidationError as error:
            raise self._enforcement(error) from None
        return found

    def _encode_field(self, name: str, item: Any, names: TableNames) -> Value:
        known = self._by_name.get(name)
        if known is None:
            if self.strict:
                raise self.plan.has_extra({name: item})
            return AnyPlan().encode(item, names)
        try:
            return known.plan.encode(item, names)
        except ValidationError as error:
            raise error.under(f".{name}") from None

    def wire_name(self, attribute: str) -> str:
        """Return the wire name of a field, given that or its attribute."""
        return self._wire_names.get(attribute, attribute)

    def encode_condition(self, path: str, value: Any, names: TableNames) -> Value:
        """Return the wire form of a value that the field at `path` is compared with.

        What the field could not hold is compared as it is, by the order of all values.
        """
        if value is UNSET:
            return cast("Value", value)
        known = self._by_name.get(path)
        if known is not None:
            try:
                return known.plan.encode(value, names)
            except ValidationError:
                pass
        return AnyPlan().encode(value, names)

    def _enforcement(self, error: ValidationError) -> SchemaEnforcementError:
        return SchemaEnforcementError(
            f"a document does not match the schema of table {self.name!r}. {error}"
        )

    def _make(self, fields: dict[str, Any]) -> Table:
        return self.cls(**fields)

    def _take(self, value: Any) -> Mapping[str, Any] | None:
        if not isinstance(value, Table) or type(value).__name__ != self.cls.__name__:
            return None
        return {name: getattr(value, name) for name in type(value).__struct_fields__}

    def _take_document(self, value: Any) -> Mapping[str, Any] | None:
        return self._take(value)

    def _fast_decoder(self) -> msgspec.msgpack.Decoder[Any] | None:
        """Return a decoder that makes documents at C speed, where every field allows it."""
        if not self.strict or not all(_is_plain(f.plan) for f in self.plan.fields):
            return None
        try:
            return msgspec.msgpack.Decoder(self.cls, ext_hook=ext_hook)
        except (TypeError, NameError):
            return None

    def _begin_of_handed_on(self, plan: ObjectPlan) -> bytes | None:
        """Return how stored documents begin that are in results as they are stored.

        None if they might not be: fields that user code can change in place, or has changed.
        """
        if hasattr(self.cls, "__post_init__") or not all(_is_scalar(f.plan) for f in plan.fields):
            return None
        if not any(f.has_default for f in plan.fields):
            return b""
        # Results have all fields that have defaults, so stored ones must have all there are.
        return pack(dict.fromkeys([*_SYSTEM_FIELDS, *(f.name for f in plan.fields)]))[
            : 1 if len(plan.fields) + len(_SYSTEM_FIELDS) < 16 else 3
        ]


class _DocumentPlan(ObjectPlan):
    """A stored document in a result: its bytes, where it is handed on as it was read."""

    table: DeclaredTable

    def encode(self, value: Any, names: TableNames) -> Value:
        handed_on = self._handed_on([value], names)
        if handed_on is None:
            return super().encode(value, names)
        return as_value(handed_on[0])

    def encode_all(self, values: list[Any] | tuple[Any, ...], names: TableNames) -> Value:
        handed_on = self._handed_on(values, names)
        if handed_on is None:
            return super().encode_all(values, names)
        return as_value(array_of_packed(handed_on))

    def _handed_on(
        self, documents: list[Any] | tuple[Any, ...], names: TableNames
    ) -> list[bytes] | None:
        """Return the documents as they are stored, if that is what they all are in a result."""
        if type(names) is not StoredDocuments or {self.table.cls} != set(map(type, documents)):
            return None
        packed = names.packed(documents)
        begin = self.table.handed_on
        if packed is not None and begin and not all(each.startswith(begin) for each in packed):
            return None
        return packed


def _is_scalar(plan: Plan) -> bool:
    """Return whether a plain plan's values cannot be changed in place."""
    if isinstance(plan, UnionPlan):
        return all(_is_scalar(member) for member in plan.members)
    scalar = (StringPlan, IntegerPlan, FloatPlan, BooleanPlan, BytesPlan, IdPlan, NullPlan)
    return isinstance(plan, scalar)


def _is_plain(plan: Plan) -> bool:
    """Return whether msgspec decodes the plan's values as the plan does."""
    if isinstance(plan, ArrayPlan):
        return plan.make is list and _is_plain(plan.item)
    if isinstance(plan, RecordPlan):
        return _is_plain(plan.item)
    if isinstance(plan, UnionPlan):
        others = [member for member in plan.members if not isinstance(member, NullPlan)]
        return len(others) == 1 and _is_plain(others[0])
    plain = (AnyPlan, StringPlan, IntegerPlan, FloatPlan, BooleanPlan, BytesPlan, IdPlan, NullPlan)
    return isinstance(plan, plain)


class _ClassBody(dict[str, Any]):
    """The body of a table class while it runs: an index may not take another's name."""

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, DeclaredIndex) and isinstance(self.get(name), DeclaredIndex):
            where = f"{self.get('__module__', '?')}.{self.get('__qualname__', '?')}"
            msg = f"{where}: there are two indexes called {name!r}; rename one of them"
            raise SchemaError(msg, code="IndexNamesNotUnique")
        super().__setitem__(name, value)


class TableMeta(msgspec.StructMeta):
    """Makes table classes: takes out the indexes and checks the names."""

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **options: Any) -> dict[str, Any]:
        """Return what the class body is run in."""
        del name, bases, options
        return _ClassBody()

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        table: str | None = None,
        strict: bool = True,
        frozen: bool = True,
    ) -> Any:
        """Make a table class, or an abstract base if it has no `table`."""
        if not frozen:
            msg = f"{name}: documents are frozen; ctx.db.patch changes the stored one"
            raise SchemaError(msg)
        annotations = namespace.get("__annotations__", {})
        where = _where(namespace, name)
        indexes = {
            key: value for key, value in namespace.items() if isinstance(value, DeclaredIndex)
        }
        if bases and bases[0] is not msgspec.Struct:
            _check_names(annotations, indexes, namespace, where)
        inherited: dict[str, DeclaredIndex] = {}
        for base in reversed(bases):
            inherited.update(getattr(base, "__camber_indexes__", {}))
        for key in indexes:
            del namespace[key]
        declared = {**{k: _copy(v) for k, v in inherited.items()}, **indexes}
        for key, index in declared.items():
            given = index.given_name if isinstance(index, Index) else None
            index.name, index.table = given or key, table or ""
        namespace["__camber_indexes__"] = declared
        cls = super().__new__(
            mcls,
            name,
            bases,
            namespace,
            kw_only=True,
            frozen=True,
            # As the plan does: what is not declared is refused, unless it is kept.
            forbid_unknown_fields=strict,
        )
        # msgspec's own refusals, with what to do instead.
        type.__setattr__(cls, "__setattr__", _refuse_set)
        type.__setattr__(cls, "__delattr__", _refuse_delete)
        if table is None:
            type.__setattr__(cls, "__camber__", None)
            return cls
        if not namespace["__module__"].startswith("camber."):
            _check_table_name(table, where)
        for key, index in declared.items():
            type.__setattr__(cls, key, index)
        for key in ("by_creation_time", "by_id"):
            built_in = Index()
            built_in.name, built_in.table = key, table
            type.__setattr__(cls, key, built_in)
        type.__setattr__(
            cls,
            "__camber__",
            DeclaredTable(
                name=table,
                cls=cast("type[Table]", cls),
                strict=strict,
                indexes=[i for i in declared.values() if isinstance(i, Index)],
                search_indexes=[i for i in declared.values() if isinstance(i, SearchIndex)],
                vector_indexes=[i for i in declared.values() if isinstance(i, VectorIndex)],
                where=where,
            ),
        )
        return cls


def _refuse_set(document: Any, name: str, value: Any) -> NoReturn:
    msg = (
        f"documents are frozen: use ctx.db.patch(id, {name}=…) to change the stored one, or "
        f"msgspec.structs.replace(document, {name}=…) for a changed copy"
    )
    raise AttributeError(msg)


def _refuse_delete(document: Any, name: str) -> NoReturn:
    msg = f"documents are frozen: use ctx.db.patch(id, {name}=UNSET) to remove a field"
    raise AttributeError(msg)


def _copy(index: DeclaredIndex) -> DeclaredIndex:
    twin = object.__new__(type(index))
    twin.__dict__.update(index.__dict__)
    return twin


def _where(namespace: dict[str, Any], name: str) -> str:
    return f"{namespace.get('__module__', '?')}.{name}"


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Table(msgspec.Struct, metaclass=TableMeta, frozen=True):
    """The base of documents: `class Message(Table, table="messages")`.

    Documents are frozen: `ctx.db.patch` changes them, `msgspec.structs.replace` copies them.
    """

    __camber__: ClassVar[Any] = None
    __camber_indexes__: ClassVar[dict[str, DeclaredIndex]] = {}
    if TYPE_CHECKING:
        by_creation_time: ClassVar[Index]
        by_id: ClassVar[Index]

    _camber_id: Any = msgspec.field(default=UNSET, name="_id")
    _camber_creation_time: Any = msgspec.field(default=UNSET, name="_creationTime")
    _camber_extra: Any = msgspec.field(default=UNSET, name="$extra")

    @property
    def id(self) -> Any:
        """Return the document's id.

        Raises:
            AttributeError: it has not been inserted.
        """
        return self._system("_camber_id", "id")

    @property
    def creation_time(self) -> float:
        """Return when the document was inserted, in milliseconds since the Unix epoch."""
        return float(self._system("_camber_creation_time", "creation_time"))

    def _system(self, attribute: str, name: str) -> Any:
        value = getattr(self, attribute)
        if value is UNSET:
            msg = (
                f"this {type(self).__name__} has no {name}: it has not been inserted. "
                "ctx.db.insert returns the id, ctx.db.get the stored document"
            )
            raise AttributeError(msg)
        return value

    @property
    def extra(self) -> dict[str, Any]:
        """Return the fields that a table with `strict=False` does not declare."""
        if type(self).__camber__.strict:
            msg = f"{type(self).__name__} is strict: it has no undeclared fields"
            raise AttributeError(msg)
        return {} if self._camber_extra is UNSET else self._camber_extra

    def __getitem__(self, name: str) -> Any:
        """Return an undeclared field."""
        return self.extra[name]

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        msg = (
            f"documents are frozen: use ctx.db.patch(id, {name}=…) to change the stored one, or "
            f"msgspec.structs.replace(document, {name}=…) for a changed copy"
        )
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        msg = f"documents are frozen: use ctx.db.patch(id, {name}=UNSET) to remove a field"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        shown = [f"{f}={getattr(self, f)!r}" for f in self.__struct_fields__ if f not in _HIDDEN]
        if self._camber_id is not UNSET:
            shown.insert(0, f"id={self._camber_id!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by their wire names, system fields included once it is inserted."""
        found = {
            wire_name: _plain(getattr(self, name))
            for name, wire_name in _names(self)
            if name != _EXTRA and getattr(self, name) is not UNSET
        }
        if self._camber_extra is not UNSET:
            found = {**self._camber_extra, **found}
        return found


def _names(value: msgspec.Struct) -> Iterable[tuple[str, str]]:
    """Return the names of a struct's fields with those on the wire.

    `msgspec.structs.fields` would evaluate the annotations anew, each time, in whatever module has
    the name of the class's by then: another release's, or none.
    """
    return zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)


def _plain(value: Any) -> Any:
    """Return a field's value as it is on the wire."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime.datetime):
        return value.timestamp() * 1000
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {
            wire_name: _plain(getattr(value, name))
            for name, wire_name in _names(value)
            if getattr(value, name) is not UNSET
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


_HIDDEN = frozenset({*_SYSTEM_FIELDS.values(), _EXTRA})
_RESERVED = frozenset(name for name in dir(Table) if not name.startswith("__")) | {
    "by_id",
    "by_creation_time",
}


def resolve_tables(tables: Iterable[DeclaredTable]) -> Compiler:
    """Compile all declared tables, when all modules have loaded; return what compiled them."""
    declared = list(tables)
    compiler = Compiler({table.cls.__name__: table for table in declared})
    for table in declared:
        table.resolve(compiler)
    return compiler


def _check_names(
    annotations: dict[str, Any],
    indexes: dict[str, DeclaredIndex],
    namespace: dict[str, Any],
    where: str,
) -> None:
    for name in annotations:
        if name in _RESERVED:
            msg = (
                f"{where}: a field cannot be called {name!r}, which every table has. Use another "
                f'attribute and keep the wire name: other: … = field(name="{name}")'
            )
            raise SchemaError(msg)
        if name.startswith("_"):
            msg = f"{where}: field names must not start with '_', as {name!r} does"
            raise SchemaError(msg)
        if not is_identifier(name):
            msg = f"{where}: {name!r} cannot name a field: at most {limits.identifier_length_max}"
            raise SchemaError(msg)
        if name in indexes:
            msg = f"{where}: {name!r} is both a field and an index"
            raise SchemaError(msg)
    for name in indexes:
        if name in {"by_id", "by_creation_time"} or name.startswith("_"):
            msg = f"{where}: an index cannot be called {name!r}, which is reserved"
            raise SchemaError(msg, code="IndexNameReserved")
        if name in _RESERVED:
            msg = f"{where}: an index cannot be called {name!r}, which every table has"
            raise SchemaError(msg, code="IndexNameReserved")
        if not is_identifier(name):
            msg = f"{where}: {name!r} cannot name an index"
            raise SchemaError(msg, code="InvalidIndexName")
    for name, value in namespace.items():
        is_plain = not name.startswith("__") and not isinstance(value, DeclaredIndex)
        callable_or_descriptor = callable(value) or inspect.isdatadescriptor(value)
        if is_plain and name not in annotations and not callable_or_descriptor:
            if isinstance(value, classmethod | staticmethod):
                continue
            msg = f"{where}: {name!r} has no annotation; write {name}: type = {value!r}"
            raise SchemaError(msg)


def _check_table_name(name: str, where: str) -> None:
    if name.startswith("_"):
        msg = f"{where}: table {name!r}: names that start with '_' are Camber's own"
        raise SchemaError(msg, code="TableNameReserved")
    if not is_identifier(name):
        msg = (
            f"{where}: {name!r} cannot name a table: letters, digits and '_', at most "
            f"{limits.identifier_length_max}"
        )
        raise SchemaError(msg, code="InvalidTableName")


def _check_indexes(table: DeclaredTable, plan: ObjectPlan) -> None:
    count = len(table.indexes) + len(table.search_indexes) + len(table.vector_indexes)
    if count > limits.indexes_per_table_max:
        msg = f"{table.where}: {count} indexes; a table may have {limits.indexes_per_table_max}"
        raise SchemaError(msg, code="TooManyIndexes")
    seen: dict[tuple[str, ...], str] = {}
    names = {search.name for search in table.search_indexes}
    names |= {vector.name for vector in table.vector_indexes}
    for index in table.indexes:
        where = f"{table.where}, index {index.name}"
        if index.given_name is not None:
            _check_given_name(index.given_name, where)
        if index.name in names:
            raise SchemaError(f"{where}: there are two of this name", code="IndexNamesNotUnique")
        names.add(index.name)
        _check_index_fields(index.fields, where)
        if index.fields in seen:
            msg = f"{where}: index {seen[index.fields]} has the same fields"
            raise SchemaError(msg, code="IndexNotUnique")
        seen[index.fields] = index.name
        for path in index.fields:
            _check_path(plan, path, where)
    others: list[SearchIndex | VectorIndex] = [*table.search_indexes, *table.vector_indexes]
    for search in others:
        where = f"{table.where}, index {search.name}"
        if len(search.filter_fields) > limits.index_fields_max:
            msg = f"{where}: more than {limits.index_fields_max} filter fields"
            raise SchemaError(msg, code="IndexTooManyFields")
        if len(set(search.filter_fields)) != len(search.filter_fields):
            msg = f"{where}: a filter field is there twice"
            raise SchemaError(msg, code="FieldsNotUniqueWithinIndex")
        for path in (search.field, *search.filter_fields):
            _check_not_reserved(path, where)
            _check_path(plan, path, where)
    for text in table.search_indexes:
        _check_text(text, plan, f"{table.where}, index {text.name}")
    for vector in table.vector_indexes:
        _check_vector(vector, plan, f"{table.where}, index {vector.name}")
    _check_distinct(
        table,
        {i.name: (i.field, set(i.filter_fields), i.tokenizer) for i in table.search_indexes},
    )
    _check_distinct(table, {i.name: (i.field, i.dimensions) for i in table.vector_indexes})


def _check_distinct(table: DeclaredTable, indexes: Mapping[str, object]) -> None:
    """Refuse two indexes of one kind that would hold the same."""
    named = list(indexes.items())
    for number, (name, what) in enumerate(named):
        for other, same in named[:number]:
            if what == same:
                msg = f"{table.where}, index {name}: index {other} is the same but for its name"
                raise SchemaError(msg, code="IndexNotUnique")


def _check_given_name(name: str, where: str) -> None:
    if name in {"by_id", "by_creation_time"} or name.startswith("_"):
        raise SchemaError(f"{where}: the name is reserved", code="IndexNameReserved")
    if not is_identifier(name):
        raise SchemaError(f"{where}: {name!r} cannot name an index", code="InvalidIndexName")


def _check_index_fields(fields: tuple[str, ...], where: str) -> None:
    if not fields:
        raise SchemaError(f"{where}: it has no fields", code="EmptyIndex")
    if len(fields) > limits.index_fields_max:
        msg = f"{where}: {len(fields)} fields; an index may have {limits.index_fields_max}"
        raise SchemaError(msg, code="IndexTooManyFields")
    if len(set(fields)) != len(fields):
        raise SchemaError(f"{where}: a field is there twice", code="FieldsNotUniqueWithinIndex")
    for path in fields:
        if path == "_id":
            msg = f"{where}: every index ends with the id; leave it out"
            raise SchemaError(msg, code="IndexFieldsContainId")
        if path == "_creationTime":
            msg = f"{where}: every index has the creation time after its fields; leave it out"
            raise SchemaError(msg, code="IndexFieldsContainCreationTime")
        _check_not_reserved(path, where)


def _check_not_reserved(path: str, where: str) -> None:
    if path.startswith("_"):
        msg = f"{where}: {path!r} starts with '_', which is reserved"
        raise SchemaError(msg, code="IndexFieldNameReserved")


def _check_text(index: SearchIndex, plan: Plan, where: str) -> None:
    if index.tokenizer not in get_args(Tokenizer):
        names = " or ".join(map(repr, get_args(Tokenizer)))
        msg = f"{where}: there is no tokenizer {index.tokenizer!r}: it is {names}"
        raise SchemaError(msg)
    if not _may_be_text(plan, index.field.split(".")):
        msg = f"{where}: {index.field!r} is never a string: nothing could be found"
        raise SchemaError(msg)


def _may_be_text(plan: Plan, parts: list[str]) -> bool:
    """Return whether the value at a path, which is there, may be a string."""
    if isinstance(plan, UnionPlan):
        return any(_may_be_text(member, parts) for member in plan.members)
    if isinstance(plan, ObjectPlan) and parts:
        fields = [f.plan for f in plan.fields if f.name == parts[0]]
        return not fields or any(_may_be_text(field, parts[1:]) for field in fields)
    no_text = (IntegerPlan, FloatPlan, BooleanPlan, BytesPlan, NullPlan, ArrayPlan, RecordPlan)
    return not isinstance(plan, no_text) and not (isinstance(plan, ObjectPlan) and not parts)


def _check_vector(index: VectorIndex, plan: Plan, where: str) -> None:
    least, most = limits.vector_dimensions_min, limits.vector_dimensions_max
    given = index.dimensions
    if type(given) is not int or not least <= given <= most:
        msg = f"{where}: dimensions={given!r}; a vector may have {least} to {most}"
        raise SchemaError(msg, code="InvalidVectorDimensionError")
    if not _may_be_vector(plan, index.field.split(".")):
        msg = f"{where}: {index.field!r} is never a list of numbers: nothing could be found"
        raise SchemaError(msg)


def _may_be_vector(plan: Plan, parts: list[str]) -> bool:
    """Return whether the value at a path, which is there, may be a list of numbers."""
    if isinstance(plan, UnionPlan):
        return any(_may_be_vector(member, parts) for member in plan.members)
    if isinstance(plan, ObjectPlan) and parts:
        fields = [f.plan for f in plan.fields if f.name == parts[0]]
        return not fields or any(_may_be_vector(field, parts[1:]) for field in fields)
    if isinstance(plan, ArrayPlan):
        return _may_be_number(plan.item)
    no_list = (IntegerPlan, FloatPlan, BooleanPlan, BytesPlan, NullPlan, StringPlan, RecordPlan)
    return not isinstance(plan, no_list) and not (isinstance(plan, ObjectPlan) and not parts)


def _may_be_number(plan: Plan) -> bool:
    if isinstance(plan, UnionPlan):
        return any(map(_may_be_number, plan.members))
    no_number = (StringPlan, BooleanPlan, BytesPlan, NullPlan, ArrayPlan, RecordPlan, ObjectPlan)
    return not isinstance(plan, no_number)


def _check_path(plan: Plan, path: str, where: str) -> None:
    if not _has_path(plan, path.split(".")):
        msg = f"{where}: the table has no field {path!r}"
        raise SchemaError(msg)


def _has_path(plan: Plan, parts: list[str]) -> bool:
    if not parts or isinstance(plan, AnyPlan):
        return True
    if isinstance(plan, UnionPlan):
        return any(_has_path(member, parts) for member in plan.members)
    if isinstance(plan, ObjectPlan):
        if plan.extra is not None and all(f.name != parts[0] for f in plan.fields):
            return True
        return any(f.name == parts[0] and _has_path(f.plan, parts[1:]) for f in plan.fields)
    return False
