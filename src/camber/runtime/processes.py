"""Executor processes, as the server holds them: how they are started, spoken to and ended.

What a process answers and what is done about one that is lost belongs to the pools.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from camber import limits
from camber.engine.committer import Ahead
from camber.errors import RequestError
from camber.functions.analysis import Analysis
from camber.functions.loading import LoadError
from camber.host import Host, Process
from camber.runtime import frames
from camber.runtime.frames import FrameBuffer, FromExecutor, Start, ToExecutor
from camber.runtime.program import Program, Role, Spare, Started
from camber.values.timestamp import Timestamp

_log = logging.getLogger("camber.executors")
#: What processes write, beside the log lines of functions.
_output = logging.getLogger("camber.output")

#: Lines of a process's output that are told before a pause, and that pause in seconds.
_LINES_AT_ONCE: Final = 100
_LINES_PAUSE_S: Final = 0.05
#: How long the output of a process that has ended is read on, in seconds.
_LAST_WORDS_S: Final = 1.0


class Output(Enum):
    """What is told of what a process writes, beside the log lines of functions."""

    #: All of it.
    WHOLE = "whole"
    #: Not what modules write while they load: another process of the release has told it.
    LOADED = "loaded"


class ExecutorEnded(Exception):
    """A process ended before it had loaded its release. Says how."""


class Listener(Protocol):
    """Who is told what a process says."""

    def received(self, process: ExecutorProcess, message: FromExecutor) -> None:
        """Take in a message."""

    def lost(self, process: ExecutorProcess) -> None:
        """Note that nothing more will come. Called once."""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Starts processes that load one release. A `spare` is the first of them, if it fits."""

    host: Host
    program: Program
    start: Start
    spare: Spare | None = None

    async def started(self, role: Role) -> Started:
        """Return a process that has not been told yet what to load."""
        spare = None if self.spare is None else self.spare.taken(self.program, role)
        return spare or await self.program.start(self.host, role)

    async def launch(self, role: Role, listener: Listener, output: Output) -> ExecutorProcess:
        """Start a process; return it once it has loaded the release.

        Raises:
            LoadError: the release does not load, or not in time.
            ExecutorEnded: the process ended meanwhile.
        """
        process = ExecutorProcess(role=role, listener=listener, output=output)
        try:
            await process.connect(self)
            async with asyncio.timeout(limits.release_load_s_max):
                first = await process.first
            match first:
                case frames.Loaded(analysis=analysis):
                    process.analysis = analysis
                    return process
                case frames.LoadFailed(place=place, reason=reason, trace=trace):
                    raise LoadError(place, reason, trace=trace)
                case _:
                    raise ExecutorEnded(f"the process {await process.ending()} while it started")
        except BaseException as error:
            # Whoever is cancelled here must not leave a process behind either.
            await process.end()
            if isinstance(error, TimeoutError):
                raise LoadError(
                    self.start.functions,
                    f"the release has not loaded within {limits.release_load_s_max:.0f} s; do "
                    "less when modules are imported",
                ) from None
            raise


@dataclass(eq=False, kw_only=True)
class ExecutorProcess:
    """One process and the sockets to it."""

    role: Role
    listener: Listener
    output: Output
    analysis: Analysis | None = None
    #: The first message, or None if the process ended without one.
    first: asyncio.Future[FromExecutor | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    _process: Process | None = None
    _transports: list[asyncio.Transport] = field(default_factory=list)
    _outgoing: list[bytes] = field(default_factory=list)
    _is_lost: bool = False
    #: Up to where, and of which epoch, it knows what is ahead.
    _ahead: tuple[int, Timestamp] = (0, 0)
    _reaper: asyncio.Task[int] | None = None

    async def connect(self, launcher: Launcher) -> None:
        """Start the process and tell it what to load."""
        started = await launcher.started(self.role)
        self._process = started.process
        self._reaper = launcher.host.spawn(f"executor {self.pid}", self._reap(launcher.host))
        loop = asyncio.get_running_loop()
        for ours in started.sockets:
            ours.setblocking(False)  # noqa: FBT003  # its own signature
            transport, _ = await loop.create_connection(
                lambda: _Connection(self._received, self._gone), sock=ours
            )
            self._transports.append(transport)
        self.send(launcher.start)

    async def _reap(self, host: Host) -> int:
        """Tell what the process writes until it ends; return its exit status."""
        assert self._process is not None
        telling = host.spawn("executor output", self._tell(host, self._process))
        status = await self._process.wait()
        # What it has started may hold its output open for as long as it likes.
        await asyncio.wait([telling], timeout=_LAST_WORDS_S)
        telling.cancel()
        await asyncio.wait([telling])
        return status

    async def _tell(self, host: Host, process: Process) -> None:
        told = 0
        while (line := await process.line()) is not None:
            if self.output is Output.WHOLE or self.analysis is not None:
                _output.info("%s", line)
            told += 1
            if told % _LINES_AT_ONCE == 0:
                # One that writes without end waits for us, not everybody else.
                await host.sleep(_LINES_PAUSE_S)

    @property
    def pid(self) -> int:
        """Return the process's number."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_lost(self) -> bool:
        """Return whether nothing more will come from the process."""
        return self._is_lost

    def send(self, message: ToExecutor) -> None:
        """Send a message; one to a process that is lost goes nowhere.

        Raises:
            RequestError: it is larger than a frame may be.
        """
        try:
            data = frames.frame(message)
        except RequestError:
            # Whatever news it had have not arrived.
            self._ahead = (0, 0)
            raise
        if self._is_lost:
            return
        if not self._outgoing:
            # All that one turn of the loop sends goes out at once.
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(data)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not self._is_lost:
            self._transports[0].write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))

    def news_of(self, ahead: Ahead) -> frames.AheadNews:
        """Return what the process has to be told to know what is ahead; the next message does."""
        epoch, upto = self._ahead
        known = upto if epoch == ahead.epoch else 0
        self._ahead = (ahead.epoch, ahead.ts)
        return frames.AheadNews(
            epoch=ahead.epoch,
            published=ahead.commits[0].ts - 1,
            commits=[
                frames.AheadCommit(commit.ts, commit.changes)
                for commit in ahead.commits
                if commit.ts > known
            ],
        )

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
        for transport in self._transports:
            transport.abort()

    async def end(self) -> None:
        """End the process at once; return when it has ended, also if whoever waits is cancelled."""
        self.kill()
        if self._reaper is not None:
            await asyncio.wait([self._reaper])

    async def status(self) -> int:
        """Return the exit status, once the process has ended; negative for a signal."""
        assert self._reaper is not None
        return await asyncio.shield(self._reaper)

    async def ending(self) -> str:
        """Return how the process ended, once it has."""
        return ending_of(await self.status())

    def _received(self, body: bytes) -> None:
        message = frames.from_executor.decode(body)
        if self.first.done():
            self.listener.received(self, message)
        elif not isinstance(message, frames.LoopStatus):
            # Reports have a socket of their own, and may overtake what comes over the other.
            self.first.set_result(message)

    def _gone(self) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        for transport in self._transports:
            transport.close()
        if self.first.done():
            self.listener.lost(self)
        else:
            self.first.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, received: Callable[[bytes], None], gone: Callable[[], None]) -> None:
        self._received = received
        self._gone = gone
        self._buffer = FrameBuffer()

    def data_received(self, data: bytes) -> None:
        for body in self._buffer.feed(data):
            self._received(body)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._gone()


def ending_of(status: int) -> str:
    """Return how a process ended that has this exit status."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


async def ended(process: ExecutorProcess, *, within_s: float) -> None:
    """Return once a process that was told to end has done so; end it if it takes too long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await process.ending()
    process.kill()
    await process.ending()
