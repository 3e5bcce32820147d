"""The lifespans of mounted applications: each is started before its first request, once a process.

An application that knows no lifespan is one whose lifespan ends at once, by an error or not.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from typing import Any, Final

from camber import limits
from camber.errors import DeveloperError
from camber.functions.http_router import HttpRoute
from camber.host import Host
from camber.runtime.http_requests import Message

_log = logging.getLogger("camber.executor")

_STARTUP: Final = "lifespan.startup"
_SHUTDOWN: Final = "lifespan.shutdown"


class LifespanFailed(DeveloperError):
    """A mounted application that does not start, and so answers nothing."""

    code = "LifespanFailed"


class Lifespans:
    """The applications that are mounted in one release, on one event loop."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._starting: dict[HttpRoute, asyncio.Task[_Lifespan]] = {}

    def start(self, route: HttpRoute) -> asyncio.Task[_Lifespan]:
        """Begin to start the application that is mounted at a route, unless it has been."""
        starting = self._starting.get(route)
        # One that has failed is tried again by the next request.
        if starting is None or (starting.done() and _has_failed(starting)):
            # In no request's context: what it logs and starts is the application's own.
            starting = contextvars.Context().run(
                self._host.spawn, f"lifespan of {route.path}", self._start(route)
            )
            self._starting[route] = starting
        return starting

    async def state(self, route: HttpRoute) -> Mapping[str, Any]:
        """Return the state that the application's lifespan has left for its requests.

        Raises:
            LifespanFailed: the application does not start.
        """
        lifespan = await asyncio.shield(self.start(route))
        return lifespan.state

    async def _start(self, route: HttpRoute) -> _Lifespan:
        lifespan = _Lifespan(self._host, route)
        try:
            async with asyncio.timeout(limits.lifespan_start_s_max):
                await lifespan.start()
        except TimeoutError:
            await lifespan.cancel()
            msg = (
                f"the application mounted at {route.path} has not started within "
                f"{limits.lifespan_start_s_max:.0f} s"
            )
            raise LifespanFailed(msg) from None
        return lifespan

    async def close(self, within_s: float) -> None:
        """End all lifespans; those that take longer are cancelled."""
        starting, self._starting = list(self._starting.values()), {}
        ending = [self._host.spawn("lifespan end", _end(each)) for each in starting]
        if ending:
            _, late = await asyncio.wait(ending, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _end(starting: asyncio.Task[_Lifespan]) -> None:
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
    if not _has_failed(starting):
        await starting.result().end()


class _Lifespan:
    def __init__(self, host: Host, route: HttpRoute) -> None:
        self._host = host
        self._route = route
        self.state: dict[str, Any] = {}
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the application has started, or has said that it knows no lifespan."""
        self._running = self._host.spawn(f"application {self._route.path}", self._run())
        answer = await self._ask(_STARTUP)
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            said = answer.get("message") or "its output says why"
            msg = f"the application mounted at {self._route.path} does not start: {said}"
            raise LifespanFailed(msg)

    async def end(self) -> None:
        """Return once the application has ended."""
        if self._running is None or self._running.done():
            return
        try:
            answer = await self._ask(_SHUTDOWN)
            if answer is not None and answer["type"] == "lifespan.shutdown.failed":
                _log.warning("%s did not end well: %s", self._route.path, answer.get("message", ""))
        finally:
            await self.cancel()

    async def cancel(self) -> None:
        """End the task of an application that does not end."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _ask(self, type: str) -> Message | None:
        """Return the application's answer; None if it has ended instead."""
        assert self._running is not None
        self._asked.put_nowait({"type": type})
        answer = self._host.spawn("lifespan answer", self._answers.get())
        await asyncio.wait([answer, self._running], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._route.handler(scope, self._asked.get, self._answers.put)
        # As servers do: an application that raises here is one that knows no lifespan.
        except Exception as error:  # noqa: BLE001
            _log.debug("%s has no lifespan: %s", self._route.path, error)
