"""How exports and imports are doing: what tools subscribe to while they wait."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Annotated, Any, Final

from camber.engine import system_tables
from camber.identity.operations import Operation
from camber.occ.interval import ALL, Order
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query
from camber.schema.annotations import Arg
from camber.values.ids import InvalidId, decode_id
from camber.values.packed import unpack

#: Imports that the list shows.
_IMPORTS_LISTED: Final = 20


def _newest(call: SystemCall, table_name: str, count: int) -> list[Any]:
    table = call.transaction.table(table_name)
    assert table is not None
    index = table.indexes["by_creation_time"]
    with closing(call.transaction.scan(table, index, ALL, Order.DESC, rows=count)) as rows:
        return [unpack(row.packed) for row in islice(rows, count)]


@system_query("_system/cli/exports:getLatest", Operation.VIEW_DATA)
def latest_export(call: SystemCall) -> Any:
    """The export that was asked for last, or null."""
    return next(iter(_newest(call, system_tables.EXPORTS, 1)), None)


@system_query("_system/cli/queryImport:default", Operation.WRITE_DATA)
def one_import(call: SystemCall, import_id: Annotated[str, Arg("importId")]) -> Any:
    """One import, or null."""
    try:
        number = decode_id(import_id).table_number
    except InvalidId:
        return None
    if number != call.transaction.number(system_tables.IMPORTS):
        return None
    packed = call.transaction.get(import_id)
    return None if packed is None else unpack(packed)


@system_query("_system/cli/queryImport:list", Operation.WRITE_DATA)
def imports(call: SystemCall) -> list[Any]:
    """The newest imports."""
    return _newest(call, system_tables.IMPORTS, _IMPORTS_LISTED)


QUERIES: Final[tuple[SystemQuery, ...]] = (latest_export, one_import, imports)
