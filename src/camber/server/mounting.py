"""Camber inside a host application: `Mount("/", camber.asgi("path/to/project"))`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings, Redaction, cores
from camber.server.application import api_application


def asgi(
    path: str | Path, *, data: str | Path | None = None, executors: int | None = None
) -> ASGIApp:
    """Return an ASGI application that serves the project at `path`.

    It opens the deployment with the first request, since hosts tell mounted applications nothing
    of their start. Served by itself it closes it at the end; mounted, its store is closed by the
    end of the process, which loses nothing. `data` is where it keeps its data, `.camber` in the
    project unless it is given. One process may serve a project at a time. `executors` is how many
    processes run functions, one a core by default; 0 for none.

    Raises:
        ProjectError: `path` is no project.
    """
    project = load_project(Path(path))
    return _Mounted(
        DeploymentSettings(
            root=project.root,
            functions=project.functions,
            name=project.name,
            data=project.root / ".camber" if data is None else Path(data),
            redaction=Redaction.ON,
            executors=cores() if executors is None else executors,
        )
    )


class _Mounted:
    def __init__(self, settings: DeploymentSettings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[ASGIApp] | None = None
        self._deployment: Deployment | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
            await self._close()
            return
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            # Held here, not by the request: a client that leaves must not undo the opening.
            self._opening = asyncio.ensure_future(self._open())
        application = await asyncio.shield(self._opening)
        await application(scope, receive, send)

    async def _open(self) -> ASGIApp:
        deployment = await Deployment.open(self._settings)
        try:
            await deployment.push()
        except BaseException:
            await deployment.close()
            raise
        self._deployment = deployment
        return api_application(deployment)

    async def _close(self) -> None:
        deployment, self._deployment, self._opening = self._deployment, None, None
        if deployment is not None:
            await deployment.close()


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
