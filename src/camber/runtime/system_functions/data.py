"""Tables and their documents."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from camber.engine import system_tables
from camber.engine.catalog import TableEntry, full_name, tables_of
from camber.errors import DeveloperError
from camber.functions.database import DatabaseAccess, Query, SystemReader
from camber.functions.pagination import Page, PaginationOpts
from camber.identity.operations import Operation
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query
from camber.schema.annotations import Arg
from camber.schema.table import StoredDocuments

TableName = Annotated[str, Arg("tableName")]


@system_query("_system/cli/tables:default", Operation.VIEW_DATA)
def tables(call: SystemCall, pagination: PaginationOpts) -> Page[dict[str, Any]]:
    """The names of the tables, in order."""
    query = Query[dict[str, Any]](_access(call), system_tables.TABLES).with_index("by_name")
    own = query.filter(lambda document: _component_of(document["name"]) == call.component)
    return own.paginate(pagination).map(
        lambda document: {"name": document["name"].rpartition("/")[2]}
    )


@system_query("_system/cli/tableData:default", Operation.VIEW_DATA)
def table_data(
    call: SystemCall,
    table: str,
    pagination: PaginationOpts,
    order: Literal["asc", "desc"] = "asc",
) -> Page[Any]:
    """The documents of a table as they are stored, by creation time.

    A table that does not exist yet has none, and its first document is told to whoever watches.
    """
    _refuse_hidden(table)
    return _documents(call, table).order(order).paginate(pagination)


@system_query("_system/cli/tableSize:default", Operation.VIEW_DATA)
def table_size(call: SystemCall, table: TableName) -> float:
    """How many documents a table has."""
    entry = _entry(call, table)
    if table in system_tables.READABLE:
        return float(_documents(call, table).count())
    return 0.0 if entry is None else float(call.transaction.count(entry))


@system_query("_system/cli/queryTable:default", Operation.VIEW_DATA)
def table_version(call: SystemCall, table: TableName) -> str:
    """A value that changes whenever the table does."""
    entry = _entry(call, table)
    if entry is not None:
        call.transaction.depend_on(entry)
    return str(call.transaction.begin_ts)


def _documents(call: SystemCall, table: str) -> Query[Any]:
    access = _access(call)
    if table in system_tables.READABLE:
        # One table for all components: what is asked for is this one's own.
        return SystemReader(access).query(table)
    return Query[Any](access, table)


def _entry(call: SystemCall, table: str) -> TableEntry | None:
    _refuse_hidden(table)
    return call.transaction.table(full_name(call.component, table))


def _component_of(name: str) -> str:
    return name.rpartition("/")[0]


def _refuse_hidden(table: str) -> None:
    if table.startswith("_") and table not in system_tables.READABLE:
        msg = (
            f"there is no table {table!r} to look at; of Camber's own tables there are "
            f"{' and '.join(sorted(system_tables.READABLE))}"
        )
        raise DeveloperError(msg, code="SystemTableError")


def _access(call: SystemCall) -> DatabaseAccess:
    # No declared tables: documents are shown as they are stored.
    return DatabaseAccess(
        transaction=call.transaction,
        tables={},
        component=call.component,
        names=tables_of(call.transaction, call.component),
        cursors=call.cursors,
        stored=StoredDocuments(call.transaction),
        pagination=call.pagination,
    )


QUERIES: Final[tuple[SystemQuery, ...]] = (tables, table_data, table_size, table_version)
