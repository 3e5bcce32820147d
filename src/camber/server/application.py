"""The ASGI applications of a deployment: the API with its sockets, and the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from camber.deployment.deploying import Deployer
from camber.deployment.deployment import Deployment
from camber.errors import RequestError
from camber.functions.http_router import METHODS
from camber.server.admin_api import AdminApi
from camber.server.asgi_connection import AsgiConnection
from camber.server.client_version import (
    UNKNOWN,
    ClientVersion,
    parse_client_header,
    parse_version,
)
from camber.server.deploy_api import DeployApi
from camber.server.dispatch import Dispatch
from camber.server.draining import HEALTH_PATH, Drain, health
from camber.server.errors import error_response
from camber.server.explain_api import ExplainApi
from camber.server.http_api import HttpApi
from camber.server.jobs_api import JobsApi
from camber.server.log_api import LogApi
from camber.server.metrics import Metrics
from camber.server.metrics_api import MetricsApi
from camber.server.openapi import OpenApi
from camber.server.proxies import Proxies
from camber.server.request_spans import RequestSpans
from camber.server.site import BELOW_API, Site, SiteBelow
from camber.server.static_files import StaticFiles
from camber.server.storage_api import StorageApi
from camber.server.streaming_export_api import StreamingExportApi
from camber.server.streaming_import_api import StreamingImportApi
from camber.server.sync_socket import SyncSocket, SyncSockets
from camber.server.transfer_api import TransferApi
from camber.server.websocket_connection import EXTENSION, LoopTurn


def api_application(
    deployment: Deployment,
    *,
    static: Path | None = None,
    drain: Drain | None = None,
    deployer: Deployer | None = None,
    metrics: Metrics | None = None,
) -> ASGIApp:
    """Return what is served on the API port: every route of protocol 4.2 and 3.1.

    Whoever ends the server gives the `drain` that it will use, and who lets clients in the `metrics`;
    one without a `deployer` takes no releases.
    """
    metrics = metrics or Metrics()
    drain = drain or Drain(deployment.host)
    sockets = _Sockets(deployment, metrics, drain)
    site = SiteBelow(Site(deployment, drain), BELOW_API)
    routes: list[BaseRoute] = [
        Route(HEALTH_PATH, _health(deployment, drain)),
        *HttpApi(deployment).routes(),
        *DeployApi(deployment, deployer).routes(),
        *MetricsApi(deployment, metrics).routes(),
        *AdminApi(deployment, metrics).routes(),
        *ExplainApi(deployment).routes(),
        *JobsApi(deployment).routes(),
        *TransferApi(deployment).routes(),
        *StreamingExportApi(deployment).routes(),
        *StreamingImportApi(deployment).routes(),
        *LogApi(deployment).routes(),
        Route(f"{BELOW_API}/{{path:path}}", site.respond, methods=[*METHODS, "HEAD"]),
        WebSocketRoute(f"{BELOW_API}/{{path:path}}", site.serve),
        *StorageApi(deployment).routes(),
        WebSocketRoute("/api/sync", sockets.unversioned),
        WebSocketRoute("/api/{version}/sync", sockets.versioned),
    ]
    if static is None:
        routes.append(Route("/", _alive))
    routes += OpenApi(routes, deployment).routes()
    if static is not None:
        routes.append(Route("/{path:path}", StaticFiles(static).respond, methods=["GET"]))
    # HTTP actions answer for themselves.
    return _traced(
        Dispatch(routes, own_origins=f"{BELOW_API}/", refused=metrics.refused), deployment
    )


def site_application(deployment: Deployment, *, drain: Drain | None = None) -> ASGIApp:
    """Return what is served on the site port: HTTP actions, at the root."""
    return _traced(Site(deployment, drain or Drain(deployment.host)), deployment)


def _traced(application: ASGIApp, deployment: Deployment) -> ASGIApp:
    tracing = deployment.tracing
    return application if tracing is None else RequestSpans(application, tracing=tracing)


def _health(deployment: Deployment, drain: Drain) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        del request
        return health(drain, serves=deployment.releases.newest is not None)

    return endpoint


async def _alive(request: Request) -> Response:
    del request
    return PlainTextResponse("This Camber deployment is running.")


class _Sockets:
    def __init__(self, deployment: Deployment, metrics: Metrics, drain: Drain) -> None:
        self._sockets = SyncSockets(deployment, metrics, drain)
        self._turn = LoopTurn()
        self._proxies = Proxies(deployment.settings.network)

    async def versioned(self, websocket: WebSocket) -> None:
        """Serve an npm client, whose version stands in the path."""
        try:
            version = parse_version(websocket.path_params["version"])
        except RequestError as error:
            await websocket.send_denial_response(error_response(error))
            return
        await self._serve(websocket, ClientVersion("npm", version))

    async def unversioned(self, websocket: WebSocket) -> None:
        """Serve any other client; a header may say which."""
        header = websocket.headers.get("convex-client")
        try:
            client = UNKNOWN if header is None else parse_client_header(header)
        except RequestError as error:
            await websocket.send_denial_response(error_response(error))
            return
        await self._serve(websocket, client)

    async def _serve(self, websocket: WebSocket, client: ClientVersion) -> None:
        await websocket.accept()
        socket = SyncSocket(self._sockets, client, self._proxies.sender_of(websocket.scope))
        host = self._sockets.host
        network = self._sockets.deployment.settings.network
        give_over = websocket.scope.get("extensions", {}).get(EXTENSION)
        if give_over is not None:
            # Under our own server nothing of this call is left: the connection calls the socket.
            socket.connected(give_over(socket, self._turn, host.monotonic(), network))
            return
        connection = AsgiConnection(websocket, host)
        socket.connected(connection)
        await connection.serve(socket)
