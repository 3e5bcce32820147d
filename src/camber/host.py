"""The only door to the clock, to chance, to sleeping and to spawning.

Everything that differs between production, a test and a seeded simulation is asked of a `Host`, so
that one seed replays a failure. No other module reads a clock or starts a task.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import queue
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket, socketpair
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Bound here: user code on this very thread may be given other ones (`functions.determinism`).
_time_ns, _monotonic, _thread_time = time.time_ns, time.monotonic, time.thread_time
_urandom = os.urandom


class Host(Protocol):
    """Time, chance and tasks."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since the Unix epoch; it may jump."""

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""

    def thread_seconds(self) -> float:
        """Return the processor time that the calling thread has used."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes fit for ids, tokens and keys."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Start a named task on the running loop and keep it alive until it ends."""

    def worker(self, name: str) -> Worker:
        """Return a new thread that runs plain functions one after another."""

    def loop_thread(self, name: str) -> LoopThread:
        """Return a new thread that runs coroutines on an event loop of its own."""

    async def output_of(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        seconds_max: float,
    ) -> Output:
        """Run a program in `folder` to its end and return what it wrote, errors included.

        One that takes longer is killed, with what it has started; so is one that nobody waits for
        any more.

        Raises:
            TimeoutError: it took longer.
        """

    def socket_pair(self) -> tuple[socket, socket]:
        """Return two connected sockets: one for us, one for a process to inherit."""

    async def process(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], sockets: Sequence[socket]
    ) -> Process:
        """Start a program that inherits `sockets` under their numbers, and nothing else.

        It is in a session of its own, so that Ctrl-C in a terminal is for its parent alone. What it
        writes, errors included, has to be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a program wrote, and its exit status: the negative number of a signal if by one."""

    status: int
    text: str


class Process(Protocol):
    """A running program, owned by whoever started it."""

    @property
    def pid(self) -> int:
        """Return its number."""

    def kill(self) -> None:
        """End it at once; does nothing once it has ended."""

    async def wait(self) -> int:
        """Return its exit status once it has ended, the negative number of a signal if by one."""

    async def line(self) -> str | None:
        """Return the next line that it writes, or a piece of a long one; None at the end."""


class Worker(Protocol):
    """One thread, owned by whoever asked for it."""

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Run a blocking function on the thread; calls run in the order they were made."""

    def close(self) -> None:
        """Let what was accepted finish, then end the thread."""


class LoopThread(Protocol):
    """One thread with an event loop, owned by whoever asked for it."""

    def run(self, coroutine: Coroutine[Any, Any, R]) -> Awaitable[R]:
        """Run a coroutine on the loop; many at once."""

    def close(self) -> None:
        """Cancel what still runs and end the thread."""


class RealHost:
    """The real clock, the system's randomness, asyncio's tasks, threads."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def now_ns(self) -> int:
        return _time_ns()

    def monotonic(self) -> float:
        return _monotonic()

    def thread_seconds(self) -> float:
        return _thread_time()

    def random_bytes(self, count: int) -> bytes:
        return _urandom(count)

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

    def loop_thread(self, name: str) -> LoopThread:
        return _LoopThread(name)

    async def output_of(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        seconds_max: float,
    ) -> Output:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A group of its own: Ctrl-C is for the server, and what it starts is killed with it.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds_max):
                written, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        status = process.returncode
        assert status is not None
        return Output(status=status, text=written.decode(errors="replace"))

    def socket_pair(self) -> tuple[socket, socket]:
        return socketpair()

    async def process(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], sockets: Sequence[socket]
    ) -> Process:
        started = await asyncio.create_subprocess_exec(
            *arguments,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=[each.fileno() for each in sockets],
            start_new_session=True,
        )
        return _Subprocess(started)


class _Subprocess:
    def __init__(self, started: asyncio.subprocess.Process) -> None:
        self._started = started
        self.pid = started.pid

    def kill(self) -> None:
        # It may have ended by itself, unnoticed yet; what it has started ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        if hasattr(os, "pidfd_open"):
            await self._ended()
            # Whatever it has started would hold its output open, which some loops wait for.
            self.kill()
        return await self._started.wait()

    async def _ended(self) -> None:
        """Return when the process itself has ended."""
        if self._started.returncode is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def line(self) -> str | None:
        output = self._started.stdout
        assert output is not None
        try:
            data = await output.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            data = end.partial
        except asyncio.LimitOverrunError as long:
            data = await output.readexactly(long.consumed)
        return data.decode(errors="replace").rstrip("\n") if data else None


class _ThreadWorker:
    """A thread and a queue. Under load a call costs a fifth of what a pool's submission does."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._calls.put(_Call(functools.partial(function, *args, **kwargs), loop, future))
        return future

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _main(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()


@dataclass(frozen=True, slots=True)
class _Call:
    """A function to run on a thread, and who waits for it on a loop."""

    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def run(self) -> None:
        try:
            result = self.function()
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            self._tell(self._fail, error)
        else:
            self._tell(self._succeed, result)

    def _tell(self, tell: Callable[[Any], None], outcome: Any) -> None:
        # A loop that is closed has nobody on it who waits.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(tell, outcome)

    def _succeed(self, result: Any) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Threads:
    """Threads for calls that block, each as soon as it comes, up to so many at once.

    Unlike those of a `ThreadPoolExecutor` they keep no process from its end: what they run is an
    application's, and may never return.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        #: Threads without work; less than none while work waits for threads.
        self._idle = 0
        self._is_closed = False

    def submit(self, function: Callable[[], R]) -> concurrent.futures.Future[R]:
        """Run a function on a thread; return what it comes to.

        Raises:
            RuntimeError: they are closed, or the system has no thread for it.
        """
        future: concurrent.futures.Future[R] = concurrent.futures.Future()
        with self._lock:
            if self._is_closed:
                msg = f"{self._name}: these threads are closed and take no call any more"
                raise RuntimeError(msg)
            if self._idle > 0 or self._count == self._most:
                self._idle -= 1
            else:
                name = f"{self._name}_{self._count}"
                threading.Thread(target=self._main, name=name, daemon=True).start()
                self._count += 1
            self._work.put(_Work(function, future))
        return future

    def close(self) -> None:
        """Take nothing more and cancel what has not begun; what runs is left alone."""
        with self._lock:
            self._is_closed = True
            with contextlib.suppress(queue.Empty):
                while (waiting := self._work.get_nowait()) is not None:
                    waiting.future.cancel()
            for _ in range(self._count):
                self._work.put(None)

    def _main(self) -> None:
        while (work := self._work.get()) is not None:
            work.run()
            # Nothing is kept of it while there is nothing to do.
            del work
            with self._lock:
                self._idle += 1


@dataclass(frozen=True, slots=True)
class _Work:
    """A function to run on a thread, and what whoever waits for it has."""

    function: Callable[[], Any]
    future: concurrent.futures.Future[Any]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.function()
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class _LoopThread:
    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, R]) -> Awaitable[R]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
