"""Camber inside a host application: `Mount("/backend", camber.asgi("path/to/project"))`.

Hosts tell mounted applications nothing of their start and end. So a host has `lifespan` for its own,
which opens the deployment before the first request and closes it after the last; without it the
first request opens it, and the end of the process closes it, which loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings, Redaction, cores
from camber.errors import CamberError, FeatureUnavailable, RequestError
from camber.functions.loading import LoadError
from camber.server.application import api_application, site_application
from camber.server.draining import Drain
from camber.server.errors import error_response
from camber.server.host_log import HostLog

#: What a store says that another process has open.
_OPEN_ELSEWHERE: Final = "StoreInUse"
_log = logging.getLogger("camber.server")


def asgi(
    path: str | Path,
    *,
    data: str | Path | None = None,
    executors: int | None = None,
    url: str | None = None,
) -> Mounted:
    """Return an ASGI application that serves the project at `path`: its API, sockets and site.

    The site, where HTTP actions are, is below `/http`; `Mounted.site` is it alone. Give the host
    `Mounted.lifespan`, and it is opened and closed with it.

    Args:
        path: the folder of the project.
        data: where it keeps its data, `.camber` in the project unless it is given. One process may
            serve it at a time.
        executors: how many processes run functions, one a core by default; 0 for none.
        url: where clients find what is mounted, `https://example.com/backend`: functions read it
            as CONVEX_CLOUD_URL, and with `/http` as CONVEX_SITE_URL.

    Raises:
        ProjectError: `path` is no project.
    """
    project = load_project(Path(path))
    base = (url or "http://127.0.0.1:8000").rstrip("/")
    return Mounted(
        DeploymentSettings(
            root=project.root,
            functions=project.functions,
            name=project.name,
            data=project.root / ".camber" if data is None else Path(data),
            redaction=Redaction.ON,
            executors=cores() if executors is None else executors,
            cloud_url=base,
            site_url=f"{base}/http",
        )
    )


class Mounted:
    """A deployment that a host application serves. Lives on the event loop that opens it."""

    def __init__(self, settings: DeploymentSettings) -> None:
        self._settings = settings
        self._opening: asyncio.Task[_Open] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    @property
    def site(self) -> ASGIApp:
        """Return the site alone, to be mounted where HTTP actions are to be."""

        async def site(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send, is_site=True)

        return site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a socket; served by itself, its own lifespan too."""
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        else:
            await self._serve(scope, receive, send, is_site=False)

    @asynccontextmanager
    async def lifespan(self, host: Any = None) -> AsyncIterator[None]:
        """Serve within the block; the `lifespan=` of FastAPI and Starlette.

        A host that has one of its own enters this in it: `async with backend.lifespan():`.

        Raises:
            CamberError: it cannot be opened, or the project does not load.
        """
        del host
        await self.open()
        try:
            yield
        finally:
            await self.close()

    async def open(self) -> None:
        """Open the deployment, unless it is open.

        Raises:
            CamberError: it cannot be opened.
            LoadError: the project does not load.
        """
        self._is_closed = False
        await self._opened()

    async def close(self) -> None:
        """Let what runs end for a while, then close the deployment."""
        opening, self._opening, self._is_closed = self._opening, None, True
        if opening is None:
            return
        if not opening.done():
            # It cannot be left half open.
            await asyncio.wait([opening])
        if not opening.cancelled() and opening.exception() is None:
            await opening.result().close()

    async def _opened(self) -> _Open:
        loop = asyncio.get_running_loop()
        if self._opening is not None and self._loop is not loop:
            msg = (
                f"the deployment of {self._settings.root} was opened on another event loop, and is "
                "served there alone. In tests, keep one client for all requests: "
                "`with TestClient(app) as client`"
            )
            raise RuntimeError(msg)
        failed = self._opening is not None and self._opening.done() and _has_failed(self._opening)
        if self._opening is None or failed:
            # Held here, not by the request: a client that leaves must not undo the opening.
            self._loop = loop
            self._opening = asyncio.ensure_future(_open(self._settings))
        return await asyncio.shield(self._opening)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, is_site: bool) -> None:
        try:
            if self._is_closed:
                raise FeatureUnavailable("the host has ended what it has mounted here")
            opened = await self._opened()
        except (CamberError, LoadError) as error:
            _log.error("%s is not served: %s", self._settings.root, error)
            await _refuse(scope, receive, send)
            return
        await (opened.site if is_site else opened.api)(scope, receive, send)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            kind = message["type"]
            try:
                if kind == "lifespan.startup":
                    await self.open()
                else:
                    await self.close()
            except (CamberError, LoadError, OSError) as error:
                await send({"type": f"{kind}.failed", "message": str(error)})
                return
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


class _Open:
    """An open deployment, and what serves it."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._drain = Drain(deployment.host)
        self.api = self._drain.around(api_application(deployment, drain=self._drain))
        self.site = self._drain.around(site_application(deployment, drain=self._drain))

    async def close(self) -> None:
        self._deployment.runtime.log.close()
        await self._drain.drain(limits.development_grace_s)
        await self._deployment.close()


async def _open(settings: DeploymentSettings) -> _Open:
    try:
        deployment = await Deployment.open(settings)
    except CamberError as error:
        if error.code == _OPEN_ELSEWHERE:
            error.add_note(
                "Start the host with one worker, or give camber.asgi a `data=` of this one's own"
            )
        raise
    HostLog(deployment.runtime.log)
    try:
        await deployment.push()
    except BaseException:
        await deployment.close()
        raise
    return _Open(deployment)


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that nothing is served here now; why, only the host's own log does."""
    unavailable: RequestError = FeatureUnavailable("this deployment does not run; try again later")
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": unavailable.code})
    else:
        await error_response(unavailable)(scope, receive, send)
