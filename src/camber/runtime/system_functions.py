"""Queries of the server's own, for admins and their tools (protocol 8.3).

They run like any query, in a transaction that has read which release serves, so their subscribers
are told of a push.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from camber.functions.loading import Application
from camber.values.paths import FunctionPath
from camber.values.value import Value, canonical

#: Paths of system functions start so; no module of an application can.
SYSTEM_PREFIX: Final = "_system/"

#: What a system query is computed from: the serving application, and the deployment's URLs.
SystemQuery: TypeAlias = Callable[[Application, Mapping[str, str]], Any]


def system_query(path: str) -> SystemQuery | None:
    """Return the system query of a path, or None if there is none."""
    return _QUERIES.get(path)


def run_system_query(
    found: SystemQuery, application: Application, urls: Mapping[str, str]
) -> Value:
    """Return what a system query says."""
    return canonical(found(application, urls))


def _api_spec(application: Application, urls: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every function of the application with its validators, then its HTTP routes."""
    del urls
    functions = [
        {
            "identifier": FunctionPath.parse(key).canonical,
            "functionType": function.kind.value.capitalize(),
            "visibility": {"kind": function.visibility.value},
            "args": function.arguments.json,
            "returns": function.returns.json,
        }
        for key, function in sorted(application.functions.items())
    ]
    routes = () if application.http is None else application.http.routes
    return functions + [
        {"functionType": "HttpAction", "method": route.method, "path": route.path}
        for route in routes
    ]


def _cloud_url(application: Application, urls: Mapping[str, str]) -> str:
    """The origin that clients see."""
    del application
    return urls["CONVEX_CLOUD_URL"]


_QUERIES: Final[Mapping[str, SystemQuery]] = {
    "_system/cli/modules:apiSpec": _api_spec,
    "_system/cli/convexUrl:cloudUrl": _cloud_url,
}
