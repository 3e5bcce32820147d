"""Queries of the server's own, for admins and their tools (protocol 8.3).

They run like any query, in a transaction that has read which release serves, so their subscribers
are told of a push.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from camber.engine.transaction import Transaction
from camber.functions.analysis import Analysis
from camber.functions.pagination import PaginationState
from camber.occ.cursors import CursorCipher
from camber.values.paths import FunctionPath
from camber.values.value import Value, canonical

#: Paths of system functions start so; no module of an application can.
SYSTEM_PREFIX: Final = "_system/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCall:
    """What a system query is computed from. What it reads of `transaction` is recorded as ever."""

    arguments: Mapping[str, Value]
    transaction: Transaction
    #: What the serving release declares.
    analysis: Analysis
    #: The deployment's URLs.
    urls: Mapping[str, str]
    cursors: CursorCipher
    pagination: PaginationState


SystemQuery: TypeAlias = Callable[[SystemCall], Any]


def system_query(path: str) -> SystemQuery | None:
    """Return the system query of a path, or None if there is none."""
    return _QUERIES.get(path)


def run_system_query(found: SystemQuery, call: SystemCall) -> Value:
    """Return what a system query says."""
    return canonical(found(call))


def _api_spec(call: SystemCall) -> list[dict[str, Any]]:
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


def _cloud_url(call: SystemCall) -> str:
    """The origin that clients see."""
    return call.urls["CONVEX_CLOUD_URL"]


_QUERIES: Final[Mapping[str, SystemQuery]] = {
    "_system/cli/modules:apiSpec": _api_spec,
    "_system/cli/convexUrl:cloudUrl": _cloud_url,
}
