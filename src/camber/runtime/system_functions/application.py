"""What the serving release declares."""

from __future__ import annotations

from typing import Any, Final

from camber.engine.component_data import components_with_data
from camber.functions.analysis import Analysis
from camber.functions.exported_schema import exported_schema
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
    return {"active": encode_json(exported_schema(_declared(call).tables)).decode()}


QUERIES: Final[tuple[SystemQuery, ...]] = (api_spec, components, schemas)
