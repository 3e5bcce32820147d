"""The route that Prometheus asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber.deployment.deployment import Deployment
from camber.deployment.settings import MetricsAccess
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.metrics import Metrics

if TYPE_CHECKING:
    from camber.server.exposition import Exposition


class MetricsApi:
    """Answers with the metrics of one server."""

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self._deployment = deployment
        self._metrics = metrics
        self._exposition: Exposition | None = None

    def routes(self) -> list[BaseRoute]:
        """Return the route."""
        return [Route("/metrics", self._respond)]

    async def _respond(self, request: Request) -> Response:
        if self._deployment.settings.metrics is MetricsAccess.KEY:
            admin_of(request, self._deployment, Operation.VIEW_LOGS)
        if self._exposition is None:
            # Imported when somebody asks: a server that starts would wait for it.
            from camber.server.exposition import Exposition

            self._exposition = Exposition(self._deployment, self._metrics)
        return self._exposition.response()
