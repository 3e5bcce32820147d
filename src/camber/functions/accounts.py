"""What the queries of one run have read, by which index, and what came of it.

An account is kept where somebody asks for one: of a run that is explained, and of every run of a
server that warns of scans. All others build their queries without it and pay nothing. Scans of the
same place in the code, by the same index, are one entry: a loop makes no more of them than it has lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from camber import limits
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD, IndexEntry, full_name
from camber.functions.conditions import AnyOf, Range
from camber.functions.database import DatabaseAccess, Query, Rows, Source, nearest_documents
from camber.functions.definition import Function
from camber.functions.determinism.user_code import is_user_module
from camber.functions.index_advice import Asked, IndexAdvice, advice
from camber.functions.pagination import Page
from camber.functions.source_conditions import (
    NOTHING,
    Conditions,
    Place,
    asked_later,
    chain_at,
    conditions_of,
)
from camber.functions.vector_search import VectorHit, VectorSearch, vector_query
from camber.occ.interval import IndexId, Interval
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery
from camber.storage.store import Row
from camber.values.packed import unpack
from camber.values.value import UNSET

Doc = TypeVar("Doc")


#: A search of an index, as `search_key` tells it from others, and its conditions in words.
SearchedBy: TypeAlias = tuple[IndexId, bytes, tuple[str, ...]]


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A function that ran: the one that was called, or one that it, or another, has called."""

    path: str
    component: str
    kind: str
    #: The place of its caller among the functions; None for the first.
    caller: int | None
    times: int
    #: Items of its last result, if that is a list or a page.
    items: int | None


class ScanReport(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Scans of one index, from one place in the code."""

    #: The place of its function among those that ran; None before one did: of a guard.
    function: int | None
    #: Whether row rules have read it.
    is_rule: bool
    component: str
    table: str
    index: str
    fields: tuple[str, ...]
    #: The first one's, in words.
    conditions: tuple[str, ...]
    order: str
    search: str | None
    #: How it was read: `take(20)`.
    ending: str
    where: str | None
    times: int
    documents: int
    bytes: int
    #: Documents that the row rule has withheld; those that all filters let through.
    withheld: int
    given: int
    has_filters: bool
    #: Nobody may read a row of it, by its rule: so nothing was read.
    hides_all: bool
    advice: IndexAdvice | None
    #: What a search of vectors has found, which reads no documents; None for all others.
    hits: int | None = None


@dataclass(slots=True)
class _Called:
    function: Function[..., Any]
    component: str
    caller: int | None
    times: int = 0
    items: int | None = None


@dataclass(slots=True, kw_only=True)
class _Scanned:
    """Scans of one place, by one index, as they are counted."""

    source: Source
    place: Place | None
    module: str
    function: int | None
    is_rule: bool
    access: DatabaseAccess
    given_conditions: Mapping[str, Any]
    search: str | None
    ending: str
    filters: tuple[Callable[[Any], Any], ...]
    is_ruled: bool
    hides_all: bool
    times: int = 0
    documents: int = 0
    bytes: int = 0
    withheld: int = 0
    accepted: int = 0

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return in words what the index was given."""
        return tuple(_in_words(path, value) for path, value in self.given_conditions.items())

    @property
    def own_filters(self) -> tuple[Callable[[Any], Any], ...]:
        """Return the filters without that of the row rule, which goes before them."""
        return self.filters[1:] if self.is_ruled else self.filters

    @property
    def given(self) -> int:
        """Return how many documents the code got."""
        return self.accepted if self.filters else self.documents

    def asked(self) -> Conditions:
        """Return what is asked of the documents beyond the index, as far as the source says."""
        found = NOTHING
        for predicate in self.own_filters:
            found += conditions_of(predicate)
        # Of what is taken of the first documents only, an index would take others.
        reads_all = self.ending in {"collect()", "a loop"}
        return found + (asked_later(self.place) if self.place and reads_all else NOTHING)

    def advice(self) -> IndexAdvice | None:
        """Return the index that would help."""
        source = self.source
        return advice(
            Asked(
                table=source.table,
                declared=self.access.declared(source.table.own_name),
                index=source.index,
                given=self.given_conditions,
                conditions=self.asked(),
                chain=None if self.place is None else chain_at(self.place),
                is_ordered=self.ending != "count()",
            )
        )

    def report(self, where: str | None, found: IndexAdvice | None) -> ScanReport:
        """Return what is told of it."""
        source = self.source
        return ScanReport(
            function=self.function,
            is_rule=self.is_rule,
            component=self.access.component,
            table=source.table.own_name,
            index=source.index.name,
            fields=source.index.fields,
            conditions=self.conditions,
            order=source.order.value,
            search=None if self.search is None else shortened(self.search),
            ending=self.ending,
            where=where,
            times=self.times,
            documents=self.documents,
            bytes=self.bytes,
            withheld=self.withheld,
            given=self.given,
            has_filters=bool(self.own_filters),
            hides_all=self.hides_all,
            advice=found,
        )


@dataclass(slots=True, kw_only=True)
class _Nearest:
    """Searches of vectors from one place, as they are counted."""

    asked: VectorSearch
    index: IndexEntry
    place: Place | None
    module: str
    function: int | None
    access: AccountedAccess
    times: int = 0
    hits: int = 0

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return in words of which conditions one must hold."""
        return tuple(
            " and ".join(_in_words(path, _stored(values)) for path, values in clause)
            for clause in self.asked.clauses
        )

    def report(self, where: str | None) -> ScanReport:
        """Return what is told of it."""
        return ScanReport(
            function=self.function,
            is_rule=self.access.is_rule,
            component=self.access.component,
            table=self.asked.table,
            index=self.index.name,
            fields=self.index.fields,
            conditions=() if not self.conditions else (" or ".join(self.conditions),),
            order="desc",
            search=None,
            ending=f"limit {self.asked.limit}",
            where=where,
            times=self.times,
            documents=0,
            bytes=0,
            withheld=0,
            given=self.hits,
            has_filters=False,
            hides_all=False,
            advice=None,
            hits=self.hits,
        )


def _stored(values: tuple[bytes | None, ...]) -> Any:
    """Return what a field is compared with, as it was given."""
    found = [UNSET if each is None else unpack(each) for each in values]
    return found[0] if len(found) == 1 else AnyOf(tuple(found))


def search_key(query: TextQuery | VectorQuery) -> bytes:
    """Return what tells a search of an index from others."""
    return msgspec.msgpack.encode(query)


#: Where a place in code is, for people: its file below the application's root; None elsewhere.
Placed = Callable[[str, str], str | None]


@dataclass(slots=True)
class Account:
    """The functions of a run and their scans."""

    _called: dict[tuple[int | None, int], int] = field(default_factory=dict)
    _functions: list[_Called] = field(default_factory=list)
    _running: list[int] = field(default_factory=list)
    _scans: dict[Any, _Scanned] = field(default_factory=dict)
    #: Places beyond those that are kept.
    _dropped: int = 0
    #: The conditions of searches, of which the read set has digests.
    _searched: dict[tuple[IndexId, bytes], tuple[str, ...]] = field(default_factory=dict)
    _nearest: dict[Any, _Nearest] = field(default_factory=dict)

    def following(self, function: Function[..., Any], component: str) -> Callable[..., Any]:
        """Return what runs a function and notes that it does."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            called = self._enter(function, component)
            try:
                result = function.handler(*arguments, **keywords)
            finally:
                self._running.pop()
            called.items = _items(result)
            return result

        return run

    def _enter(self, function: Function[..., Any], component: str) -> _Called:
        caller = self._running[-1] if self._running else None
        key = (caller, id(function))
        at = self._called.get(key)
        if at is None:
            at = self._called[key] = len(self._functions)
            self._functions.append(_Called(function, component, caller))
        self._running.append(at)
        called = self._functions[at]
        called.times += 1
        return called

    def begin(
        self, query: AccountedQuery[Any], source: Source, place: Place | None, module: str
    ) -> _Scanned | None:
        """Return where a scan is counted; None if there are too many places by now."""
        scanned = query.scanned(source, place, module, self._running[-1] if self._running else None)
        if source.text is not None:
            self._search(source.index.id, source.text, scanned.conditions)
        key = (
            None if scanned.function is None else self._path_to(scanned.function),
            scanned.is_rule,
            source.index.id,
            tuple(scanned.given_conditions),
            scanned.ending,
            *(getattr(each, "__code__", None) for each in scanned.own_filters),
            place,
        )
        known = self._scans.get(key)
        if known is None:
            if len(self._scans) >= limits.explained_scans_max:
                self._dropped += 1
                return None
            known = self._scans[key] = scanned
        known.times += 1
        return known

    def nearest(
        self,
        access: AccountedAccess,
        asked: VectorSearch,
        index: IndexEntry,
        hits: Sequence[object],
    ) -> None:
        """Count a search of vectors."""
        place, module = _user_place()
        searched = _Nearest(
            asked=asked,
            index=index,
            place=place,
            module=module,
            function=self._running[-1] if self._running else None,
            access=access,
        )
        query = vector_query(index, asked, name=index.name)
        self._search(index.id, query, searched.conditions)
        key = (searched.function, access.is_rule, index.id, place)
        if key not in self._nearest and len(self._nearest) >= limits.explained_scans_max:
            self._dropped += 1
            return
        known = self._nearest.setdefault(key, searched)
        known.times += 1
        known.hits += len(hits)

    def _search(
        self, index: IndexId, query: TextQuery | VectorQuery, conditions: tuple[str, ...]
    ) -> None:
        if len(self._searched) < limits.explained_scans_max:
            self._searched[index, search_key(query)] = conditions

    def _path_to(self, function: int) -> tuple[str, ...]:
        """Return what was called for a function to run: the same in every run."""
        called = self._functions[function]
        before = () if called.caller is None else self._path_to(called.caller)
        return (*before, f"{called.component}/{called.function.path}")

    @property
    def functions(self) -> tuple[CalledFunction, ...]:
        """Return the functions that ran, each after its caller."""
        return tuple(
            CalledFunction(
                path=each.function.path,
                component=each.component,
                kind=each.function.kind.value,
                caller=each.caller,
                times=each.times,
                items=each.items,
            )
            for each in self._functions
        )

    @property
    def searched(self) -> tuple[SearchedBy, ...]:
        """Return what searches looked for, with their conditions in words."""
        return tuple((*search, words) for search, words in self._searched.items())

    @property
    def dropped(self) -> int:
        """Return how many scans were not counted, since there were too many places."""
        return self._dropped

    def scans(self, placed: Placed) -> tuple[ScanReport, ...]:
        """Return all scans, with an index that would help those that need one."""
        return (
            *(
                each.report(_where(each, placed), each.advice() if _is_wasteful(each) else None)
                for each in self._scans.values()
            ),
            *(each.report(_where(each, placed)) for each in self._nearest.values()),
        )

    def wasteful(self, placed: Placed, told: set[object]) -> tuple[ScanReport, ...]:
        """Return the scans that read far more than they, or their functions, return.

        Those that are in `told` are not told again, and the others go there.
        """
        found: list[ScanReport] = []
        for key, each in self._scans.items():
            if each.documents < limits.scan_warning_documents_min or each.is_rule:
                continue
            if each.documents < limits.scan_warning_ratio_min * max(1, self._returned(each)):
                continue
            if key in told or len(told) >= limits.scan_warnings_kept:
                continue
            told.add(key)
            # What is filtered is wasted even where nobody can say how not to.
            advised = each.advice()
            if advised is not None or each.own_filters:
                found.append(each.report(_where(each, placed), advised))
        return tuple(found)

    def _returned(self, scanned: _Scanned) -> int:
        """Return how much came of a scan: what filters let through, or what its function returned."""
        if scanned.own_filters or scanned.function is None:
            return scanned.given
        items = self._functions[scanned.function].items
        return 1 if items is None else items


def _is_wasteful(scanned: _Scanned) -> bool:
    """Return whether it is worth while to look for an index."""
    return not scanned.is_rule and (bool(scanned.own_filters) or scanned.documents > 1)


def _where(scanned: _Scanned | _Nearest, placed: Placed) -> str | None:
    if scanned.place is None:
        return None
    file = placed(scanned.place.code.co_filename, scanned.module)
    return None if file is None else f"{file}:{scanned.place.line}"


class AccountedAccess(DatabaseAccess, frozen=True, kw_only=True):
    """What a database works with whose queries are counted."""

    account: Account
    is_rule: bool = False

    def query(self, name: str) -> Query[Any]:
        """Return a query that is counted."""
        return AccountedQuery(self, name)

    def nearest(self, asked: VectorSearch) -> list[VectorHit[Any]]:
        """Return the nearest documents, and count that."""
        hits = nearest_documents(self, asked)
        table = self.transaction.catalog.by_name(full_name(self.component, asked.table))
        if table is not None:
            self.account.nearest(self, asked, table.indexes[asked.index], hits)
        return hits


def accounted(access: DatabaseAccess, account: Account, *, is_rule: bool) -> AccountedAccess:
    """Return the same access with queries that are counted in `account`."""
    return AccountedAccess(
        transaction=access.transaction,
        tables=access.tables,
        component=access.component,
        names=access.names,
        cursors=access.cursors,
        stored=access.stored,
        pagination=access.pagination,
        rules=access.rules,
        account=account,
        is_rule=is_rule,
    )


class AccountedQuery(Query[Doc]):
    """A query that counts what it reads, and what becomes of that."""

    def __init__(self, access: AccountedAccess, table: str) -> None:
        super().__init__(access, table)
        self._account = access.account
        self._is_rule = access.is_rule
        self._ending = ""
        self._place: Place | None = None
        self._module = ""
        self._counted: _Scanned | None = None

    def count(self) -> int:
        """Return how many documents there are. Reads them all."""
        self._ending = "count()"
        return super().count()

    def __iter__(self) -> Iterator[Doc]:
        """Yield the documents, read as they are asked for."""
        self._ending = "a loop"
        return super().__iter__()

    def paginate(self, opts: Any, /) -> Page[Doc]:
        """Return one page; once per function execution."""
        self._ending = "paginate()"
        return super().paginate(opts)

    def accepts(self, document: Doc) -> bool:
        """Return whether all filters accept a document."""
        counted = self._counted
        if counted is None:
            return super().accepts(document)
        for at, predicate in enumerate(self._filters):
            if not predicate(document):
                counted.withheld += at == 0 and self._is_ruled
                return False
        counted.accepted += 1
        return True

    def scanned(
        self, source: Source, place: Place | None, module: str, function: int | None
    ) -> _Scanned:
        """Return an entry for what this is about to scan."""
        return _Scanned(
            source=source,
            place=place,
            module=module,
            function=function,
            is_rule=self._is_rule,
            access=self._access,
            given_conditions=self._paths(source.index, self._access.declared(self._table)),
            search=self._search,
            ending=self._ending,
            filters=tuple(self._filters),
            is_ruled=self._is_ruled,
            hides_all=self._hides_all,
        )

    def _read(self, most: int | None) -> list[Doc]:
        self._ending = "collect()" if most is None else f"take({most})"
        return super()._read(most)

    def _source(self) -> Source | None:
        # A loop reads later, but was written here.
        self._place, self._module = _user_place()
        return super()._source()

    def _scan(self, source: Source, interval: Interval, **expected: int) -> Rows:
        self._counted = self._account.begin(self, source, self._place, self._module)
        rows = super()._scan(source, interval, **expected)
        return rows if self._counted is None else _CountedRows(rows, self._counted)


class _CountedRows(Generic[Doc]):
    """Rows that are counted as they are taken."""

    __slots__ = ("_counted", "_rows")

    def __init__(self, rows: Rows, counted: _Scanned) -> None:
        self._rows = rows
        self._counted = counted

    def take(self, most: int) -> list[Row]:
        rows = self._rows.take(most)
        self._counted.documents += len(rows)
        self._counted.bytes += sum([len(row.packed) for row in rows])
        return rows

    def __iter__(self) -> _CountedRows[Doc]:
        return self

    def __next__(self) -> Row:
        row = next(self._rows)
        self._counted.documents += 1
        self._counted.bytes += len(row.packed)
        return row

    def close(self) -> None:
        self._rows.close()


def _user_place() -> tuple[Place | None, str]:
    """Return where user code stands that has led here, and in which module."""
    # The only way to look at one's callers.
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if is_user_module(module):
            return Place(frame.f_code, frame.f_lasti), str(module)
        frame = frame.f_back
    return None, ""


def _items(result: Any) -> int | None:
    if isinstance(result, Page):
        return len(result.page)
    return len(result) if isinstance(result, list | tuple) else None


_SHOWN: Final = {ID_FIELD: "id", CREATION_TIME_FIELD: "creation_time"}


def _in_words(path: str, value: Any) -> str:
    name = _SHOWN.get(path, path)
    if isinstance(value, Range):
        bounds = []
        if value.lower is not None:
            sign = ">=" if value.lower.inclusive else ">"
            bounds.append(f"{name} {sign} {_value(value.lower.value)}")
        if value.upper is not None:
            sign = "<=" if value.upper.inclusive else "<"
            bounds.append(f"{name} {sign} {_value(value.upper.value)}")
        return " and ".join(bounds)
    if isinstance(value, AnyOf):
        return f"{name} is one of {', '.join(map(_value, value.values))}"
    return f"{name} is missing" if value is UNSET else f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    try:
        return shortened(repr(value))
    # It may be of a class of the application's, which may raise anything when it is asked.
    except Exception:  # noqa: BLE001
        return f"a {type(value).__name__}"


def shortened(text: str) -> str:
    """Return a text, or the beginning of it."""
    most = limits.explained_text_length_max
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"
