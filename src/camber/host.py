"""The only door to the clock, to chance, to sleeping and to spawning.

Everything that differs between production, a test and a seeded simulation is asked of a `Host`, so
that one seed replays a failure. No other module reads a clock or starts a task.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Host(Protocol):
    """Time, chance and tasks."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since the Unix epoch; it may jump."""

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes fit for ids, tokens and keys."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Start a named task on the running loop and keep it alive until it ends."""

    def worker(self, name: str) -> Worker:
        """Return a new thread that runs plain functions one after another."""


class Worker(Protocol):
    """One thread, owned by whoever asked for it."""

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Run a blocking function on the thread; calls run in the order they were made."""

    def close(self) -> None:
        """Let what was accepted finish, then end the thread."""


class RealHost:
    """The real clock, the system's randomness, asyncio's tasks, threads."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        task = asyncio.create_task(coroutine, name=name)
        # The loop holds tasks weakly: one that nobody else holds may vanish while it waits.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def worker(self, name: str) -> Worker:
        return _ThreadWorker(name)


class _ThreadWorker:
    def __init__(self, name: str) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        return asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True)
