"""What the serving release declares, and where the deployment is."""

from __future__ import annotations

from typing import Any, Final

from camber.identity.operations import Operation
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query
from camber.values.paths import FunctionPath


@system_query("_system/cli/modules:apiSpec", Operation.VIEW_DATA)
def api_spec(call: SystemCall) -> list[dict[str, Any]]:
    """Every function of the application with its validators, then its HTTP routes."""
    functions = [
        {
            "identifier": FunctionPath.parse(key).canonical,
            "functionType": function.kind.value.capitalize(),
            "visibility": {"kind": function.visibility.value},
            "args": function.arguments,
            "returns": function.returns,
        }
        for key, function in sorted(call.analysis.functions.items())
    ]
    return functions + [
        {"functionType": "HttpAction", "method": route.method, "path": route.path}
        for route in call.analysis.routes
    ]


@system_query("_system/cli/convexUrl:cloudUrl", Operation.VIEW_DATA)
def cloud_url(call: SystemCall) -> str:
    """The origin that clients see."""
    return call.urls["CONVEX_CLOUD_URL"]


QUERIES: Final[tuple[SystemQuery, ...]] = (api_spec, cloud_url)
