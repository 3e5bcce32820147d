"""What a run has read, in words: each entry of its read set, and which writes would touch it.

An entry is told twice: exactly, as bounds of keys by the fields of their index, and in words, which
leave out what no reader needs. What is here follows from the read set alone, which is what commits are
held against: so what is told to invalidate a result is what does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Literal, NamedTuple, TypeAlias

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import (
    CREATION_TIME_FIELD,
    Catalog,
    IndexEntry,
    TableEntry,
)
from camber.errors import DeveloperError
from camber.functions.accounts import SearchedBy, search_key, shortened
from camber.occ.interval import IndexId
from camber.occ.read_set import RecordedRow, RecordedSearch
from camber.runtime.executor import Explained, FunctionCall
from camber.runtime.queries import CacheState
from camber.search.nearest import Nearest
from camber.search.texts import TextQuery
from camber.search.vectors import Clause, VectorQuery
from camber.values.keys import decode_key
from camber.values.value import UNSET, Value
from camber.values.wire import encode_value

#: What an entry is about: documents of an index or a search, or something that is no document of the
#: application.
ReadKind: TypeAlias = Literal["index", "document", "search", "system"]


class NotExplained(DeveloperError):
    """A function that cannot be explained."""

    code = "NotExplained"


class Bound(NamedTuple):
    """One end of an interval: keys that begin with these values are inside, or not."""

    values: tuple[Value, ...]
    is_inclusive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEntry:
    """One entry of a read set. `fields` are those of the index's keys; None is no bound."""

    kind: ReadKind
    component: str
    table: str
    index: str
    fields: tuple[str, ...]
    lower: Bound | None
    upper: Bound | None
    words: str
    invalidated_by: str
    #: What a search looks for: it has no bounds.
    search: SearchedFor | None = None
    nearest: LookedNear | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedFor:
    """A document matches if it has one of the words, or one that begins so, and meets the conditions."""

    terms: tuple[str, ...]
    prefix: str | None
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedNear:
    """A document matches whose vector is as near as the last hit, and that meets one of the conditions.

    Of equal scores those up to its id are as near. There is no last hit where all were looked at.
    """

    score: float | None
    id: str | None
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsInWords:
    """A read set: its first entries, and how many there are."""

    entries: tuple[ReadEntry, ...]
    count: int
    #: Documents that were looked for by their ids, by component and table.
    documents: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A run that was looked at, in words."""

    call: FunctionCall
    explained: Explained
    reads: ReadsInWords
    #: Of a query: what the cache had of it before this.
    cache: CacheState | None


@dataclass(frozen=True, slots=True)
class _Indexed:
    table: TableEntry
    index: IndexEntry


def reads_in_words(explained: Explained, catalog: Catalog) -> ReadsInWords:
    """Return what a run has read, by the tables and indexes that there were."""
    indexes = {
        index.id: _Indexed(table, index)
        for table in catalog.tables()
        for index in (*table.indexes.values(), *table.pending, *table.dropped)
    }
    documents: dict[tuple[str, str], int] = {}
    for id_, start, end, prefix in explained.reads:
        found = indexes.get(id_)
        if found is None or found.table.is_system or found.index.name != "by_id":
            continue
        if prefix and end == start + b"\0":
            key = (found.table.component, found.table.own_name)
            documents[key] = documents.get(key, 0) + 1
    entries = tuple(islice(_entries(explained, catalog, indexes), limits.explained_reads_max))
    count = len(explained.reads) + len(explained.searches)
    return ReadsInWords(entries=entries, count=count, documents=documents)


def _entries(
    explained: Explained, catalog: Catalog, indexes: Mapping[IndexId, _Indexed]
) -> Iterator[ReadEntry]:
    for search in explained.searches:
        yield _search(search, indexes, explained.searched)
    # What is the application's own first.
    rows = sorted(explained.reads, key=lambda row: _is_system(indexes.get(row[0])))
    for row in rows:
        yield _row(row, catalog, indexes)


def _is_system(found: _Indexed | None) -> bool:
    return found is None or found.table.is_system


def _row(row: RecordedRow, catalog: Catalog, indexes: Mapping[IndexId, _Indexed]) -> ReadEntry:
    id_, start, end, _ = row
    found = indexes.get(id_)
    lower, upper = _lower(start), _upper(end)
    if found is None:
        words = "a document of a table that is not there"
        return _system(
            "", "", words, "the table comes into being, with that document", lower, upper
        )
    table, index = found.table, found.index
    if table.is_system:
        words, by = _of_system(found, lower, upper, catalog)
        return _system(table.own_name, index.name, words, by, lower, upper)
    name = table.name
    fields = index.all_fields
    if index.name == "by_id" and lower is not None and lower == upper:
        shown = f"the document {lower.values[0]!s} of {name}"
        return _of_table(
            "document", found, lower, upper, shown, f"{shown} is inserted, changed or deleted"
        )
    where = _conditions(fields, lower, upper)
    by = f"a document of {name} is inserted, changed or deleted"
    if where:
        by += f", which has, before or after, {' and '.join(where)}"
    shown = f"{name}.{index.name}: {' and '.join(where) or 'all of it'}"
    return _of_table("index", found, lower, upper, shown, by)


def _of_table(
    kind: ReadKind,
    found: _Indexed,
    lower: Bound | None,
    upper: Bound | None,
    words: str,
    invalidated_by: str,
) -> ReadEntry:
    return ReadEntry(
        kind=kind,
        component=found.table.component,
        table=found.table.own_name,
        index=found.index.name,
        fields=found.index.all_fields,
        lower=lower,
        upper=upper,
        words=words,
        invalidated_by=invalidated_by,
    )


def _system(
    table: str,
    index: str,
    words: str,
    invalidated_by: str,
    lower: Bound | None,
    upper: Bound | None,
) -> ReadEntry:
    return ReadEntry(
        kind="system",
        component="",
        table=table,
        index=index,
        fields=(),
        lower=lower,
        upper=upper,
        words=words,
        invalidated_by=invalidated_by,
    )


def _search(
    search: RecordedSearch, indexes: Mapping[IndexId, _Indexed], searched: Sequence[SearchedBy]
) -> ReadEntry:
    id_, query = search
    found = indexes[id_]
    if isinstance(query, Nearest):
        return _nearest(query, found, _words_of(id_, query.query, searched))
    looked_for = [f'"{term}"' for term in query.terms]
    if query.prefix is not None:
        looked_for.append(f'a word that begins with "{query.prefix}"')
    conditions = _words_of(id_, query, searched)
    if len(conditions) != len(query.filters):
        conditions = tuple(
            f"{found.index.fields[place + 1]} as it was searched" for place, _ in query.filters
        )
    where = " and ".join([" or ".join(looked_for) + f" in {found.index.fields[0]}", *conditions])
    name = found.table.name
    return ReadEntry(
        kind="search",
        component=found.table.component,
        table=found.table.own_name,
        index=found.index.name,
        fields=found.index.fields,
        lower=None,
        upper=None,
        words=f"{name}.{found.index.name}: {where}",
        invalidated_by=(
            f"a document of {name} is inserted, changed or deleted, which has, before or after, {where}"
        ),
        search=SearchedFor(terms=query.terms, prefix=query.prefix, conditions=conditions),
    )


def _words_of(
    index: IndexId, query: TextQuery | VectorQuery, searched: Sequence[SearchedBy]
) -> tuple[str, ...]:
    """Return the conditions of a search: the read set has digests of what was compared."""
    key = search_key(query)
    return next((words for id_, each, words in searched if (id_, each) == (index, key)), ())


def _nearest(search: Nearest, found: _Indexed, conditions: tuple[str, ...]) -> ReadEntry:
    vector, *filters = found.index.fields
    if len(conditions) != len(search.query.clauses):
        conditions = tuple(_clause(clause, filters) for clause in search.query.clauses)
    where = f", where {' or '.join(conditions)}" if conditions else ""
    which = f"a vector in {vector}"
    if search.last is not None:
        which += f" that is as near as the last hit, of a cosine of {search.last.score:.4f}"
    name = found.table.name
    words = f"{name}.{found.index.name}: nearest to a vector in {vector}{where}"
    by = f"a document of {name} is inserted, changed or deleted, which has, before or after, {which}{where}"
    last = search.last
    return ReadEntry(
        kind="search",
        component=found.table.component,
        table=found.table.own_name,
        index=found.index.name,
        fields=found.index.fields,
        lower=None,
        upper=None,
        words=words,
        invalidated_by=by,
        nearest=LookedNear(
            score=None if last is None else last.score,
            id=None if last is None else last.id,
            conditions=conditions,
        ),
    )


def _clause(clause: Clause, filters: Sequence[str]) -> str:
    # What was asked for is kept as digests.
    return " and ".join(f"{filters[place]} is as it was searched" for place, _ in clause)


# Bounds.


def _lower(start: bytes) -> Bound | None:
    if not start:
        return None
    values, after = decode_key(start)
    return Bound(tuple(values), is_inclusive=not after)


def _upper(end: bytes | None) -> Bound | None:
    if end is None:
        return None
    values, after = decode_key(end)
    return Bound(tuple(values), is_inclusive=bool(after))


def _conditions(fields: Sequence[str], lower: Bound | None, upper: Bound | None) -> list[str]:
    """Return what keys between two bounds have in common: equal fields, then a range of one."""
    low = () if lower is None else lower.values
    high = () if upper is None else upper.values
    at = 0
    while at < min(len(low), len(high)) and _same(low[at], high[at]):
        at += 1
    told = [f"{field} {_equal(value)}" for field, value in zip(fields, low[:at], strict=False)]
    if at < len(fields):
        # What follows only says where among equals the bound is: a document that was read is inside.
        name = fields[at]
        if lower is not None and len(low) > at:
            sign = ">=" if lower.is_inclusive or len(low) > at + 1 else ">"
            told.append(f"{name} {sign} {_value(fields[at], low[at])}")
        if upper is not None and len(high) > at:
            sign = "<=" if upper.is_inclusive or len(high) > at + 1 else "<"
            told.append(f"{name} {sign} {_value(fields[at], high[at])}")
    return told


def _same(one: Value, other: Value) -> bool:
    return type(one) is type(other) and (one == other or one is other)


def _equal(value: Value) -> str:
    return "missing" if value is UNSET else f"= {_value('', value)}"


def _value(field: str, value: Value) -> str:
    if value is UNSET:
        return "missing"
    if field == CREATION_TIME_FIELD and isinstance(value, int | float):
        return f"{value!r} ({_moment(value)})"
    return shortened(encode_value(value).decode())


def _moment(ms: float) -> str:
    try:
        return datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    except (OverflowError, ValueError, OSError):
        return "no date"


# What is Camber's own.


def _of_system(
    found: _Indexed, lower: Bound | None, upper: Bound | None, catalog: Catalog
) -> tuple[str, str]:
    """Return what an entry of a system table means, and what changes it."""
    table, index = found.table, found.index
    first = lower.values[0] if lower is not None and lower.values else None
    match table.name, index.name:
        case system_tables.RELEASES, _:
            return "which release serves", "a push"
        case system_tables.TABLES, "by_name":
            return f"that there is no table {first!s}", f"table {first!s} comes into being"
        case system_tables.TABLES, _:
            return "which tables there are", "a table comes into being, or goes"
        case system_tables.INDEXES, "by_table":
            name = None if not isinstance(first, int) else catalog.name(first)
            shown = "a new table" if name is None else name
            return f"which indexes {shown} has", f"a push that changes the indexes of {shown}"
        case system_tables.ENVIRONMENT_VARIABLES, _:
            return f"the variable {first!s}", f"{first!s} is set or removed"
        case _:
            where = " and ".join(_conditions(index.all_fields, lower, upper)) or "all of it"
            return f"{table.name}.{index.name}: {where}", f"{table.name} changes there"
