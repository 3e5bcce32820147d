"""HTTP requests in the server's own process: on the loop of actions, with no frames between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from camber import limits
from camber.functions.application import Application
from camber.functions.logs import LogLine
from camber.host import Host, LoopThread
from camber.runtime.action_files import AskFiles
from camber.runtime.actions import ActionRunner
from camber.runtime.exchanges import ActionEnd, ServerEnd, too_many_requests
from camber.runtime.executor import FunctionCall, Progress
from camber.runtime.http_actions import HttpRunner
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.lifespans import Lifespans
from camber.runtime.results import HttpResult


@dataclass(eq=False, slots=True)
class _Served:
    """An application that answers requests, and how many it answers now."""

    application: Application
    runner: HttpRunner
    running: int = 0


class InProcessHttp:
    """Answers requests of the release that serves, and of earlier ones what they have begun."""

    def __init__(self, *, host: Host, actions: ActionRunner, thread: LoopThread) -> None:
        self._host = host
        self._actions = actions
        self._thread = thread
        self._running = 0
        #: The newest last; used on the actions' loop alone.
        self._served: list[_Served] = []

    async def answer(
        self,
        call: FunctionCall,
        application: Application,
        request: HttpRequest,
        exchange: Exchange,
        progress: Progress,
        ask_files: AskFiles,
    ) -> HttpResult:
        """Answer a request on the actions' loop; called on the server's."""
        if self._running >= limits.http_actions_in_flight_max:
            raise too_many_requests(call)
        self._running += 1
        server = ServerEnd(self._host, exchange)
        loop = asyncio.get_running_loop()
        try:
            result = await self._thread.run(
                self._answer(call, application, request, server, loop, progress, ask_files)
            )
            await server.end()
            return result
        finally:
            self._running -= 1
            server.abandon()

    async def close(self) -> None:
        """End the lifespans of mounted applications."""
        await self._thread.run(self._close())

    # On the actions' loop.

    async def _answer(
        self,
        call: FunctionCall,
        application: Application,
        request: HttpRequest,
        server: ServerEnd,
        server_loop: asyncio.AbstractEventLoop,
        progress: Progress,
        ask_files: AskFiles,
    ) -> HttpResult:
        end = ActionEnd(0, _calling(server_loop, server.received))
        tell = _calling(asyncio.get_running_loop(), end.received)
        _calling(server_loop, lambda _: server.begin(0, tell))(None)
        log: Callable[[LogLine], None] = _calling(server_loop, progress)
        served = self._serving(application)
        served.running += 1
        try:
            return await served.runner.run(call, request, application, end, log, ask_files)
        finally:
            served.running -= 1
            await self._end_superseded()

    def _serving(self, application: Application) -> _Served:
        for served in self._served:
            if served.application is application:
                return served
        runner = HttpRunner(actions=self._actions, lifespans=Lifespans(self._host))
        served = _Served(application, runner)
        self._served.append(served)
        return served

    async def _end_superseded(self) -> None:
        done = [served for served in self._served[:-1] if not served.running]
        for served in done:
            self._served.remove(served)
        for served in done:
            await served.runner.lifespans.close(limits.lifespan_end_s_max)

    async def _close(self) -> None:
        for served in self._served:
            await served.runner.lifespans.close(limits.lifespan_end_s_max)


def _calling(
    loop: asyncio.AbstractEventLoop, function: Callable[[Any], None]
) -> Callable[[Any], None]:
    """Return what calls a function on a loop, wherever it is called; not on one that has ended."""

    def call(argument: Any) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(function, argument)

    return call
