"""The server that `camber dev` and `camber start` run, once it is imported."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from camber.cli.console import Console
from camber.cli.function_output import printing
from camber.cli.serve import Ahead, Ready, Serve, Urls
from camber.codegen.files import generated_files, write_generated
from camber.deployment.deploying import Deployer
from camber.deployment.deployment import Deployment
from camber.deployment.project import Project
from camber.errors import CamberError
from camber.functions.importing import component_folders
from camber.functions.loading import LoadError
from camber.releases.failures import PushFailed, VariablesLacking
from camber.releases.push import PushReport
from camber.server.known_hosts import is_loopback, known_names
from camber.server.open_files import within_open_files
from camber.server.ports import bind_next_free_pair, bind_pair

#: Files that make a save: those between two looks are one.
_SETTLE_MS = 50

#: `camber.server.serving.serving`.
Serving = Callable[..., contextlib.AbstractAsyncContextManager[None]]


async def dev(serve: Serve, ahead: Ahead, project: Project, console: Console, ready: Ready) -> None:
    """Serve a project, and push again whenever a file of its functions folder is saved."""
    stop = ahead.stop
    async with _opened(serve, ahead, console) as it:
        pushes = _Pushes(it.deployment, project, console)
        serving = await _ready_to_serve(stop.unless_wanted(pushes.push()))
        async with serving(
            it.deployment,
            api=it.api,
            site=it.site,
            static=serve.static,
            grace_s=serve.grace_s,
            names=_names(serve, it.urls) if is_loopback(serve.host) else None,
        ):
            if serve.env_local:
                write_env_local(project.root, it.urls.cloud, it.deployment.admin_keys.key)
            ready(it.deployment, it.urls)
            async with pushes:
                await _watch(pushes, project, stop.wanted)


async def start(serve: Serve, ahead: Ahead, console: Console, ready: Ready) -> None:
    """Serve the newest release: the project's folder, or what has been deployed since.

    Raises:
        LoadError: a module of the folder does not load.
        PushFailed: stored documents do not fit its schema.
    """
    stop = ahead.stop
    async with _opened(serve, ahead, console) as it:
        deployer = Deployer(it.deployment, lambda report: console.say(_summary(report)))
        serving = await _ready_to_serve(
            stop.unless_wanted(_begin(deployer, serve.project, console))
        )
        async with serving(
            it.deployment,
            api=it.api,
            site=it.site,
            static=serve.static,
            grace_s=serve.grace_s,
            deployer=deployer,
            names=_names(serve, it.urls) if serve.allowed_hosts else None,
        ):
            ready(it.deployment, it.urls)
            await stop.wanted.wait()
            console.say(
                f"Ending: what runs has {serve.grace_s:g} s to finish; a second signal ends at once"
            )


async def _ready_to_serve(release: Coroutine[Any, Any, None]) -> Serving:
    """Wait for a release; return what serves it, which is imported while its process loads it."""
    module, _ = await asyncio.gather(
        asyncio.to_thread(importlib.import_module, "camber.server.serving"), release
    )
    return cast("Serving", module.serving)


async def _begin(deployer: Deployer, project: Project | None, console: Console) -> None:
    """Let the newest release serve.

    One that was deployed and cannot load leaves a server that waits for the next: ended, it would
    be no help.
    """
    if project is not None and await deployer.is_newest(project):
        console.say(_summary(await deployer.push_folder(project)))
        return
    try:
        report = await deployer.resume()
    except (LoadError, PushFailed, CamberError) as error:
        console.complain(f"What was deployed last cannot serve: {error}")
        report = None
    if report is not None:
        console.say(f"Serving what was deployed last: {_summary(report)}")
    else:
        console.say("No release serves yet: waiting for `camber deploy`")


@contextlib.asynccontextmanager
async def _opened(serve: Serve, ahead: Ahead, console: Console) -> AsyncIterator[_Opened]:
    bind = bind_next_free_pair if serve.any_port else bind_pair
    api, site = bind(serve.host, serve.port, serve.site_port)
    with api, site:
        urls = Urls(
            cloud=serve.cloud_url or _origin(serve.host, api),
            site=serve.site_url or _origin(serve.host, site),
        )
        network, told = within_open_files(serve.settings.network)
        if told is not None:
            console.complain(told)
        settings = replace(
            serve.settings, cloud_url=urls.cloud, site_url=urls.site, network=network
        )
        deployment = await Deployment.open(settings, ahead.host, ahead.spare)
        async with (
            printing(deployment, serve.log_format) if serve.tail_logs else contextlib.nullcontext()
        ):
            try:
                yield _Opened(deployment, urls, api, site)
            finally:
                await deployment.close()


def _names(serve: Serve, urls: Urls) -> frozenset[str]:
    return known_names(serve.allowed_hosts, urls.cloud, urls.site)


@dataclass(frozen=True, slots=True)
class _Opened:
    deployment: Deployment
    urls: Urls
    api: socket.socket
    site: socket.socket


def _origin(host: str, bound: socket.socket) -> str:
    shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # compared only
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{bound.getsockname()[1]}"


async def _watch(pushes: _Pushes, project: Project, stop: asyncio.Event) -> None:
    from watchfiles import PythonFilter, awatch

    while not stop.is_set():
        folders = _watched(project)
        async for _ in awatch(
            *folders,
            watch_filter=PythonFilter(),
            stop_event=stop,
            step=_SETTLE_MS,
            rust_timeout=500,
            yield_on_timeout=False,
            raise_interrupt=False,
        ):
            await pushes.again()
            if _watched(project) != folders:
                break


def _watched(project: Project) -> list[Path]:
    """Return the folders whose changes are pushed: the functions folder and the components'."""
    folders = [project.root / path for path in component_folders(project.root, project.functions)]
    return [project.functions_path, *(folder for folder in folders if folder.is_dir())]


class _Pushes:
    """Pushes what is there: after each save, and when variables change that the last push lacked.

    Within a block. One push at a time: one that goes on is given up for the next.
    """

    def __init__(self, deployment: Deployment, project: Project, console: Console) -> None:
        self._deployment = deployment
        self._project = project
        self._console = console
        self._lacks_variables = False
        self._pushing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._retries: set[asyncio.Task[None]] = set()
        self._is_open = False
        deployment.follow_variables(self._variables_changed)

    async def __aenter__(self) -> None:
        self._is_open = True

    async def __aexit__(self, *exc: object) -> None:
        self._is_open = False
        await asyncio.gather(*self._retries)
        await self._end()

    async def again(self) -> None:
        """Begin to push what is there now."""
        async with self._turn:
            await self._end()
            self._pushing = self._deployment.host.spawn("save", self.push())

    async def push(self) -> None:
        """Push what is there now; say why it cannot be, and let the last good release serve on."""
        self._lacks_variables = False
        try:
            release = await self._deployment.load()
            report = await self._deployment.push_release(release)
            types = await release.describe(generated_files)
        except LoadError as error:
            trace = f"\n{error.trace.rstrip()}" if error.trace else ""
            self._console.complain(f"Not pushed: {error}{trace}", place=error.place)
        except (PushFailed, CamberError, OSError) as error:
            self._lacks_variables = isinstance(error, VariablesLacking)
            self._console.complain(f"Not pushed: {error}")
        else:
            self._console.say(_summary(report))
            try:
                root = self._project.root
                write_generated(types, [root / folder for folder in self._project.generated])
            except OSError as error:
                self._console.complain(f"The generated files cannot be written: {error}")

    def _variables_changed(self) -> None:
        if self._is_open and self._lacks_variables:
            self._lacks_variables = False
            retry = self._deployment.host.spawn("variables", self.again())
            self._retries.add(retry)
            retry.add_done_callback(self._retries.discard)

    async def _end(self) -> None:
        task, self._pushing = self._pushing, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def _summary(report: PushReport) -> str:
    count = len(report.analysis.functions)
    parts = [f"Pushed {count} function{'' if count == 1 else 's'}"]
    crons = report.crons
    for what, names in (
        ("new cron jobs", () if crons is None else crons.added),
        ("changed cron jobs", () if crons is None else crons.changed),
        ("removed cron jobs", () if crons is None else crons.removed),
        ("new tables", report.tables_created),
        ("built indexes", report.indexes_built),
        ("staged indexes", report.indexes_staged),
        ("enabled indexes", report.indexes_enabled),
        ("dropped indexes", report.indexes_dropped),
        ("new identity providers", report.changes.providers_added),
        ("removed identity providers", report.changes.providers_removed),
    ):
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    return "\n".join(["; ".join(parts), *(f"Note: {note}" for note in report.notes)])


def write_env_local(root: Path, cloud_url: str, admin_key: str) -> None:
    """Write where front ends and the official CLI find the deployment into `.env.local`.

    Other lines of the file stay. Only its owner can read it: it holds the admin key.
    """
    ours = {
        "VITE_CONVEX_URL": cloud_url,
        "CONVEX_SELF_HOSTED_URL": cloud_url,
        "CONVEX_SELF_HOSTED_ADMIN_KEY": admin_key,
    }
    file = root / ".env.local"
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    kept = [line for line in before.splitlines() if line.partition("=")[0].strip() not in ours]
    # In quotes: the key has a bar in it.
    lines = [*kept, *(f'{name}="{value}"' for name, value in ours.items())]
    text = "\n".join(lines) + "\n"
    if text == before:
        return
    partial = root / ".env.local.new"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    partial.replace(file)
