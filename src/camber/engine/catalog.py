"""Which tables and indexes there are.

A catalog is immutable; the engine replaces it when a commit touches `_tables` or `_indexes`. The
key of a document in an index is made here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, cast

from camber.occ.interval import IndexId
from camber.search.texts import filter_digest, text_key
from camber.search.tokens import text_words
from camber.search.vectors import direction, vector_key
from camber.storage.index_ids import by_creation_time_index, by_id_index
from camber.values.keys import encode_key, encode_part
from camber.values.timestamp import Timestamp
from camber.values.value import UNSET, Value

#: System fields as they are stored and sent.
ID_FIELD = "_id"
CREATION_TIME_FIELD = "_creationTime"


class IndexState(Enum):
    """What an index is for at the moment."""

    #: Queries read it.
    ENABLED = "enabled"
    #: Complete, but queries may not read it yet.
    STAGED = "staged"
    #: Staged, and being built in the background.
    STAGED_BACKFILLING = "staged backfilling"
    #: Being built for a push that goes on; an older index of the name may serve meanwhile.
    BACKFILLING = "backfilling"
    #: Neither read nor written any more. Its entries stay while snapshots from before the drop can
    #: be read.
    DROPPED = "dropped"


#: States in which an index has its name: queries that name it find it.
_NAMED = frozenset({IndexState.ENABLED, IndexState.STAGED, IndexState.STAGED_BACKFILLING})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One index of one table.

    `fields` are wire paths (`a.b`) without the tie-breaks: `_creationTime` and `_id` follow in
    every key of a declared index. `since` is the commit that put it into its state; 0 where that
    does not matter: for built-in indexes, and for a dropped one that nobody has ever read.
    """

    id: IndexId
    name: str
    fields: tuple[str, ...]
    unique: bool = False
    state: IndexState = IndexState.ENABLED
    since: Timestamp = 0
    #: How a text index cuts words: its fields are the one that is searched, then its filter fields.
    tokenizer: str | None = None
    #: How long the vectors of a vector index are: its fields are the vector, then its filter fields.
    dimensions: int | None = None
    #: The fields of every key, tie-breaks included.
    all_fields: tuple[str, ...] = field(init=False, repr=False, compare=False)
    #: Whether keys are in the order of the fields, and every document has one: it is not so where
    #: texts or vectors are searched.
    is_ordered: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_built_in = self.name in {"by_id", "by_creation_time"}
        ties = (ID_FIELD,) if is_built_in else (CREATION_TIME_FIELD, ID_FIELD)
        object.__setattr__(self, "all_fields", (*self.fields, *ties))
        is_ordered = self.tokenizer is None and self.dimensions is None
        object.__setattr__(self, "is_ordered", is_ordered)

    def key(self, document: dict[str, Value]) -> bytes | None:
        """Return where `document` (system fields included) stands in this index.

        None where it does not: what is searched is no text, or no vector of the index.
        """
        id_key = encode_part(document[ID_FIELD])
        return self.key_before(document, encode_part(document[CREATION_TIME_FIELD]), id_key)

    def key_before(
        self, document: dict[str, Value], time_key: bytes, id_key: bytes
    ) -> bytes | None:
        """Return the same, given the parts of the key that all indexes have at their end."""
        if not self.is_ordered:
            return self._searched_key(document, time_key, id_key)
        if self.name == "by_id":
            return id_key
        if self.name == "by_creation_time":
            return time_key + id_key
        parts = [encode_part(_at_path(document, path)) for path in self.fields]
        return b"".join((*parts, time_key, id_key))

    def _searched_key(
        self, document: dict[str, Value], time_key: bytes, id_key: bytes
    ) -> bytes | None:
        searched = _at_path(document, self.fields[0])
        if self.dimensions is not None:
            found = direction(searched, self.dimensions)
            if found is None:
                return None
            return vector_key(time_key, self._filters(document), found, id_key)
        assert self.tokenizer is not None
        if not isinstance(searched, str):
            return None
        words = text_words(searched, self.tokenizer)
        return text_key(time_key, self._filters(document), words, id_key)

    def _filters(self, document: dict[str, Value]) -> list[bytes]:
        return [filter_digest(part) for part in self.filter_parts(document)]

    def filter_parts(self, document: dict[str, Value]) -> list[bytes]:
        """Return the values of the filter fields of a text or vector index, as parts of keys."""
        return [encode_part(_at_path(document, path)) for path in self.fields[1:]]

    def unique_key(self, document: dict[str, Value]) -> bytes | None:
        """Return what must differ between documents of a unique index.

        None for a document that is exempt: one that lacks a field, or has null in it, as in SQL.
        """
        parts = [_at_path(document, path) for path in self.fields]
        return None if any(part is UNSET or part is None for part in parts) else encode_key(parts)


def _at_path(document: dict[str, Value], path: str) -> Value:
    if "." not in path:
        return document.get(path, UNSET)
    value: Value = document
    for name in path.split("."):
        if not isinstance(value, dict):
            return cast("Value", UNSET)
        value = value.get(name, UNSET)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """One table: its number, its name and its indexes by name, the built-in two included.

    The name is the full one, which the table has in the deployment: `ledger/entries` (`full_name`).
    """

    number: int
    name: str
    indexes: Mapping[str, IndexEntry]
    #: Indexes that are built for a push.
    pending: tuple[IndexEntry, ...] = ()
    #: Indexes whose entries wait to be removed.
    dropped: tuple[IndexEntry, ...] = ()
    #: All that writes keep up to date, the built-in two included.
    maintained: tuple[IndexEntry, ...] = field(default=())
    #: Those of them with entries of their own, which is all but `by_id`.
    stored: tuple[IndexEntry, ...] = field(default=())

    @property
    def declared(self) -> list[IndexEntry]:
        """Return all indexes but the built-in two, whatever their state."""
        built_in = {"by_id", "by_creation_time"}
        named = [entry for name, entry in self.indexes.items() if name not in built_in]
        return [*named, *self.pending, *self.dropped]

    #: Whether the table belongs to Camber.
    is_system: bool = field(init=False)
    #: Whether documents may have no key in one of the maintained indexes.
    is_searched: bool = field(init=False)
    #: The component it is a table of, and what it is called there.
    component: str = field(init=False)
    own_name: str = field(init=False)

    def __post_init__(self) -> None:
        component, _, own_name = self.name.rpartition("/")
        is_searched = not all(index.is_ordered for index in self.maintained)
        object.__setattr__(self, "is_searched", is_searched)
        object.__setattr__(self, "is_system", self.name.startswith("_"))
        object.__setattr__(self, "component", component)
        object.__setattr__(self, "own_name", own_name)

    def keys(self, document: dict[str, Value]) -> dict[IndexId, bytes]:
        """Return where `document` (system fields included) stands in the maintained indexes."""
        id_key = encode_part(document[ID_FIELD])
        time_key = encode_part(document[CREATION_TIME_FIELD])
        keys = {index.id: index.key_before(document, time_key, id_key) for index in self.maintained}
        if not self.is_searched:
            return cast("dict[IndexId, bytes]", keys)
        return {index: key for index, key in keys.items() if key is not None}


def table_entry(number: int, name: str, declared: Iterable[IndexEntry]) -> TableEntry:
    """Return a table with `by_id` and `by_creation_time` beside its declared indexes."""
    by_id = IndexEntry(id=by_id_index(number), name="by_id", fields=())
    by_creation_time = IndexEntry(
        id=by_creation_time_index(number), name="by_creation_time", fields=(CREATION_TIME_FIELD,)
    )
    entries = list(declared)
    named = [entry for entry in entries if entry.state in _NAMED]
    pending = [entry for entry in entries if entry.state is IndexState.BACKFILLING]
    maintained = (by_id, by_creation_time, *named, *pending)
    return TableEntry(
        number=number,
        name=name,
        indexes={entry.name: entry for entry in (by_id, by_creation_time, *named)},
        pending=tuple(pending),
        dropped=tuple(entry for entry in entries if entry.state is IndexState.DROPPED),
        maintained=maintained,
        stored=maintained[1:],
    )


def full_name(component: str, name: str) -> str:
    """Return what a component's table is called in the deployment: `ledger/entries`.

    Tables of the application itself are called as they are, and so are Camber's, which are nobody's
    own.
    """
    return name if not component or name.startswith("_") else f"{component}/{name}"


class TableNumbers(Protocol):
    """Gives tables their numbers and names: a catalog, or a transaction with new tables."""

    def number(self, name: str) -> int | None:
        """Return the number of a table by its full name."""

    def name(self, number: int) -> str | None:
        """Return the full name of a table."""


class ComponentTables:
    """The tables of one component by the names that they have there; there are no others."""

    __slots__ = ("_component", "_tables")

    def __init__(self, tables: TableNumbers, component: str) -> None:
        self._tables = tables
        self._component = component

    def number(self, name: str) -> int | None:
        """Return the number of the table called `name` in the component."""
        return self._tables.number(full_name(self._component, name))

    def name(self, number: int) -> str | None:
        """Return what the table of that number is called in the component."""
        name = self._tables.name(number)
        if name is None or name.startswith("_"):
            return name
        component, _, own_name = name.rpartition("/")
        return own_name if component == self._component else None


def tables_of(tables: TableNumbers, component: str) -> TableNumbers:
    """Return the tables of a component by their names there."""
    return ComponentTables(tables, component) if component else tables


class Catalog:
    """All tables of a deployment at one moment. Immutable; gives tables their numbers and names."""

    __slots__ = ("_by_name", "_by_number")

    def __init__(self, tables: Iterable[TableEntry]) -> None:
        self._by_name = {table.name: table for table in tables}
        self._by_number = {table.number: table for table in self._by_name.values()}

    def by_name(self, name: str) -> TableEntry | None:
        """Return the table called `name`."""
        return self._by_name.get(name)

    def by_number(self, number: int) -> TableEntry | None:
        """Return the table whose ids carry `number`."""
        return self._by_number.get(number)

    def number(self, name: str) -> int | None:
        """Return the number of the table called `name`."""
        table = self._by_name.get(name)
        return None if table is None else table.number

    def name(self, number: int) -> str | None:
        """Return the name of the table whose ids carry `number`."""
        table = self._by_number.get(number)
        return None if table is None else table.name

    def tables(self) -> list[TableEntry]:
        """Return all tables, in order of number."""
        return sorted(self._by_name.values(), key=lambda table: table.number)

    def without_table(self, number: int) -> Catalog:
        """Return a catalog that lacks the table whose ids carry `number`."""
        return Catalog(table for table in self._by_name.values() if table.number != number)

    def with_table(self, table: TableEntry) -> Catalog:
        """Return a catalog in which `table` is added or replaced."""
        tables = dict(self._by_name)
        previous = self._by_number.get(table.number)
        if previous is not None:
            del tables[previous.name]
        tables[table.name] = table
        return Catalog(tables.values())
