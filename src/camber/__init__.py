"""Camber: a reactive backend in Python.

What an application author imports is here. Importing it loads the decorators, the schema and what
they stand on, and nothing of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import field

from camber.errors import (
    AccessDenied,
    AppError,
    ArgumentValidationError,
    CamberError,
    DeveloperError,
    FunctionError,
    ReturnsValidationError,
)
from camber.functions.access import (
    Access,
    Users,
    anyone,
    guard,
    nobody,
    remembered,
    role,
    row_rule,
    signed_in,
)
from camber.functions.calls import FunctionHandle
from camber.functions.components import App, Component, ComponentClient, Env, Mount
from camber.functions.conditions import any_of, gt, gte, lt, lte
from camber.functions.contexts import ActionCtx, MutationCtx, QueryCtx, SyncActionCtx
from camber.functions.crons import Crons
from camber.functions.current import current, current_sync
from camber.functions.declarations import (
    CustomJwt,
    OidcProvider,
)
from camber.functions.decorators import (
    action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from camber.functions.extensions import Extension
from camber.functions.http_router import HttpRouter
from camber.functions.pagination import Page, PaginationOpts
from camber.functions.predicates import Guard, RowRule
from camber.functions.scheduling import Retry
from camber.functions.system_documents import ScheduledFunction, StoredFile
from camber.functions.transaction_limits import TransactionLimits
from camber.functions.vector_search import VectorHit
from camber.identity.identity import UserIdentity
from camber.occ.cursors import InvalidCursor
from camber.schema.annotations import Arg, Id, Int64Literal
from camber.schema.table import Index, SchemaEnforcementError, SearchIndex, Table, VectorIndex
from camber.values.size import document_size, value_size
from camber.values.value import UNSET, CommitTs, Int64
from camber.version import VERSION

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from camber.server.mounting import asgi

__version__ = VERSION

__all__ = [
    "UNSET",
    "Access",
    "AccessDenied",
    "ActionCtx",
    "App",
    "AppError",
    "Arg",
    "ArgumentValidationError",
    "CamberError",
    "CommitTs",
    "Component",
    "ComponentClient",
    "Crons",
    "CustomJwt",
    "DeveloperError",
    "Env",
    "Extension",
    "FunctionError",
    "FunctionHandle",
    "Guard",
    "HttpRouter",
    "Id",
    "Index",
    "Int64",
    "Int64Literal",
    "InvalidCursor",
    "Mount",
    "MutationCtx",
    "OidcProvider",
    "Page",
    "PaginationOpts",
    "QueryCtx",
    "Request",
    "Response",
    "Retry",
    "ReturnsValidationError",
    "RowRule",
    "ScheduledFunction",
    "SchemaEnforcementError",
    "SearchIndex",
    "StoredFile",
    "SyncActionCtx",
    "Table",
    "TransactionLimits",
    "UserIdentity",
    "Users",
    "VectorHit",
    "VectorIndex",
    "action",
    "any_of",
    "anyone",
    "asgi",
    "current",
    "current_sync",
    "document_size",
    "field",
    "gt",
    "gte",
    "guard",
    "internal_action",
    "internal_mutation",
    "internal_query",
    "lt",
    "lte",
    "mutation",
    "nobody",
    "query",
    "remembered",
    "role",
    "row_rule",
    "signed_in",
    "value_size",
]

#: Imported when they are first used: applications without HTTP routes need none of them.
_LATE = {
    "Request": "starlette.requests",
    "Response": "starlette.responses",
    "asgi": "camber.server.mounting",
}


def __getattr__(name: str) -> Any:
    """Import what is imported late."""
    if name in _LATE:
        import importlib

        return getattr(importlib.import_module(_LATE[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
