"""Data for systems that follow ours: a listing at one moment, then what has changed (protocol 8.9).

A page of the listing is read at the listing's moment; deltas come from history, commit by commit.
Neither keeps anything between two pages, so whoever follows may stay away for as long as history
is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from camber import limits
from camber.engine.catalog import ID_FIELD, Catalog, TableEntry
from camber.engine.engine import Engine
from camber.engine.system_tables import USER_TABLE_NUMBER_MIN
from camber.errors import BadRequest, OutOfRetention
from camber.occ.interval import ALL, Interval, Order
from camber.storage.index_ids import by_id_index
from camber.storage.store import Revision, TooManyRevisions
from camber.values.keys import encode_key
from camber.values.packed import unpack
from camber.values.paths import is_component_path
from camber.values.timestamp import Timestamp
from camber.values.value import Value
from camber.values.wire import BadJson, Format, decode_json, encode_format, encode_json

_OTHER: Final = "_other"
_EXCLUDED: Final = frozenset({"excluded", "excl"})
_INCLUDED: Final = frozenset({"included", "incl"})


class Selection:
    """Which tables and fields somebody wants, as `selection` of a request says it."""

    def __init__(self, selection: object) -> None:
        """Read a selection; None is everything.

        Raises:
            BadRequest: it is none (code BadSelection).
        """
        parts: Mapping[str, Any] = {} if selection is None else _mapping(selection, "selection")
        for path, part in parts.items():
            if path == _OTHER:
                _is_included(part, "selection._other")
            elif not is_component_path(path):
                msg = f"selection names the component {path!r}, which cannot be one"
                raise BadRequest(msg, code="BadSelection")
        other = parts.get(_OTHER, "included" if selection is None else "excluded")
        self._other = _Component.parse(other, "selection._other")
        self._components = {
            path: _Component.parse(
                part, f"selection of component {path!r}" if path else "selection"
            )
            for path, part in parts.items()
            if path != _OTHER
        }

    @property
    def components(self) -> Iterable[str]:
        """Return the paths of the components that it says something of."""
        return self._components.keys()

    def has_table(self, table: str) -> bool:
        """Return whether anything of a table is wanted, by its full name."""
        component, name = self._of(table)
        choice = component.columns.get(name)
        return component.tables.includes(name) if choice is None else choice.is_wanted

    def fields(self, table: str, document: dict[str, Value]) -> dict[str, Value]:
        """Return the wanted fields of a document, of which `_id` is always one."""
        component, name = self._of(table)
        choice = component.columns.get(name)
        if choice is None:
            return document
        return {
            name: value
            for name, value in document.items()
            if name == ID_FIELD or choice.includes(name)
        }

    def _of(self, table: str) -> tuple[_Component, str]:
        path, _, name = table.rpartition("/")
        return self._components.get(path, self._other), name


@dataclass(frozen=True, slots=True)
class _Component:
    """What is said of the tables of a component, and of the fields of some of them."""

    tables: _Choice
    columns: Mapping[str, _Choice]

    @classmethod
    def parse(cls, part: object, place: str) -> _Component:
        tables = _Choice.parse(part, place)
        columns = {
            name: _Choice.parse(said, f"selection of {name!r}")
            for name, said in tables.named.items()
        }
        return cls(tables, columns)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is said of each of several things by name, and of all others."""

    named: Mapping[str, Any]
    other: bool
    #: Whether any of them may be wanted.
    is_wanted: bool

    @classmethod
    def parse(cls, part: object, place: str) -> _Choice:
        if isinstance(part, str):
            included = _is_included(part, place)
            return cls({}, included, included)
        parts = dict(_mapping(part, place))
        other = _is_included(parts.pop(_OTHER, "excluded"), f"{place}._other")
        return cls(parts, other, is_wanted=True)

    def includes(self, name: str) -> bool:
        if name not in self.named:
            return self.other
        return _is_included(self.named[name], name)


def _mapping(part: object, place: str) -> Mapping[str, Any]:
    if isinstance(part, dict):
        return part
    msg = f"{place} should be an object, included or excluded, and is {part!r}"
    raise BadRequest(msg, code="BadSelection")


def _is_included(part: object, place: str) -> bool:
    if part in _INCLUDED:
        return True
    if part in _EXCLUDED:
        return False
    msg = f"{place} should be included or excluded, and is {part!r}"
    raise BadRequest(msg, code="BadSelection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request wants of the data, and in which form."""

    selection: Selection
    #: One component only, and one table only, by its full name.
    component: str | None
    table: str | None
    form: Format

    def has_table(self, name: str) -> bool:
        """Return whether a table is wanted, by its full name."""
        if self.component is not None and name.rpartition("/")[0] != self.component:
            return False
        return self.table in {None, name} and self.selection.has_table(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPage:
    """Some documents of a listing; `cursor` is where the next page begins, None at the end."""

    values: list[msgspec.Raw]
    snapshot: Timestamp
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltasPage:
    """Some changes, all up to and including the commit at `cursor`."""

    values: list[msgspec.Raw]
    cursor: Timestamp
    has_more: bool


class StreamingExport:
    """Listings and deltas of one deployment. Blocking, but for its making."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_snapshot(
        self, wanted: Wanted, *, snapshot: Timestamp | None, cursor: str | None
    ) -> SnapshotPage:
        """Return the next documents, by table and id, as they were at `snapshot`.

        Without one it is now, and the first page.

        Raises:
            BadRequest: the moment is too long ago (SnapshotTooOld) or yet to come, or there is no
                such cursor or table.
        """
        newest = self._engine.newest_ts
        ts = newest if snapshot is None else self._known(snapshot, newest)
        catalog = self._engine.catalog_at(ts).catalog
        tables = self._tables(catalog, wanted)
        number, id_ = (0, "") if cursor is None else _parse_cursor(cursor)
        values: list[msgspec.Raw] = []
        size = 0
        for table in tables:
            if table.number < number:
                continue
            rest = ALL
            if table.number == number and id_:
                rest = Interval(encode_key([id_]) + b"\0", None)
            with closing(self._documents(table, ts, rest)) as documents:
                for packed in documents:
                    document = unpack(packed)
                    assert isinstance(document, dict)
                    values.append(_row(wanted, table.name, ts, document, b""))
                    size += len(packed)
                    if (
                        len(values) >= limits.snapshot_page_documents_max
                        or size >= limits.snapshot_page_bytes_max
                    ):
                        place = {"id": document[ID_FIELD], "table": table.number}
                        after = encode_json(place).decode()
                        return SnapshotPage(values=values, snapshot=ts, cursor=after)
        return SnapshotPage(values=values, snapshot=ts, cursor=None)

    def _documents(
        self, table: TableEntry, ts: Timestamp, rest: Interval
    ) -> Generator[bytes, None, None]:
        count = limits.export_batch_documents_max
        try:
            snapshot = self._engine.store.snapshot(ts)
        except OutOfRetention:
            raise _too_old("SnapshotTooOld", f"the snapshot {ts}") from None
        with snapshot:
            while True:
                rows = snapshot.scan(
                    table.number, by_id_index(table.number), rest, Order.ASC, count
                )
                for row in rows:
                    yield row.packed
                if len(rows) < count:
                    return
                rest = Interval(rows[-1].key + b"\0", None)

    @staticmethod
    def _known(snapshot: Timestamp, newest: Timestamp) -> Timestamp:
        if snapshot > newest:
            msg = f"the snapshot {snapshot} lies ahead: the newest is {newest}"
            raise BadRequest(msg, code="BadSnapshot")
        return snapshot

    def document_deltas(self, wanted: Wanted, *, cursor: Timestamp) -> DeltasPage:
        """Return what was written after the commit at `cursor`, commit by commit.

        Raises:
            BadRequest: that was too long ago, or too much was written at once (CursorTooOld).
        """
        newest = self._engine.newest_ts
        if cursor > newest:
            msg = f"the cursor {cursor} lies ahead: the newest is {newest}"
            raise BadRequest(msg, code="BadCursor")
        try:
            found = self._engine.store.revisions(
                since=cursor,
                upto=newest,
                wanted=lambda table: table >= USER_TABLE_NUMBER_MIN,
                rows_max=limits.deltas_page_documents,
                commits_max=limits.deltas_page_commits_max,
                commit_rows_max=limits.deltas_commit_documents_max,
            )
        except OutOfRetention:
            raise _too_old("CursorTooOld", f"the cursor {cursor}") from None
        except TooManyRevisions as error:
            msg = (
                f"the commit at {error.ts} changed more than {limits.deltas_commit_documents_max} "
                "documents, too many to be told one by one: begin anew with list_snapshot"
            )
            raise BadRequest(msg, code="CursorTooOld") from None
        values = []
        for revision in found.rows:
            name = self._name(revision)
            if name is not None and wanted.has_table(name):
                values.append(_delta(wanted, name, revision))
        return DeltasPage(values=values, cursor=found.through, has_more=found.through < newest)

    def _name(self, revision: Revision) -> str | None:
        """Return the name of a table as of a commit; of what is gone, as it was before."""
        at = revision.ts if revision.packed is not None else revision.ts - 1
        name = self._engine.catalog_at(at).catalog.name(revision.table)
        return name or self._engine.catalog_at(revision.ts).catalog.name(revision.table)

    def _tables(self, catalog: Catalog, wanted: Wanted) -> list[TableEntry]:
        if wanted.table is not None:
            found = catalog.by_name(wanted.table)
            # A table that has not been written to yet has no documents.
            return [] if found is None or found.is_system else self._wanted([found], wanted)
        return self._wanted([t for t in catalog.tables() if not t.is_system], wanted)

    @staticmethod
    def _wanted(tables: list[TableEntry], wanted: Wanted) -> list[TableEntry]:
        return [table for table in tables if wanted.has_table(table.name)]


def _parse_cursor(text: str) -> tuple[int, str]:
    try:
        found = decode_json(text)
        number, id_ = found["table"], found["id"]
    except (BadJson, KeyError, TypeError):
        number = id_ = None
    if type(number) is not int or not isinstance(id_, str):
        msg = f"{text!r} is no cursor of list_snapshot"
        raise BadRequest(msg, code="BadCursor")
    return number, id_


def _too_old(code: str, what: str) -> BadRequest:
    msg = f"{what} is older than the history that is kept: begin anew with list_snapshot"
    return BadRequest(msg, code=code)


def _delta(wanted: Wanted, table: str, revision: Revision) -> msgspec.Raw:
    if revision.packed is None:
        document: Value = {ID_FIELD: revision.id}
        deleted = b'"_deleted":true,'
    else:
        document = unpack(revision.packed)
        deleted = b'"_deleted":false,'
    assert isinstance(document, dict)
    return _row(wanted, table, revision.ts, document, deleted)


def _row(
    wanted: Wanted, table: str, ts: Timestamp, document: dict[str, Value], more: bytes
) -> msgspec.Raw:
    """Return a document as JSON, with what is said of it in front.

    Put together as text: its timestamp is an integer beyond what a float64 has, and its fields are
    in a form of their own.
    """
    fields = encode_format(wanted.selection.fields(table, document), wanted.form)
    component, _, own_name = table.rpartition("/")
    whose, name = encode_json(component), encode_json(own_name)
    about = b'{"_component":%b,"_table":%b,"_ts":%d,%b' % (whose, name, ts, more)
    return msgspec.Raw(about + fields[1:])
