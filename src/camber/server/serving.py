"""Serving a deployment on its two ports until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from camber import limits
from camber.deployment.deploying import Deployer
from camber.deployment.deployment import Deployment
from camber.server.application import api_application, site_application
from camber.server.draining import Drain
from camber.server.gate import Gate
from camber.server.http_connection import HttpConnection
from camber.server.known_hosts import KnownHosts
from camber.server.metrics import Metrics
from camber.server.websocket_connection import Handshake

#: How long connections may take to close once nothing runs on them, in seconds.
_CLOSING_S = 2


#: What uvicorn says, as an error, of a socket that is answered by a status, and of a response that
#: is cut off since its action has failed.
_EXPECTED = ("without completing handshake", "without completing response")


class _Expected(logging.Filter):
    """Leaves out what uvicorn says of what is as it should be."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is told."""
        return not any(said in record.msg for said in _EXPECTED)


logging.getLogger("uvicorn.error").addFilter(_Expected())


class _Server(uvicorn.Server):
    """A uvicorn server whose end is decided by us: two of them share the process's signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


@contextlib.asynccontextmanager
async def serving(
    deployment: Deployment,
    *,
    api: socket.socket,
    site: socket.socket,
    static: Path | None = None,
    grace_s: float = limits.development_grace_s,
    deployer: Deployer | None = None,
    names: frozenset[str] | None = None,
) -> AsyncIterator[None]:
    """Serve within the block; requests are answered once it is entered.

    At its end what runs has `grace_s` seconds to finish. Releases are taken in by the `deployer`.
    Requests for a host that is none of the `names` are refused, where there are any.
    """
    drain = Drain(deployment.host)
    metrics = Metrics()
    gate = Gate(deployment.settings.network, metrics.refused)
    applications = (
        (
            api_application(
                deployment, static=static, drain=drain, deployer=deployer, metrics=metrics
            ),
            api,
        ),
        (site_application(deployment, drain=drain), site),
    )
    servers = [
        (_Server(_config(drain.around(_named(application, names)), gate)), bound)
        for application, bound in applications
    ]
    tasks = [
        deployment.host.spawn(f"server {bound.getsockname()[1]}", server.serve(sockets=[bound]))
        for server, bound in servers
    ]
    watch = deployment.host.spawn("heartbeat of connections", gate.look_after(deployment.host))
    try:
        while not all(server.started for server, _ in servers):
            for task in tasks:
                if task.done():
                    task.result()
            await deployment.host.sleep(0.005)
        _collect_seldom()
        yield
    finally:
        # Its readers wait for long, and would be waited for.
        deployment.runtime.log.close()
        await asyncio.gather(drain.drain(grace_s), deployment.scheduler.drain(grace_s))
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
        watch.cancel()


def _named(application: ASGIApp, names: frozenset[str] | None) -> ASGIApp:
    return application if names is None else KnownHosts(application, names)


def _collect_seldom() -> None:
    """Have cycles of objects looked for once in tens of thousands of new ones, not in hundreds.

    What serves makes next to none, and a look at all that sessions and cached results hold stops
    the loop. What is there by now stays, and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(limits.new_objects_per_collection)


def _config(application: ASGIApp, gate: Gate) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="none",
        http=cast("type[asyncio.Protocol]", functools.partial(HttpConnection, gate=gate)),
        ws=Handshake,
        ws_max_size=limits.socket_message_bytes_max,
        ws_per_message_deflate=False,
        timeout_keep_alive=limits.http_idle_s,
        timeout_graceful_shutdown=_CLOSING_S,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Nobody asks from where a request came.
        proxy_headers=False,
        # The sockets are listening already: what connects while we start waits in the backlog.
        backlog=2048,
    )
