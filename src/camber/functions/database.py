"""`ctx.db`: reading and writing documents within a transaction.

Documents of declared tables are typed objects, those of other tables are dicts with `_id` and
`_creationTime`. Every read is recorded by the transaction, every write is checked against the
schema before it is made (semantics 1.6, 1.7, 2.3, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from itertools import islice
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast, overload

import msgspec

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import (
    CREATION_TIME_FIELD,
    ID_FIELD,
    IndexEntry,
    IndexState,
    TableEntry,
    TableNumbers,
    full_name,
)
from camber.engine.transaction import Transaction
from camber.errors import DeveloperError
from camber.functions.conditions import SelectedKeys, select
from camber.functions.pagination import Page, PageStatus, PaginationOpts, PaginationState
from camber.functions.row_rules import RowRules, hides_all
from camber.functions.searching import checked_text, text_query
from camber.functions.system_documents import SYSTEM_DOCUMENTS
from camber.functions.vector_search import (
    VectorHit,
    VectorSearch,
    Where,
    place_of,
    vector_query,
    vector_search,
)
from camber.occ.cursors import Cursor, CursorCipher, InvalidCursor
from camber.occ.interval import ALL, Interval, Order
from camber.schema.annotations import Id
from camber.schema.table import (
    DeclaredTable,
    Index,
    SearchIndex,
    StoredDocuments,
    Table,
    VectorIndex,
)
from camber.search.texts import TextQuery
from camber.storage.store import Row
from camber.values.ids import InvalidId, decode_id
from camber.values.packed import pack, unpack
from camber.values.paths import is_identifier
from camber.values.size import nesting
from camber.values.value import COMMIT_TS, UNSET, CommitTs, InvalidValue, Value, canonical, check

D = TypeVar("D", bound=Table)
Doc = TypeVar("Doc")

_SPLIT_PAGE_ITEMS = limits.array_length_max * limits.page_split_recommended_percent // 100


class DatabaseAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What the database of one execution works with."""

    transaction: Transaction
    #: Declared user tables by name.
    tables: Mapping[str, DeclaredTable]
    #: Whose tables these are, and their names there.
    component: str = ""
    names: TableNumbers
    cursors: CursorCipher
    #: Where documents are kept that a result may hand on.
    stored: StoredDocuments
    pagination: PaginationState = msgspec.field(default_factory=PaginationState)
    #: Which rows may be read and written; all if there are no rules.
    rules: RowRules | None = None

    def entry(self, name: str) -> TableEntry | None:
        """Return a table of the component; one that is not there is recorded as absent."""
        return self.transaction.table(full_name(self.component, name))

    def declared(self, name: str) -> DeclaredTable | None:
        """Return what is declared of a table."""
        return self.tables.get(name) or SYSTEM_DOCUMENTS.get(name)

    def query(self, name: str) -> Query[Any]:
        """Return a query over a table of the component."""
        return Query(self, name)

    def nearest(self, asked: VectorSearch) -> list[VectorHit[Any]]:
        """Return the nearest documents of those that may be read."""
        return nearest_documents(self, asked)

    def document(self, table: str, packed: bytes) -> Any:
        """Return a stored document as user code sees it."""
        declared = self.declared(table)
        if declared is None:
            return unpack(packed)
        if table in system_tables.READABLE:
            packed = _without_owner(packed)
        return declared.decode_document(packed, self.names)

    def unsaved(self, table: str, fields: dict[str, Value]) -> Any:
        """Return a document that has not been inserted: it has neither id nor creation time."""
        declared = self.declared(table)
        return dict(fields) if declared is None else declared.decode_unsaved(fields, self.names)

    def documents(self, table: str, packed: list[bytes]) -> list[Any]:
        """Return stored documents as user code sees them, to be handed on as they are."""
        declared = self.declared(table)
        if declared is None:
            return [unpack(each) for each in packed]
        if table in system_tables.READABLE:
            packed = [_without_owner(each) for each in packed]
        return declared.decode_documents(packed, self.names, self.stored)


class DatabaseReader:
    """Reads documents; `ctx.db` of a query."""

    def __init__(self, access: DatabaseAccess) -> None:
        self._access = access

    @property
    def system(self) -> SystemReader:
        """Return the reader of `_storage` and `_scheduled_functions`."""
        return SystemReader(self._access)

    @property
    def unrestricted(self) -> DatabaseReader:
        """Return the same without row rules, for code that decides by itself who sees what."""
        return DatabaseReader(msgspec.structs.replace(self._access, rules=None))

    @property
    def changes(self) -> int:
        """Return a number that differs from what it was if something has been written since."""
        return self._access.transaction.changes

    @overload
    def get(self, id: Id[D], /) -> D | None: ...

    @overload
    def get(self, id: str, /) -> Any: ...

    def get(self, id: Any, /) -> Any:
        """Return the document, or None if there is none.

        Raises:
            DeveloperError: `id` is no document id, or one of a system table.
        """
        return self._get(id)

    @overload
    def query(self, table: type[D], /) -> Query[D]: ...

    @overload
    def query(self, table: str, /) -> Query[Any]: ...

    def query(self, table: Any, /) -> Query[Any]:
        """Return a query over a table, given by its class or its name.

        A table that does not exist yet has no documents.
        """
        return self._query(self._table_name(table))

    def normalize_id(self, table: type[Table] | str, text: str) -> Any:
        """Return `text` if it is the id of a document of `table`, which need not exist; or None."""
        name = self._table_name(table)
        try:
            number = decode_id(text).table_number
        except (InvalidId, TypeError, AttributeError):
            return None
        entry = self._access.entry(name)
        return text if entry is not None and number == entry.number else None

    def vector_search(
        self, index: VectorIndex | str, vector: Sequence[float], limit: int, where: Where | None
    ) -> list[VectorHit[Any]]:
        """Return the nearest documents; `ctx.vector_search` says the rest."""
        table, name = place_of(index)
        table = self._table_name(table)
        names = self._access.names
        asked = search_of(self._access.declared(table), names, table, name, vector, limit, where)
        return self._access.nearest(asked)

    def _query(self, name: str) -> Query[Any]:
        return self._access.query(name).restricted()

    def _get(self, id_: object) -> Any:
        entry = self._entry_of(id_, "get")
        if entry is None:
            return None
        assert isinstance(id_, str)
        packed = self._access.transaction.get(id_)
        return None if packed is None else self._got(entry.own_name, packed)

    def _got(self, table: str, packed: bytes) -> Any:
        """Return a document that was got, or None if it may not be read."""
        (document,) = self._access.documents(table, [packed])
        rules = self._access.rules
        return document if rules is None or rules.may_read(table, document) else None

    def _entry_of(self, id_: object, operation: str) -> TableEntry | None:
        """Return the table of an id; None if it is of no table here."""
        number = _table_number(id_, operation)
        transaction = self._access.transaction
        entry = transaction.table_by_number(number)
        if entry is None:
            # A table of that number may come, and the document with it.
            transaction.depend_on_document(number, str(id_))
            return None
        self._refuse_foreign(entry.own_name, operation)
        if entry.component != self._access.component and not entry.is_system:
            msg = (
                f"cannot {operation} {id_!r}: it is the id of no table here, but of another "
                "component's. Ids of components are plain strings outside of them"
            )
            raise DeveloperError(msg, code="InvalidArgument")
        return entry

    def _table_name(self, table: object) -> str:
        name = _name_of(table)
        self._refuse_foreign(name, "use")
        if not isinstance(table, str) and self._access.declared(name) is None:
            msg = (
                f"table {name!r} of {getattr(table, '__name__', table)} is not declared here. Tables of "
                "components are reached through their functions"
            )
            raise DeveloperError(msg, code="InvalidTable")
        return name

    def _refuse_foreign(self, name: str, operation: str) -> None:
        if "/" in name:
            msg = (
                f"cannot {operation} table {name!r}: tables of components are reached through "
                "their functions"
            )
            raise DeveloperError(msg, code="InvalidTableName")
        if not name.startswith("_"):
            return
        if name in system_tables.READABLE:
            msg = f"cannot {operation} system table {name!r} here; read it with ctx.db.system"
        else:
            msg = f"cannot {operation} table {name!r}: names that start with '_' are Camber's own"
        raise DeveloperError(msg, code="SystemTableError")


class SystemReader(DatabaseReader):
    """Reads the system tables `_storage` and `_scheduled_functions`: what is the component's own."""

    def _refuse_foreign(self, name: str, operation: str) -> None:
        if name in system_tables.READABLE:
            return
        msg = (
            f"cannot {operation} table {name!r} with ctx.db.system, which reads "
            f"{' and '.join(sorted(system_tables.READABLE))}; use ctx.db"
        )
        raise DeveloperError(msg, code="SystemTableError")

    @property
    def unrestricted(self) -> SystemReader:
        """Return the same without row rules."""
        return SystemReader(msgspec.structs.replace(self._access, rules=None))

    def _query(self, name: str) -> Query[Any]:
        return _SystemQuery(self._access, name).restricted()

    def _get(self, id_: object) -> Any:
        entry = self._entry_of(id_, "get")
        assert entry is not None, "system tables are always there"
        packed = self._access.transaction.get(str(id_))
        if packed is None:
            return None
        owner = cast("dict[str, Any]", unpack(packed)).get(system_tables.COMPONENT_FIELD, "")
        if owner != self._access.component:
            return None
        return self._got(entry.own_name, packed)


class DatabaseVars:
    """What a mutation can write that is known only when it commits: `ctx.db.vars`."""

    @property
    def commit_ts(self) -> CommitTs:
        """Return what stands for the mutation's commit timestamp, and becomes it by the commit.

        It may be stored in a field declared as `CommitTs`, passed to queries and mutations that the
        mutation runs, and returned. Until the commit it is no number; in an index it comes behind
        every timestamp that there has been.
        """
        return cast("CommitTs", COMMIT_TS)


class DatabaseWriter(DatabaseReader):
    """Reads and writes documents; `ctx.db` of a mutation."""

    @property
    def unrestricted(self) -> DatabaseWriter:
        """Return the same without row rules, for code that decides by itself who may do what."""
        return DatabaseWriter(msgspec.structs.replace(self._access, rules=None))

    @property
    def vars(self) -> DatabaseVars:
        """Return what is known only when the mutation commits."""
        return _VARS

    @overload
    def insert(self, document: D, /) -> Id[D]: ...

    @overload
    def insert(self, table: str | type[Table], fields: Mapping[str, Any], /) -> Id[Any]: ...

    def insert(self, document: Any, fields: Any = None, /) -> Any:
        """Add a document and return its id: `insert(Message(...))` or `insert("messages", {...})`.

        Raises:
            SchemaEnforcementError: it does not fit its table.
            AccessDenied: its rules do not allow it.
        """
        if isinstance(document, Table):
            if fields is not None:
                msg = "insert takes a document, or a table and its fields; not both"
                raise DeveloperError(msg, code="InvalidArgument")
            name, value = _name_of(document), document
        else:
            name, value = self._table_name(document), fields
        self._refuse_foreign(name, "insert into")
        if not is_identifier(name):
            msg = f"{name!r} cannot name a table: letters, digits and '_', at most 64"
            raise DeveloperError(msg, code="InvalidTableName")
        _refuse_system_fields(value, {}, "insert")
        checked = self._encode(name, value, "insert")
        access = self._access
        if access.rules is not None:
            access.rules.check_insert(name, lambda: access.unsaved(name, checked))
        entry = access.entry(name)
        if entry is not None:
            self._check_unique(entry, checked, None)
        return access.transaction.insert(full_name(access.component, name), checked)

    def patch(self, id: str, fields: Mapping[str, Any] | None = None, /, **changes: Any) -> None:
        """Change some top-level fields; `UNSET` removes one.

        `patch(id, {"from": x})` is for names that are no keyword. A patch that changes nothing
        writes nothing.

        Raises:
            DeveloperError: there is no such document, or none that may be read (code
                NonexistentDocument).
            SchemaEnforcementError: the result would not fit its table.
            AccessDenied: the rules do not allow it.
        """
        entry, current = self._existing(id, "patch")
        declared = self._access.declared(entry.own_name)
        given: dict[str, Any] = dict(fields or {})
        for name, value in changes.items():
            given[name if declared is None else declared.wire_name(name)] = value
        _refuse_system_fields(given, current, "patch")
        for system in (ID_FIELD, CREATION_TIME_FIELD):
            given.pop(system, None)
        if declared is None:
            plain = {name: value for name, value in given.items() if value is not UNSET}
            encoded: dict[str, Value] = {**_checked_fields(plain, "patch")}
        else:
            encoded = declared.encode_patch(given, self._access.names)
        removed = {name for name, value in given.items() if value is UNSET}
        kept = {k: v for k, v in _own_fields(current).items() if k not in removed}
        encoded = {k: v for k, v in encoded.items() if k not in removed}
        self._replace(entry, current, {**kept, **encoded})

    def replace(self, id: str, document: Table | Mapping[str, Any], /) -> None:
        """Give a document a new body; its id and creation time stay.

        Raises:
            DeveloperError: there is no such document (code NonexistentDocument), or `document`
                is of another table (code InvalidTable).
            SchemaEnforcementError: it does not fit its table.
            AccessDenied: the rules do not allow it.
        """
        entry, current = self._existing(id, "replace")
        if isinstance(document, Table) and _name_of(document) != entry.own_name:
            msg = (
                f"cannot replace {id} of table {entry.own_name!r} with a document of table "
                f"{_name_of(document)!r}"
            )
            raise DeveloperError(msg, code="InvalidTable")
        _refuse_system_fields(document, current, "replace")
        value: Any = document
        if not isinstance(document, Table):
            value = {k: v for k, v in document.items() if k not in _SYSTEM_FIELDS}
        self._replace(entry, current, self._encode(entry.own_name, value, "replace"))

    def delete(self, id: str, /) -> None:
        """Remove a document.

        Raises:
            DeveloperError: there is no such document (code NonexistentDocument).
            AccessDenied: the rules do not allow it.
        """
        entry, current = self._existing(id, "delete")
        access = self._access
        if access.rules is not None:
            access.rules.check_delete(
                entry.own_name, lambda: access.document(entry.own_name, pack(current))
            )
        access.transaction.delete(id)

    def _replace(
        self, entry: TableEntry, current: dict[str, Value], fields: dict[str, Value]
    ) -> None:
        id_ = cast("str", current[ID_FIELD])
        _check_nesting(fields, entry.own_name)
        access = self._access
        if access.rules is not None:
            kept = {name: current[name] for name in _SYSTEM_FIELDS}
            access.rules.check_update(
                entry.own_name,
                lambda: access.document(entry.own_name, pack(current)),
                lambda: access.document(entry.own_name, pack({**fields, **kept})),
            )
        self._check_unique(entry, fields, id_)
        self._access.transaction.replace(id_, fields)

    def _existing(self, id_: object, operation: str) -> tuple[TableEntry, dict[str, Value]]:
        entry = self._entry_of(id_, operation)
        if entry is None:
            msg = f"cannot {operation} {id_!r}: it is the id of no table here"
            raise DeveloperError(msg, code="InvalidArgument")
        assert isinstance(id_, str)
        packed = self._access.transaction.get(id_)
        if packed is None or not self._may_read(entry.own_name, packed):
            # The same for both: nobody learns that there is a row that they may not read.
            msg = f"cannot {operation} {id_}: table {entry.own_name!r} has no such document"
            raise DeveloperError(msg, code="NonexistentDocument")
        return entry, cast("dict[str, Value]", unpack(packed))

    def _may_read(self, table: str, packed: bytes) -> bool:
        rules = self._access.rules
        return rules is None or rules.may_read(table, self._access.document(table, packed))

    def _encode(self, table: str, value: Any, operation: str) -> dict[str, Value]:
        declared = self._access.declared(table)
        if declared is None:
            if isinstance(value, Table):
                msg = (
                    f"table {table!r} of {type(value).__name__} is not declared in the functions "
                    "folder"
                )
                raise DeveloperError(msg, code="InvalidTable")
            return _checked_fields(value, operation)
        if isinstance(value, Table):
            fields = declared.encode_fields(value, self._access.names)
        elif isinstance(value, Mapping):
            by_wire_name = {declared.wire_name(name): item for name, item in value.items()}
            fields = declared.check(by_wire_name, self._access.names)
        else:
            raise _not_an_object(value, operation)
        _check_nesting(fields, table)
        return fields

    def _check_unique(
        self, entry: TableEntry, fields: dict[str, Value], own_id: str | None
    ) -> None:
        for index in entry.indexes.values():
            if not index.unique or index.state is not IndexState.ENABLED:
                continue
            prefix = index.unique_key(fields)
            if prefix is None:
                continue
            rows = self._access.transaction.scan(
                entry, index, Interval.prefix(prefix), Order.ASC, prefix=prefix, rows=2
            )
            for row in rows:
                id_ = cast("dict[str, Any]", unpack(row.packed))[ID_FIELD]
                if id_ != own_id:
                    # Which one is for those to know who may read it.
                    may_read = self._may_read(entry.own_name, row.packed)
                    shown = f"document {id_}" if may_read else "another document"
                    msg = (
                        f"index {entry.name}.{index.name} is unique, and {shown} has the same "
                        f"{', '.join(index.fields)} already"
                    )
                    raise DeveloperError(msg, code="UniqueIndexViolation")


class Rows(Protocol):
    """What a query reads: a scan of an index, or a search."""

    def take(self, most: int) -> list[Row]:
        """Return the next `most` rows; fewer at the end."""

    def __iter__(self) -> Iterator[Row]:
        """Return itself: rows are read as they are taken."""

    def __next__(self) -> Row:
        """Return the next row."""

    def close(self) -> None:
        """Take nothing more."""


class Query(Generic[Doc]):
    """A query being built. Each method may be used once, in this order.

    with_index or with_search_index, order, filter (any number), then first, unique, take, collect, paginate, count or
    iteration. Documents are read as they are consumed, and only those are depended on.
    """

    def __init__(self, access: DatabaseAccess, table: str) -> None:
        self._access = access
        self._table = table
        self._index = "by_creation_time"
        self._index_table = table
        self._conditions: dict[str, Any] = {}
        self._order: Order | None = None
        self._filters: list[Callable[[Doc], Any]] = []
        self._has_index = False
        #: What is searched for, if it is a search.
        self._search: str | None = None
        self._used = False
        self._is_ruled = False
        self._hides_all = False

    def with_index(
        self,
        index: Index | str,
        conditions: Mapping[str, Any] | None = None,
        /,
        **equalities: Any,
    ) -> Query[Doc]:
        """Read in the order of an index, within what the conditions select.

        A condition is a value that a field equals, or a range: `gt(3)`, `gte(a) & lt(b)`. Dotted
        names go into the mapping. `UNSET` is equal to a missing field.

        Raises:
            DeveloperError: the index has no such field, or the conditions are not equalities on
                its first fields and then at most one range.
        """
        query = self._chained("with_index")
        if query._has_index:  # noqa: SLF001
            msg = "with_index() may be called once, before order() and filter()"
            raise DeveloperError(msg, code="InvalidQuery")
        if isinstance(index, SearchIndex):
            raise _is_search_index(f"{index.table}.{index.name}")
        if isinstance(index, VectorIndex):
            raise _is_vector_index(f"{index.table}.{index.name}")
        query._has_index = True  # noqa: SLF001
        query._index = index if isinstance(index, str) else index.name  # noqa: SLF001
        if isinstance(index, Index):
            query._index_table = index.table  # noqa: SLF001
        query._conditions = _joined(conditions, equalities)  # noqa: SLF001
        return query

    def with_search_index(
        self,
        index: SearchIndex | str,
        search: str,
        equalities: Mapping[str, Any] | None = None,
        /,
        **more_equalities: Any,
    ) -> Query[Doc]:
        """Read the documents that have one of the words of `search`, best first.

        The last word may be the beginning of one. Equalities are on filter fields of the index;
        dotted names go into the mapping, and `UNSET` is equal to a missing field. At most 1,024
        documents are given, and 1,024 in each page.

        Raises:
            DeveloperError: the index has no such filter field, or there are too many.
        """
        query = self._chained("with_search_index")
        if query._has_index:  # noqa: SLF001
            msg = "with_search_index() may be called once, before filter(), and not after with_index()"
            raise DeveloperError(msg, code="InvalidQuery")
        query._has_index = True  # noqa: SLF001
        query._search = checked_text(search)  # noqa: SLF001
        query._index = index if isinstance(index, str) else index.name  # noqa: SLF001
        if not isinstance(index, str):
            query._index_table = index.table  # noqa: SLF001
        query._conditions = _joined(equalities, more_equalities)  # noqa: SLF001
        return query

    def order(self, order: Literal["asc", "desc"]) -> Query[Doc]:
        """Read in this direction; once, ascending by default."""
        query = self._chained("order")
        if query._search is not None:  # noqa: SLF001
            msg = "a search is in the order of relevance: order() cannot change it"
            raise DeveloperError(msg, code="InvalidQuery")
        if query._order is not None:  # noqa: SLF001
            msg = "order() may be called once"
            raise DeveloperError(msg, code="InvalidQuery")
        if order not in {"asc", "desc"}:
            msg = f'order() takes "asc" or "desc", not {order!r}'
            raise DeveloperError(msg, code="InvalidArgument")
        query._order = Order(order)  # noqa: SLF001
        return query

    def filter(self, predicate: Callable[[Doc], Any], /) -> Query[Doc]:
        """Keep only documents for which `predicate` is true. All that it sees count as read."""
        query = self._chained("filter")
        query._filters.append(predicate)  # noqa: SLF001
        return query

    def collect(self) -> list[Doc]:
        """Return all documents."""
        return self._read(None)

    def take(self, count: int, /) -> list[Doc]:
        """Return the first `count` documents."""
        if type(count) is not int or count < 0:
            msg = f"take() takes a non-negative integer, not {count!r}"
            raise DeveloperError(msg, code="InvalidArgument")
        return self._read(count)

    def first(self) -> Doc | None:
        """Return the first document, or None."""
        return next(iter(self.take(1)), None)

    def unique(self) -> Doc | None:
        """Return the only document, or None.

        Raises:
            DeveloperError: there are several (code NotUnique).
        """
        found = self.take(2)
        if len(found) == 2:
            ids = " and ".join(_id_of(document) for document in found)
            msg = f"unique() found more than one document of {self._table!r}: {ids}, at least"
            raise DeveloperError(msg, code="NotUnique")
        return found[0] if found else None

    def count(self) -> int:
        """Return how many documents there are. Reads them all."""
        source = self._source()
        if source is None:
            return 0
        with closing(self._scan(source, source.keys.interval)) as scan:
            if not self._filters:
                return len(scan.take(_ALL))
            return sum(map(self.accepts, self._each(scan)))

    def __iter__(self) -> Iterator[Doc]:
        """Yield the documents, read as they are asked for."""
        source = self._source()
        return iter(()) if source is None else self._iterated(source)

    def paginate(self, opts: Any, /) -> Page[Doc]:
        """Return one page; once per function execution.

        A page that a client watches keeps its boundaries, so it grows and shrinks and no document
        is lost between it and the next one (semantics 3.7).

        Raises:
            InvalidCursor: the cursor is not of this query; clients begin again.
            DeveloperError: `opts` is out of bounds, or there was a `paginate` before.
        """
        if not isinstance(opts, PaginationOpts):
            msg = f"paginate() takes PaginationOpts, not {type(opts).__name__}"
            raise DeveloperError(msg, code="InvalidArgument")
        state = self._access.pagination
        if state.used:
            msg = "a function may call paginate() once; call another function for another page"
            raise DeveloperError(msg, code="MultiplePaginatedDatabaseQueries")
        state.used = True
        _check_page_options(opts)
        source = self._source()
        return _Paginator(self, source, opts).page()

    # The reading itself.

    def restricted(self) -> Query[Doc]:
        """Return it with the rule of its table for reads, before all other filters."""
        rules = self._access.rules
        rule = None if rules is None else rules.reading(self._table)
        if rule is not None:
            self._filters.append(rule)
            self._is_ruled = True
            self._hides_all = rule is hides_all
        return self

    def _chained(self, method: str) -> Query[Doc]:
        """Return a query to go on with; this one is used up."""
        self._use(method)
        query: Query[Doc] = type(self)(self._access, self._table)
        query._index, query._index_table = self._index, self._index_table
        query._conditions, query._order = self._conditions, self._order
        query._filters, query._has_index = list(self._filters), self._has_index
        query._is_ruled, query._hides_all = self._is_ruled, self._hides_all
        query._search = self._search
        return query

    def _use(self, method: str) -> None:
        if self._used:
            msg = f"{method}() on a query that was used before; build a new one from ctx.db.query"
            raise DeveloperError(msg, code="InvalidQuery")
        self._used = True

    def _source(self) -> Source | None:
        """Return what to scan; None where the table does not exist."""
        self._use("reading")
        entry = self._access.entry(self._table)
        if entry is None:
            return None
        index = self._find_index(entry)
        declared = self._access.declared(self._table)

        encode = _condition_encoder(declared, self._access.names)
        paths = self._paths(index, declared)
        shown = f"index {entry.name}.{index.name}"
        if self._search is not None:
            text = text_query(index, self._search, paths, shown=shown, encode=encode)
            return Source(entry, index, _ALL_KEYS, Order.ASC, text)
        keys = select(index, paths, shown=shown, encode=encode)
        return Source(entry, index, keys, self._order or Order.ASC)

    def _find_index(self, entry: TableEntry) -> IndexEntry:
        shown = f"{self._table}.{self._index}"
        index = _named_index(entry, self._table, self._index_table, self._index)
        if index.dimensions is not None:
            raise _is_vector_index(shown)
        if (index.tokenizer is None) is not (self._search is None):
            if self._search is None:
                raise _is_search_index(shown)
            msg = f"{shown} is no search index: use with_index()"
            raise DeveloperError(msg, code="IndexNotFoundError")
        _check_enabled(index, shown)
        return index

    def _paths(self, index: IndexEntry, declared: DeclaredTable | None) -> dict[str, Any]:
        """Return the conditions by wire path."""
        found: dict[str, Any] = {}
        for name, value in self._conditions.items():
            path = name if declared is None else declared.wire_name(name)
            if path == "creation_time" and path not in index.fields:
                path = CREATION_TIME_FIELD
            elif path == "id" and path not in index.fields:
                path = ID_FIELD
            found[path] = value
        return found

    def _iterated(self, source: Source) -> Generator[Doc, None, None]:
        with closing(self._scan(source, source.keys.interval)) as scan:
            yield from filter(self.accepts, self._each(scan))

    def _each(self, scan: Rows) -> Iterator[Doc]:
        return (self._access.document(self._table, row.packed) for row in scan)

    def _read(self, most: int | None) -> list[Doc]:
        """Return the first documents that all filters accept."""
        source = self._source()
        if source is None or most == 0:
            return []
        expected = {} if most is None or self._filters else {"rows": most}
        with closing(self._scan(source, source.keys.interval, **expected)) as scan:
            if not self._filters:
                rows = scan.take(_ALL if most is None else most)
                return self._access.documents(self._table, [packed for _, packed in rows])
            # A step at a time: what comes after the last of them is not read.
            return list(islice(filter(self.accepts, self._each(scan)), most))

    def _scan(self, source: Source, interval: Interval, **expected: int) -> Rows:
        if self._hides_all:
            interval = _NOTHING
        if source.text is not None:
            return self._access.transaction.search(
                source.table, source.index, source.text, interval, **expected
            )
        return self._access.transaction.scan(
            source.table,
            source.index,
            interval,
            source.order,
            prefix=source.keys.prefix,
            **expected,
        )

    @property
    def has_filters(self) -> bool:
        """Return whether documents may be left out."""
        return bool(self._filters)

    @property
    def is_ruled(self) -> bool:
        """Return whether a rule is asked of each row, which may read more."""
        return self._is_ruled

    def accepts(self, document: Doc) -> bool:
        """Return whether all filters accept a document."""
        return all(predicate(document) for predicate in self._filters)


class _SystemQuery(Query[Doc]):
    """A query of a system table, of what is the component's own: by creation time, as ever."""

    def _source(self) -> Source | None:
        if self._index != "by_creation_time":
            msg = (
                f"{self._table} is read in the order of creation, or a document by its id: "
                f"with_index() takes no {self._index!r} here"
            )
            raise DeveloperError(msg, code="IndexNotFoundError")
        self._index = system_tables.BY_COMPONENT
        owner = self._access.component or UNSET
        self._conditions = {system_tables.COMPONENT_FIELD: owner, **self._conditions}
        return super()._source()


class Source(msgspec.Struct, frozen=True):
    """What a query scans."""

    table: TableEntry
    index: IndexEntry
    keys: SelectedKeys
    order: Order
    #: What is searched for; the keys are those of `camber.engine.search_scan` then.
    text: TextQuery | None = None

    @property
    def fingerprint(self) -> bytes:
        """Return what tells this query from others, for its cursors."""
        parts: tuple[Any, ...] = (
            self.table.name,
            self.index.name,
            self.index.fields,
            self.keys.interval.start,
            self.keys.interval.end,
            self.order.value,
        )
        if self.text is not None:
            parts = (*parts, self.index.tokenizer, self.text)
        return sha256(msgspec.msgpack.encode(parts)).digest()[:16]

    def after(self, position: bytes) -> Interval:
        """Return the keys that a scan meets after `position`."""
        if self.order is Order.ASC:
            return Interval(position + b"\0", None)
        return Interval(b"", position)

    def up_to(self, position: bytes) -> Interval:
        """Return the keys that a scan meets up to and including `position`."""
        if self.order is Order.ASC:
            return Interval(b"", position + b"\0")
        return Interval(position, None)


_NOTHING: Final = Interval(b"", b"")
_ALL_KEYS = SelectedKeys(ALL, b"")
_VARS: Final = DatabaseVars()
_NO_TABLE = sha256(b"a query of a table that does not exist").digest()[:16]


class _Paginator:
    """Reads one page (semantics 3.6)."""

    def __init__(self, query: Query[Any], source: Source | None, opts: PaginationOpts) -> None:
        self._query = query
        self._source = source
        self._opts = opts
        self._access = query._access  # noqa: SLF001  # one mechanism in two classes
        self._fingerprint = _NO_TABLE if source is None else source.fingerprint
        most = limits.page_ruled_rows_max if query.is_ruled else _ROWS_MAX
        self._rows_max = min(opts.maximum_rows_read or most, most)
        self._bytes_max = min(opts.maximum_bytes_read or limits.bytes_read_max, _BYTES_MAX)

    def page(self) -> Page[Any]:
        """Return the page and pin its end for the next execution."""
        begin = self._open(self._opts.cursor)
        end = self._open_end()
        if self._source is None or (begin is not None and begin.position is None):
            return self._result([], None, end or self._end(), None)
        interval = self._source.keys.interval
        if begin is not None:
            assert begin.position is not None
            interval = interval.intersect(self._source.after(begin.position))
        if end is not None and end.position is not None:
            interval = interval.intersect(self._source.up_to(end.position))
        return self._read(interval, end)

    def _read(self, interval: Interval, end: Cursor | None) -> Page[Any]:
        assert self._source is not None
        items: list[Any] = []
        rows: list[Row] = []
        before = self._access.transaction.usage
        stopped = exhausted = False
        # Of a search no more is ranked than is shown.
        is_cut = self._is_search and end is None and not self._query.has_filters
        expected = {"rows": self._opts.num_items} if is_cut else {}
        with closing(self._query._scan(self._source, interval, **expected)) as scan:  # noqa: SLF001
            while True:
                taken = len(items) if self._query.has_filters else len(rows)
                if end is None and taken == self._opts.num_items:
                    break
                # A page that is pinned says of the same rows what it said when it was not: that
                # it is full. Only what came into it since can be too much.
                is_full = taken >= self._opts.num_items
                is_over = bool(rows) and self._must_stop(len(rows), before.bytes_read)
                if is_over and (self._is_search or not (is_full and self._may_read_on())):
                    stopped = True
                    break
                row = next(scan, None)
                if row is None:
                    exhausted = True
                    break
                if is_over:
                    stopped = True
                    break
                rows.append(row)
                if self._query.has_filters:
                    document = self._access.document(self._source.table.own_name, row.packed)
                    if self._query.accepts(document):
                        items.append(document)
        if not self._query.has_filters:
            packed = [row.packed for row in rows]
            items = self._access.documents(self._source.table.own_name, packed)
        if end is not None:
            if stopped and self._is_search and rows[-1].key != end.position:
                reason = (
                    "its page of a search has more documents by now than one may read, and no page "
                    "of a search can be split"
                )
                raise InvalidCursor(reason)
            continued = end
        elif exhausted:
            continued = self._end()
        elif self._has_its_place(rows[-1]):
            continued = Cursor(rows[-1].key, self._fingerprint)
        else:
            msg = (
                f"a page of {self._source.table.own_name}.{self._source.index.name} ends at a document "
                "whose place there is known when the mutation has committed, and no cursor can say "
                "yet where that is: read the page before the document is written, or all of the rest"
            )
            raise DeveloperError(msg, code="CommitTsUnknown")
        bytes_read = self._access.transaction.usage.bytes_read - before.bytes_read
        status = self._status(items, len(rows), bytes_read, stopped)
        return self._result(items, self._middle(rows), continued, status)

    def _middle(self, rows: list[Row]) -> Cursor | None:
        """Return where a page may be split; None where it cannot be."""
        if len(rows) <= 2 or self._is_search:
            return None
        row = rows[(len(rows) - 1) // 2]
        return Cursor(row.key, self._fingerprint) if self._has_its_place(row) else None

    def _has_its_place(self, row: Row) -> bool:
        assert self._source is not None
        # What is found by its text stands where its text puts it.
        return self._is_search or self._access.transaction.has_its_place(
            self._source.table, self._source.index, row
        )

    @property
    def _is_search(self) -> bool:
        return self._source is not None and self._source.text is not None

    def _must_stop(self, rows: int, bytes_before: int) -> bool:
        if not self._may_read_on():
            return True
        if self._is_search:
            return rows >= limits.search_results_max
        if rows >= self._rows_max:
            return True
        return self._access.transaction.usage.bytes_read - bytes_before >= self._bytes_max

    def _may_read_on(self) -> bool:
        """Return whether the largest document still fits: more would fail the function."""
        # What rules read counts too, and that of the next row may be as much again.
        share = 2 if self._query.is_ruled else 1
        return self._access.transaction.may_read_on(share)

    def _status(
        self,
        items: list[Any],
        rows: int,
        bytes_read: int,
        stopped: bool,  # noqa: FBT001
    ) -> PageStatus | None:
        # No page of a search can be split: nobody knows where the middle of an order will be.
        if self._source is None or self._is_search:
            return None
        if stopped:
            return "SplitRequired"
        share = limits.page_split_recommended_percent
        if (
            rows * 100 > self._rows_max * share
            or bytes_read * 100 > self._bytes_max * share
            or len(items) > _SPLIT_PAGE_ITEMS
        ):
            return "SplitRecommended"
        return None

    def _result(
        self, items: list[Any], split: Cursor | None, end: Cursor, status: PageStatus | None
    ) -> Page[Any]:
        cursors = self._access.cursors
        self._access.pagination.pin(cursors.seal_journal(end))
        return Page(
            page=items,
            is_done=end.position is None,
            continue_cursor=cursors.seal(end),
            split_cursor=None if split is None else cursors.seal(split),
            page_status=status,
        )

    def _end(self) -> Cursor:
        return Cursor(None, self._fingerprint)

    def _open(self, text: str | None) -> Cursor | None:
        if text is None:
            return None
        return self._mine(self._access.cursors.open(text))

    def _open_end(self) -> Cursor | None:
        if self._opts.end_cursor is not None:
            return self._open(self._opts.end_cursor)
        journal = self._access.pagination.journal_in
        if journal is None:
            return None
        end = self._access.cursors.open_journal(journal)
        # What a function calls may follow from data that has changed since: its page is another.
        if self._access.pagination.is_nested and not self._is_mine(end):
            return None
        return self._mine(end)

    def _is_mine(self, cursor: Cursor) -> bool:
        return cursor.fingerprint in {_NO_TABLE, self._fingerprint}

    def _mine(self, cursor: Cursor) -> Cursor:
        # Made before the table existed, it is the end of whatever the query is now.
        if cursor.fingerprint == _NO_TABLE:
            return self._end()
        if not self._is_mine(cursor):
            reason = (
                "it belongs to another query: the table, index, conditions or order are not those "
                "it was made with"
            )
            raise InvalidCursor(reason)
        return cursor


#: More documents than can be read.
_ALL = limits.documents_read_max + 1
_ROWS_MAX = limits.documents_read_max
_BYTES_MAX = limits.bytes_read_max
_SYSTEM_FIELDS = frozenset({ID_FIELD, CREATION_TIME_FIELD})


def _check_page_options(opts: PaginationOpts) -> None:
    if opts.num_items < 1:
        msg = f"a page has at least 1 item; num_items is {opts.num_items}"
        raise DeveloperError(msg, code="NoDocumentsForPagination")
    if opts.num_items > limits.page_items_max:
        msg = f"a page has at most {limits.page_items_max} items; num_items is {opts.num_items}"
        raise DeveloperError(msg, code="PageSizeTooLarge")
    for name in ("maximum_rows_read", "maximum_bytes_read"):
        value = getattr(opts, name)
        if value is not None and value < 1:
            msg = f"{name} is at least 1, not {value}"
            raise DeveloperError(msg, code="InvalidPaginationLimit")


def _without_owner(packed: bytes) -> bytes:
    """Return a document of a system table without the field that says whose it is."""
    if system_tables.COMPONENT_FIELD.encode() not in packed:
        return packed
    document = cast("dict[str, Value]", unpack(packed))
    document.pop(system_tables.COMPONENT_FIELD, None)
    return pack(document)


def _name_of(table: object) -> str:
    if isinstance(table, str):
        return table
    declared = getattr(table, "__camber__", None)
    if declared is None:
        msg = f'{table!r} is no table: give a class with table="…", or a table\'s name'
        raise DeveloperError(msg, code="InvalidTableName")
    return str(declared.name)


def _table_number(id_: object, operation: str) -> int:
    if not isinstance(id_, str):
        msg = f"{operation}() takes a document id as its argument `id`, not {id_!r}"
        raise DeveloperError(msg, code="InvalidArgument")
    try:
        return decode_id(id_).table_number
    except InvalidId as error:
        msg = f"{operation}() takes a document id as its argument `id`: {error.sentence}"
        raise DeveloperError(msg, code="InvalidArgument") from None


def search_of(
    declared: DeclaredTable | None,
    names: TableNumbers,
    table: str,
    index: str,
    vector: object,
    limit: object,
    where: object,
) -> VectorSearch:
    """Return what user code asks of a vector index of a table.

    Raises:
        DeveloperError: it cannot be asked of any.
    """
    return vector_search(
        table,
        index,
        vector,
        limit,
        where,
        wire_name=(lambda name: name) if declared is None else declared.wire_name,
        encode=_condition_encoder(declared, names),
    )


def nearest_documents(access: DatabaseAccess, asked: VectorSearch) -> list[VectorHit[Any]]:
    """Return the nearest documents of those that may be read.

    Raises:
        DeveloperError: there is no such index, or what is asked does not fit it.
    """
    if asked.table.startswith("_") or not is_identifier(asked.table):
        # Tables of components are called `ledger/entries`, and are reached by their functions.
        msg = f"cannot search {asked.table!r}: it names no table here"
        raise DeveloperError(msg, code="InvalidTableName")
    entry = access.entry(asked.table)
    if entry is None:
        return []
    shown = f"{asked.table}.{asked.index}"
    index = _named_index(entry, asked.table, asked.table, asked.index)
    if index.dimensions is None:
        msg = f"{shown} is no vector index: vector_search() finds nothing in it"
        raise DeveloperError(msg, code="IndexNotFoundError")
    _check_enabled(index, shown)
    query = vector_query(index, asked, name=shown)
    rule = None if access.rules is None else access.rules.reading(asked.table)
    if rule is hides_all:
        return []

    def may_read(id_: str) -> bool:
        assert rule is not None
        packed = access.transaction.get_of(entry, id_)
        return packed is not None and rule(access.document(asked.table, packed))

    hits = access.transaction.nearest(
        entry, index, query, asked.limit, accepts=None if rule is None else may_read
    )
    return [VectorHit(cast("Id[Any]", hit.id), hit.score) for hit in hits]


def _named_index(entry: TableEntry, table: str, index_table: str, name: str) -> IndexEntry:
    """Return an index of a table, given with the table that it is declared in, if that is known.

    Raises:
        DeveloperError: there is none such, or none yet.
    """
    index = entry.indexes.get(name)
    if index is None and any(pending.name == name for pending in entry.pending):
        msg = (
            f"index {table}.{name} is still being built for a push; it can be queried once that "
            "has ended"
        )
        raise DeveloperError(msg, code="IndexBackfillingError")
    if index is None or index_table not in {table, ""}:
        names = ", ".join(sorted(entry.indexes))
        msg = f"table {table!r} has no index {index_table}.{name}; it has {names}"
        raise DeveloperError(msg, code="IndexNotFoundError")
    return index


def _check_enabled(index: IndexEntry, shown: str) -> None:
    if index.state is not IndexState.ENABLED:
        msg = f"index {shown} is staged: nobody can query it before it is pushed without `staged`"
        raise DeveloperError(msg, code="IndexStagedError")


def _condition_encoder(
    declared: DeclaredTable | None, names: TableNumbers
) -> Callable[[str, Any], Value]:
    """Return what makes the stored form of a value that a field is compared with."""

    def encode(path: str, value: Any) -> Value:
        if value is UNSET:
            return cast("Value", UNSET)
        try:
            if declared is None:
                return canonical(value)
            return declared.encode_condition(path, value, names)
        except InvalidValue as error:
            raise InvalidValue((path, *error.path), error.value, error.reason) from None

    return encode


def _joined(by_path: Mapping[str, Any] | None, by_keyword: dict[str, Any]) -> dict[str, Any]:
    """Return all conditions of a query.

    Raises:
        DeveloperError: there are two on one field.
    """
    if not by_path:
        return by_keyword
    twice = by_path.keys() & by_keyword.keys()
    if twice:
        msg = f"there are two conditions on {min(twice)!r}, one in the mapping and one by keyword: give one"
        raise DeveloperError(msg, code="InvalidQuery")
    return {**by_path, **by_keyword}


def _is_search_index(name: str) -> DeveloperError:
    msg = f"{name} is a search index: use with_search_index()"
    return DeveloperError(msg, code="IndexNotFoundError")


def _is_vector_index(name: str) -> DeveloperError:
    msg = f"{name} is a vector index: use ctx.vector_search()"
    return DeveloperError(msg, code="IndexNotFoundError")


def _id_of(document: Any) -> str:
    return str(document[ID_FIELD] if isinstance(document, dict) else document.id)


def _own_fields(document: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in document.items() if name not in _SYSTEM_FIELDS}


def _refuse_system_fields(value: Any, current: Mapping[str, Any], operation: str) -> None:
    """Refuse system fields that are not those of the stored document (semantics 1.2)."""
    for name, attribute, code in (
        (ID_FIELD, "_camber_id", "InvalidIdError"),
        (CREATION_TIME_FIELD, "_camber_creation_time", "InvalidCreationTimeError"),
    ):
        if isinstance(value, Table):
            given = getattr(value, attribute)
        else:
            given = value.get(name, UNSET) if isinstance(value, Mapping) else UNSET
        if given is not UNSET and given != current.get(name, UNSET):
            msg = f"{operation}() cannot set {name}: it is {current.get(name, 'made by Camber')}"
            raise DeveloperError(msg, code=code)


def _checked_fields(value: Any, operation: str) -> dict[str, Value]:
    """Return the fields of a document of an undeclared table in canonical form."""
    if not isinstance(value, Mapping):
        raise _not_an_object(value, operation)
    for name in value:
        if isinstance(name, str) and name.startswith("_"):
            msg = f"{operation}() cannot set {name!r}: names that start with '_' are Camber's own"
            raise DeveloperError(msg, code="InvalidFieldName")
    plain = {name: _without_types(item) for name, item in value.items()}
    fields = canonical(plain, nesting_max=limits.document_nesting_max)
    return cast("dict[str, Value]", fields)


def _without_types(value: Any) -> Any:
    to_dict = getattr(value, "to_dict", None)
    return value if to_dict is None else to_dict()


def _not_an_object(value: object, operation: str) -> DeveloperError:
    msg = f"{operation}() takes a document or a dict of fields, not {type(value).__name__}"
    return DeveloperError(msg, code="InvalidArgument")


def _check_nesting(fields: dict[str, Value], table: str) -> None:
    """Check what a table's plan leaves open: sizes, names and nesting of what is inside."""
    if not any(isinstance(value, list | dict) for value in fields.values()):
        return
    depth = nesting(fields)
    if depth > limits.document_nesting_max:
        msg = (
            f"a document of {table!r} would be nested {depth} deep; a document may be nested "
            f"{limits.document_nesting_max} deep"
        )
        raise DeveloperError(msg, code="TooNestedError")
    check(fields, nesting_max=limits.document_nesting_max)
