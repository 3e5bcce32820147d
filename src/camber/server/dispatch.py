"""From a request to its answer: the one layer around all routes.

It finds the route, lets every origin read the answer, and answers for what was raised
(protocol 5.2). A route without parameters is found by its path; only the others are tried in turn.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Receive, Scope, Send

from camber.errors import ErrorKind, RequestError
from camber.server.cors import let_every_origin_read, preflight
from camber.server.errors import error_response

_log = logging.getLogger("camber.server")

#: Errors of a bound that was met, rather than of a mistake.
_BOUNDS: Final = frozenset(
    {ErrorKind.PAYLOAD_TOO_LARGE, ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED}
)

Endpoint = Callable[[Request], Awaitable[Response]]


class Dispatch:
    """An application of routes whose endpoints take a request and return its response.

    Below the path `own_origins` routes say for themselves which origins may read them. What is not
    done since a bound was met is counted in `refused`, by its code.
    """

    def __init__(
        self, routes: Sequence[BaseRoute], *, own_origins: str, refused: Counter[str] | None = None
    ) -> None:
        self._refused = Counter() if refused is None else refused
        self._own_origins = own_origins
        #: By path, then by method.
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[Route] = []
        sockets: list[BaseRoute] = []
        for route in routes:
            if not isinstance(route, Route):
                sockets.append(route)
            elif route.param_convertors:
                self._patterns.append(route)
            else:
                by_method = self._exact.setdefault(route.path, {})
                by_method.update(dict.fromkeys(route.methods or (), route))
        self._sockets = Router(sockets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] != "http":
            await self._sockets(scope, receive, send)
            return
        response = await self._answered(scope, receive)
        await response(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive) -> Response:
        path = _path_below_mount(scope)
        if path.startswith(self._own_origins):
            return await self._from_route(path, scope, receive)
        if scope["method"] == "OPTIONS":
            return preflight(scope)
        response = await self._from_route(path, scope, receive)
        let_every_origin_read(response, scope)
        return response

    async def _from_route(self, path: str, scope: Scope, receive: Receive) -> Response:
        route = self._exact.get(path, {}).get(scope["method"]) or self._matching(scope)
        if route is None:
            return self._refusal(path, scope)
        scope["route"] = route
        try:
            return await cast("Endpoint", route.endpoint)(Request(scope, receive))
        except RequestError as error:
            if error.kind in _BOUNDS:
                self._refused[error.code] += 1
            return error_response(error)
        except Exception as error:  # noqa: BLE001  # a bug of ours: logged here, told without detail
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            msg = "the server failed to answer; its output says why"
            return error_response(RequestError(msg, code="InternalServerError"))

    def _matching(self, scope: Scope) -> Route | None:
        for route in self._patterns:
            match, more = route.matches(scope)
            if match is Match.FULL:
                scope.update(more)
                return route
        return None

    def _refusal(self, path: str, scope: Scope) -> Response:
        """Answer for a path or a method that is unknown, with an empty body (protocol 4.7)."""
        methods = set(self._exact.get(path, {}))
        for route in self._patterns:
            if route.matches(scope)[0] is Match.PARTIAL:
                methods |= route.methods or set()
        if not methods:
            return Response(status_code=404)
        return Response(status_code=405, headers={"Allow": ", ".join(sorted(methods))})


def _path_below_mount(scope: Scope) -> str:
    path: str = scope["path"]
    mount: str = scope.get("root_path", "")
    below = path.removeprefix(mount)
    # A mount at /a does not have the path /about.
    return below if not below or below.startswith("/") else path
