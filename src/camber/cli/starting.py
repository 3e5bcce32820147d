"""The beginning of `camber dev` and `camber start`, before the server is imported."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import uvloop

from camber.cli.console import Console
from camber.cli.serve import Ahead, Ready, Serve
from camber.cli.stopping import Stop, StoppedEarly
from camber.deployment.project import Project
from camber.deployment.settings import DeploymentSettings
from camber.host import RealHost
from camber.runtime.program import Spare


def run_dev(serve: Serve, project: Project, console: Console, ready: Ready) -> None:
    """Serve a project, and push again whenever a file of its functions folder is saved."""

    async def main() -> None:
        async with _ahead(serve.settings) as ahead:
            from camber.cli.server import dev

            await dev(serve, ahead, project, console, ready)

    _until_stopped(main(), console)


def run_start(serve: Serve, console: Console, ready: Ready) -> None:
    """Serve the newest release: the project's folder, or what has been deployed since.

    Raises:
        LoadError: a module of the folder does not load.
        PushFailed: stored documents do not fit its schema.
    """

    async def main() -> None:
        async with _ahead(serve.settings) as ahead:
            from camber.cli.server import start

            await start(serve, ahead, console, ready)

    _until_stopped(main(), console)


@contextlib.asynccontextmanager
async def _ahead(settings: DeploymentSettings) -> AsyncIterator[Ahead]:
    """Heed signals, and start an executor: it imports Camber while the server does."""
    stop = Stop()
    host = RealHost()
    spare = await Spare.start(host) if settings.executors else None
    try:
        yield Ahead(stop=stop, host=host, spare=spare)
    finally:
        if spare is not None:
            await spare.end()


def _until_stopped(main: Coroutine[Any, Any, None], console: Console) -> None:
    try:
        uvloop.run(main)
    except StoppedEarly:
        console.say("Ended before it was ready")
