"""The routes of snapshot exports and imports (protocol 8.6, 8.7)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.bodies import json_object


class TransferApi:
    """Exports and imports of one deployment over HTTP."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def routes(self) -> list[BaseRoute]:
        """Return the routes under /api/export and those of imports."""
        return [
            Route("/api/export/request/zip", self._request, methods=["POST"]),
            Route("/api/export/zip/{name}", self._download, methods=["GET"]),
            Route("/api/export/set_expiration/{id}", self._set_expiration, methods=["POST"]),
            Route("/api/export/cancel/{id}", self._cancel, methods=["POST"]),
        ]

    async def _request(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        refuse_component(request.query_params.get("component"))
        include = request.query_params.get("includeStorage", "false")
        if include not in {"true", "false"}:
            msg = f"includeStorage is true or false, not {include!r}"
            raise BadRequest(msg, code="BadQueryArgs")
        await self._deployment.transfers.exports.request(include_storage=include == "true")
        return Response(status_code=200)

    async def _download(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        path, ts = self._deployment.transfers.exports.file(request.path_params["name"])
        name = f"snapshot_{self._deployment.instance_name}_{ts}.zip"
        # Without quotes: the official CLI takes all that follows `filename=` for the name.
        headers = {
            "Content-Disposition": f"attachment; filename={name}",
            "Cache-Control": "private, max-age=2592000",
        }
        return FileResponse(path, media_type="application/zip", headers=headers)

    async def _set_expiration(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        body = await json_object(request, limits.http_body_bytes_max)
        expiration = body.get("expirationTsNs")
        if type(expiration) is not int or not 0 <= expiration < 2**63:
            msg = "the body needs `expirationTsNs`, nanoseconds since the Unix epoch"
            raise BadRequest(msg, code="BadJsonBody")
        await self._deployment.transfers.exports.set_expiration(
            request.path_params["id"], expiration
        )
        return Response(status_code=200)

    async def _cancel(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        await self._deployment.transfers.exports.cancel(request.path_params["id"])
        return Response(status_code=200)


def refuse_component(path: Any) -> None:
    """Raise unless `path` is that of the root: nothing else is mounted.

    Raises:
        BadRequest: it names another component (code ComponentNotFound).
    """
    if path:
        msg = f"there is no component {path!r}: leave it out for the application itself"
        raise BadRequest(msg, code="ComponentNotFound")
