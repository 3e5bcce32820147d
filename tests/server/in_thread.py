"""A server on a thread of the test, so that the test can set limits that nobody could wait for."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import httpx

from camber.deployment.deployment import Deployment
from camber.deployment.settings import MEMORY, DeploymentSettings, MetricsAccess, NetworkLimits
from camber.server.ports import bind_pair
from camber.server.serving import serving
from tests.functions.projects import write_project

_START_S = 30


class ServerInThread:
    """Serves an application of some modules within a block."""

    def __init__(self, root: Path, *, network: NetworkLimits | None = None, **modules: str) -> None:
        write_project(root, **modules)
        folder = next(each.name for each in root.iterdir() if each.is_dir())
        self._settings = DeploymentSettings(
            root=root,
            functions=folder,
            data=root / "data",
            store=MEMORY,
            metrics=MetricsAccess.OPEN,
            network=network or NetworkLimits(),
        )
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    async def _main(self) -> None:
        try:
            deployment = await Deployment.open(self._settings)
            try:
                await deployment.push()
                await self._serve(deployment)
            finally:
                await deployment.close()
        except BaseException as error:  # noqa: BLE001  # told by the one who waits
            self._failure = error
            self._ready.set()

    async def _serve(self, deployment: Deployment) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        api, site = bind_pair("127.0.0.1", 0, 0)
        with api, site:
            async with serving(deployment, api=api, site=site, grace_s=0.2):
                self.url = f"http://127.0.0.1:{api.getsockname()[1]}"
                self._ready.set()
                await self._end.wait()

    def __enter__(self) -> ServerInThread:
        self._thread.start()
        assert self._ready.wait(_START_S)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_START_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def call(self, kind: str, path: str, args: dict[str, Any]) -> Any:
        """Run a function over HTTP and return its value."""
        answer = httpx.post(
            f"{self.url}/api/{kind}", json={"path": path, "args": args}, timeout=30
        ).json()
        assert answer["status"] == "success", answer
        return answer["value"]

    def metric(self, name: str) -> float:
        """Return a metric, 0 if it is not there."""
        found = re.search(
            rf"^{re.escape(name)} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.M
        )
        return 0.0 if found is None else float(found[1])

    def refused(self, code: str) -> float:
        """Return how often a bound was met."""
        return self.metric(f'camber_refused_total{{code="{code}"}}')
