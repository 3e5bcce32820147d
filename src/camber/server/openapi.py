"""`GET /api/openapi.json`: the HTTP API as an OpenAPI document, made of the routes that there are.

Which routes there are comes from the routes themselves, what they take and answer from
`camber.server.described`. A route that nobody has described is none that a document can be made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber.deployment.deployment import Deployment
from camber.functions.analysis import Analysis, ServedRoute
from camber.functions.routing import ANY_METHOD, is_prefix, shape_of
from camber.identity.operations import Operation
from camber.server.described import DESCRIBED, HTTP_ACTION, Access, Described, Schema, Untold, Whole
from camber.server.errors import json_response
from camber.server.site import BELOW_API
from camber.values.wire import encode_json
from camber.version import VERSION

PATH: Final = "/api/openapi.json"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_JSON: Final = "application/json"
#: Statuses that the document does not tell: any GET answers HEAD, and browsers ask before they send.
_UNTOLD: Final = frozenset({"HEAD", "OPTIONS"})

#: What stands for a parameter in a path.
_PART: Final[Schema] = {"type": "string", "pattern": "^[^\\n]+$"}

_KEY_HEADER: Final = "adminKey"
_SECURITY: Final[Mapping[Access, list[dict[str, list[str]]]]] = {
    Access.OPEN: [],
    Access.CALLER: [{}, {_KEY_HEADER: []}],
    Access.KEY: [{_KEY_HEADER: []}],
}
#: What else than success an answer may be, by who may ask.
_FAILURES: Final[Mapping[Access, tuple[str, ...]]] = {
    Access.OPEN: (),
    Access.CALLER: ("400", "401", "413", "500", "503"),
    Access.KEY: ("400", "401", "403", "413", "500", "503"),
}
_FAILURE_TEXT: Final = {
    "400": "The request is malformed, or asks for what cannot be.",
    "401": "The key or token is not valid here.",
    "403": "There is no key, or it does not allow this.",
    "404": "There is none.",
    "408": "The body ended early, or stood still.",
    "409": "This server does not do that, or is doing it already.",
    "412": "It is not what was asked for any more.",
    "413": "The body is too large.",
    "416": "There is no such range, or there are several.",
    "500": "The server failed; its output says why.",
    "503": "Not now: the server is overloaded, is ending, has a full disk, or commits got in the way; "
    "or a snapshot is too old.",
}


class OpenApi:
    """Publishes the document of some routes, of its own, and of the serving release's."""

    def __init__(self, routes: Iterable[BaseRoute], deployment: Deployment) -> None:
        self._own = Route(PATH, self._respond, methods=["GET"])
        self._routes = [*routes, self._own]
        self._deployment = deployment
        #: The newest document, and what it is of.
        self._made: tuple[Analysis | None, bytes] | None = None

    def routes(self) -> list[BaseRoute]:
        """Return the route of the document."""
        return [self._own]

    async def _respond(self, request: Request) -> Response:
        del request
        newest = self._deployment.releases.newest
        analysis = None if newest is None else newest.analysis
        if self._made is None or self._made[0] is not analysis:
            actions = () if analysis is None else analysis.served_routes() or ()
            document = encode_json(openapi_document(self._routes, actions))
            self._made = (analysis, document)
        return json_response(self._made[1])


def openapi_document(routes: Iterable[BaseRoute], actions: Iterable[ServedRoute]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of routes and HTTP actions.

    Sockets are none of its business, and mounted applications have documents of their own.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if not isinstance(route, Route):
            continue
        for method in sorted((route.methods or {"GET"}) - _UNTOLD):
            what = DESCRIBED[f"{method} {route.path}"]
            path = _PARAMETER.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[method.lower()] = _operation(route.path, method, what)
    _add_actions(paths, actions)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Camber",
            "version": VERSION,
            "description": "Functions of an application, and what its operators do. Clients that "
            "follow changes use the WebSocket at /api/{version}/sync.",
        },
        "security": [],
        "paths": paths,
        "components": {
            "securitySchemes": {
                _KEY_HEADER: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Convex <admin key>`; issued keys allow what they were made for.",
                }
            },
            "schemas": {"Failure": _FAILURE},
        },
    }


def _add_actions(paths: dict[str, dict[str, Any]], actions: Iterable[ServedRoute]) -> None:
    """Add what the application answers, where the API's own port has it."""
    shapes = {shape_of(path) for path in paths}
    # Those for all that lies below a path come last: the document has one operation for a shape.
    for action in sorted(actions, key=lambda each: is_prefix(each.path)):
        if action.method in {ANY_METHOD, "OPTIONS"}:
            continue
        path = f"{BELOW_API}{action.path}"
        if is_prefix(path):
            path = f"{path[:-1]}{{below}}"
        if path not in paths and shape_of(path) in shapes:
            continue
        shapes.add(shape_of(path))
        what = replace(HTTP_ACTION, summary=action.declared.summary or HTTP_ACTION.summary)
        paths.setdefault(path, {})[action.method.lower()] = _operation(path, action.method, what)


_FAILURE: Final[Schema] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "Stable, for programs."},
        "message": {"type": "string", "description": "For people."},
    },
    "additionalProperties": False,
}


def _operation(path: str, method: str, what: Described) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": what.summary,
        "operationId": f"{method.lower()} {path}",
        "security": _SECURITY[what.access],
        "responses": _responses(what),
    }
    if what.allowed_by is not None:
        operation["description"] = _needs(what.allowed_by)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PART}
        for name in _PARAMETER.findall(path)
    ] + [
        {"name": name, "in": "query", "required": name in what.required, "schema": schema}
        for name, schema in what.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if what.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(what.body)}
    return operation


def _needs(operation: Operation) -> str:
    return f"A key needs `{operation.value}`."


def _responses(what: Described) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if what.answer is Untold.ANYTHING:
        return {"default": {"description": "What its author likes."}}
    if what.answer is not None:
        answered: dict[str, Any] = {"description": "Done."}
        if what.answer != "":
            answered["content"] = _content(what.answer)
        responses[str(what.status)] = answered
    failed = {"$ref": "#/components/schemas/Failure"}
    for status in sorted({*_FAILURES[what.access], *what.failures}):
        responses[status] = {
            "description": _FAILURE_TEXT[status],
            "content": _content(what.failure or failed),
        }
    return responses


def _content(content: Schema | Whole | str) -> dict[str, Any]:
    if isinstance(content, Whole):
        return {content.media_type: {"schema": content.schema}}
    if isinstance(content, str):
        return {content: {"schema": {"type": "string"}}}
    return {_JSON: {"schema": content}}
