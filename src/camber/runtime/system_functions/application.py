"""What the serving release declares."""

from __future__ import annotations

from typing import Any, Final

from camber.engine.component_data import components_with_data
from camber.functions.analysis import AnalysedTable, Analysis
from camber.identity.operations import Operation
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query
from camber.values.paths import FunctionPath
from camber.values.wire import encode_json


@system_query("_system/cli/modules:apiSpec", Operation.VIEW_DATA)
def api_spec(call: SystemCall) -> list[dict[str, Any]]:
    """Every function of the application with its validators, then its HTTP routes.

    What has a guard has it as its author has written it, under `allow`.
    """
    functions: list[dict[str, Any]] = [
        {
            "identifier": FunctionPath.parse(key).canonical,
            "functionType": function.kind.value.capitalize(),
            "visibility": {"kind": function.visibility.value},
            "args": function.arguments,
            "returns": function.returns,
            **_allow(function.guard),
        }
        for key, function in sorted(_declared(call).functions.items())
    ]
    return functions + [
        {
            "functionType": "HttpAction",
            "method": route.method,
            "path": route.path,
            **_allow(route.guard),
        }
        for route in _declared(call).routes or ()
    ]


def _allow(guard: str | None) -> dict[str, str]:
    return {} if guard is None else {"allow": guard}


@system_query("_system/frontend/components:list", Operation.VIEW_DATA)
def components(call: SystemCall) -> list[dict[str, Any]]:
    """Every component by its path; the application itself is the root, with an empty one."""
    declared = call.analysis.everywhere()
    # Of what is mounted no more there may be data.
    stored = components_with_data(call.transaction)
    return [
        {
            "id": path or None,
            "name": path.rpartition("/")[2] or None,
            "path": path,
            "args": {},
            "state": "active" if path in declared else "unmounted",
            "httpPrefix": declared[path].http_prefix if path in declared else None,
        }
        for path in sorted(declared.keys() | stored)
    ]


def _declared(call: SystemCall) -> Analysis:
    return call.analysis.in_component(call.component) or Analysis(functions={}, tables={})


@system_query("_system/frontend/getSchemas:default", Operation.VIEW_DATA)
def schemas(call: SystemCall) -> dict[str, str]:
    """The declared tables as a JSON text, in the form of Convex's exported schema."""
    tables = [
        {
            "tableName": table.name,
            "indexes": _indexes(table, staged=False),
            "stagedDbIndexes": _indexes(table, staged=True),
            "searchIndexes": [],
            "stagedSearchIndexes": [],
            "vectorIndexes": [],
            "stagedVectorIndexes": [],
            "documentType": table.validator,
        }
        for _, table in sorted(_declared(call).tables.items())
    ]
    schema = {"tables": tables, "schemaValidation": True}
    return {"active": encode_json(schema).decode()}


def _indexes(table: AnalysedTable, *, staged: bool) -> list[dict[str, Any]]:
    return [
        {"indexDescriptor": index.name, "fields": list(index.fields)}
        for index in table.indexes
        if index.staged is staged
    ]


QUERIES: Final[tuple[SystemQuery, ...]] = (api_spec, components, schemas)
