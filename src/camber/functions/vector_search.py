"""What a vector search asks for, and what it finds (semantics 7.2).

In two steps, since actions search by way of a transaction elsewhere: what user code gives becomes a
`VectorSearch`, which is data, and that becomes what is looked for in an index.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

import msgspec

from camber import limits
from camber.engine.catalog import IndexEntry
from camber.errors import DeveloperError
from camber.functions.conditions import AnyOf, Range
from camber.schema.annotations import Id
from camber.schema.compiler import Compiler
from camber.schema.plan import FieldPlan, FloatPlan, ObjectPlan, Plan, StringPlan
from camber.schema.table import VectorIndex
from camber.search.texts import filter_digest
from camber.search.vectors import Clause, VectorQuery, direction
from camber.values.keys import encode_part
from camber.values.packed import pack, unpack
from camber.values.value import UNSET, Value, shown

D = TypeVar("D")

#: Values of fields by name, of which all must hold; of several such mappings, one.
Where: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class VectorHit(msgspec.Struct, Generic[D], frozen=True):
    """A document that a vector search found: its id, and the cosine of the angle, -1 to 1."""

    id: Id[D]
    score: float

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: Any) -> Any:
            """Return the type of a hit of a table; see `Page`."""
            return types.GenericAlias(cls, item)

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form."""
        return {"_id": self.id, "_score": self.score}

    @classmethod
    def __camber_plan__(cls, arguments: tuple[Any, ...], compiler: Compiler, where: str) -> Plan:
        """Return the plan of `VectorHit[T]`; without a table any id will do."""
        id_type: Any = Id
        id_ = compiler.compile(id_type[arguments[0]], where) if arguments else StringPlan()
        return ObjectPlan(
            "VectorHit",
            lambda fields: cls(**fields),
            _take_hit,
            (
                FieldPlan(attribute="id", name="_id", plan=id_),
                FieldPlan(attribute="score", name="_score", plan=FloatPlan()),
            ),
        )


def _take_hit(value: Any) -> Mapping[str, Any] | None:
    return {"id": value.id, "score": value.score} if isinstance(value, VectorHit) else None


class VectorSearch(msgspec.Struct, frozen=True, kw_only=True):
    """What user code asks for: `clauses` are by wire path, and hold packed values; None is missing."""

    table: str
    index: str
    vector: list[float]
    limit: int
    clauses: tuple[tuple[tuple[str, tuple[bytes | None, ...]], ...], ...] = ()


def place_of(index: object) -> tuple[str, str]:
    """Return the table and the name of an index that user code gives.

    Raises:
        DeveloperError: it names none.
    """
    if isinstance(index, VectorIndex):
        return index.table, index.name
    if isinstance(index, str) and index.count(".") == 1:
        table, name = index.split(".")
        return table, name
    msg = (
        f"vector_search() takes a vector index, Message.by_embedding or 'messages.by_embedding', "
        f"not {shown(index)}"
    )
    raise DeveloperError(msg, code="InvalidArgument")


def vector_search(
    table: str,
    index: str,
    vector: object,
    limit: object,
    where: object,
    *,
    wire_name: Callable[[str], str],
    encode: Callable[[str, Any], Value],
) -> VectorSearch:
    """Return what user code asks for.

    `encode` makes the stored form of a value.

    Raises:
        DeveloperError: it is no vector, no possible limit, or no filter.
    """
    most = limits.vector_results_max
    if type(limit) is not int or not 1 <= limit <= most:
        msg = f"a vector search gives 1 to {most} documents: limit={limit!r} is not possible"
        raise DeveloperError(msg, code="InvalidArgument")
    terms = 0
    clauses = []
    for conditions in _alternatives(where):
        clause = []
        for name, condition in conditions.items():
            path = wire_name(name)
            values = condition.values if isinstance(condition, AnyOf) else (condition,)
            if isinstance(condition, Range) or not values:
                msg = (
                    f"a vector search compares {path!r} with a value, or with any_of(…) several: "
                    f"{shown(condition)} is neither"
                )
                raise DeveloperError(msg, code="InvalidVectorSearchFilter")
            terms += len(values)
            stored = [encode(path, value) for value in values]
            packed = tuple(None if value is UNSET else pack(value) for value in stored)
            clause.append((path, packed))
        clauses.append(tuple(clause))
    if terms > limits.vector_filter_terms_max:
        msg = (
            f"the filters of a vector search name {terms} values; they may name "
            f"{limits.vector_filter_terms_max}"
        )
        raise DeveloperError(msg, code="InvalidVectorSearchFilter")
    # A clause that asks nothing admits all.
    admits_all = any(not clause for clause in clauses)
    return VectorSearch(
        table=table,
        index=index,
        vector=_numbers(vector),
        limit=limit,
        clauses=() if admits_all else tuple(clauses),
    )


def _alternatives(where: object) -> list[Mapping[str, Any]]:
    if where is None:
        return []
    alternatives = [where] if isinstance(where, Mapping) else where
    if (
        isinstance(alternatives, list | tuple)
        and alternatives
        and all(isinstance(each, Mapping) for each in alternatives)
    ):
        return list(alternatives)
    msg = (
        'where is {"field": value}, or several of these, of which one must hold: '
        f"{shown(where)} is neither"
    )
    raise DeveloperError(msg, code="InvalidVectorSearchFilter")


def _numbers(vector: object) -> list[float]:
    # Arrays of numpy and the like.
    to_list = getattr(vector, "tolist", None)
    values = vector if to_list is None else to_list()
    if not isinstance(values, list | tuple):
        msg = f"vector_search() takes a list of numbers, not {type(vector).__name__}"
        raise DeveloperError(msg, code="InvalidArgument")
    numbers: list[float] = []
    for at, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            msg = f"vector_search() takes a list of numbers: {shown(value)} at {at} is none"
            raise DeveloperError(msg, code="InvalidArgument")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            msg = f"vector_search() takes finite numbers: there is {shown(value)} at {at}"
            raise DeveloperError(msg, code="InvalidArgument")
        numbers.append(number)
    return numbers


def vector_query(index: IndexEntry, search: VectorSearch, *, name: str) -> VectorQuery:
    """Return what to look for in a vector index; `name` is its name in errors.

    Raises:
        DeveloperError: the vector has another length, or no direction, or a filter is on no filter
            field.
    """
    assert index.dimensions is not None
    if len(search.vector) != index.dimensions:
        msg = (
            f"the vectors of {name} have {index.dimensions} numbers, and the one that is searched "
            f"for has {len(search.vector)}"
        )
        raise DeveloperError(msg, code="VectorDimensionsMismatch")
    wanted = direction(search.vector, index.dimensions)
    if wanted is None:
        msg = f"a vector of zeros has no direction: nothing of {name} is near to it, or far"
        raise DeveloperError(msg, code="InvalidArgument")
    filter_fields = index.fields[1:]
    clauses: list[Clause] = []
    for conditions in search.clauses:
        clause = []
        for path, packed in conditions:
            if path not in filter_fields:
                known = f"they are {', '.join(filter_fields)}" if filter_fields else "it has none"
                msg = f"{path!r} is no filter field of {name}: {known}"
                raise DeveloperError(msg, code="IncorrectVectorFilterField")
            digests = tuple(dict.fromkeys(_digest(each) for each in packed))
            clause.append((filter_fields.index(path), digests))
        clauses.append(tuple(sorted(clause)))
    return VectorQuery(direction=wanted, clauses=tuple(clauses))


def _digest(packed: bytes | None) -> bytes:
    value = cast("Value", UNSET) if packed is None else unpack(packed)
    return filter_digest(encode_part(value))
