"""The routes that cancel scheduled functions (protocol 8.4)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.engine.scheduled import check_scheduled_id
from camber.errors import BadRequest, DeveloperError
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.bodies import json_object
from camber.server.component_paths import component_path
from camber.server.errors import json_response
from camber.values.paths import FunctionPath
from camber.values.wire import encode_json


class JobsApi:
    """What holders of keys do with what waits to run."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/api/cancel_job", self._cancel, methods=["POST"]),
            Route("/api/cancel_all_jobs", self._cancel_all, methods=["POST"]),
        ]

    async def _cancel(self, request: Request) -> Response:
        body = await self._body(request)
        try:
            id_ = check_scheduled_id(body.get("id"))
        except DeveloperError as error:
            raise BadRequest(error.sentence, code=error.code) from None
        await self._deployment.scheduler.cancel(id_)
        return Response(status_code=200)

    async def _cancel_all(self, request: Request) -> Response:
        body = await self._body(request)
        path = body.get("udfPath")
        if path is not None and not isinstance(path, str):
            msg = "`udfPath` is the path of a function, or left out for all of them"
            raise BadRequest(msg, code="BadJsonBody")
        component = component_path(body.get("componentPath"), self._deployment)
        key = None if path is None else FunctionPath.parse(path).key
        cancelled = await self._deployment.scheduler.cancel_all(key, component)
        return json_response(encode_json({"canceled": cancelled}))

    async def _body(self, request: Request) -> dict[str, Any]:
        admin_of(request, self._deployment, Operation.RUN_FUNCTIONS)
        return await json_object(request, limits.http_body_bytes_max)
