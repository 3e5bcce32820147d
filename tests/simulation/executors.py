"""Executor processes: the program's own code behind simulated sockets.

One that runs actions has an event loop, as everybody has here. `TransactionWorker.serve` waits at its channel. Here the channel parks it instead: the call ends by
an exception, and is made again when there is something to do. All that the worker knows is in the
worker, so it goes on where it was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camber.engine.reading import ReadingEngine
from camber.engine.variables import Variables
from camber.files.capabilities import Capabilities
from camber.functions.application import Application
from camber.occ.cursors import CursorCipher
from camber.runtime import frames
from camber.runtime.action_worker import ActionWorker
from camber.runtime.failures import FailureTexts
from camber.runtime.frames import FrameBuffer, ToExecutor
from camber.runtime.handles import Handles
from camber.runtime.program import Role
from camber.runtime.release import InProcessRelease
from camber.runtime.transaction_worker import LoadedApplication, TransactionWorker
from camber.runtime.transactions import TransactionRunner
from tests.simulation.disk import Disk
from tests.simulation.host import SimulatedHost, SimulatedProcess, SimulatedSocket
from tests.simulation.loop import NS, Machine

#: How long a process takes to load a release, in nanoseconds.
_LOADING_NS = (5_000_000, 200_000_000)
#: Between two reports on the event loop of a process for actions, in seconds.
_REPORT_S = 0.5


class Parked(BaseException):
    """The worker waits at its channel."""


class Answered(Parked):
    """It has answered, and lets time pass before it goes on."""


class _Channel:
    """The worker's side of the socket."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self.messages: list[ToExecutor] = []
        self.is_ended = False
        self._has_answered = False

    def receive(self) -> list[ToExecutor] | None:
        messages = self.poll()
        if messages == []:
            raise Parked
        return messages

    def poll(self) -> list[ToExecutor] | None:
        if self._has_answered:
            self._has_answered = False
            raise Answered
        messages, self.messages = self.messages, []
        return None if self.is_ended and not messages else messages

    def send(self, data: bytes) -> None:
        self._has_answered = True
        self._send(data)


class _Unbounded:
    """A budget that is never spent: time here is not the processor's."""

    is_spent = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass

    def rest(self) -> None:
        pass


class _Unshared:
    """Snapshots that share nothing: when that ends is up to the clock."""

    def end(self, *, older_than_s: float = 0.0) -> None:
        pass


@dataclass
class _Memory:
    """Memory that is short now and then: the process leaves, and another takes its place."""

    chance: random.Random

    @property
    def is_near(self) -> bool:
        return self.chance.random() < 0.3


class Executors:
    """Starts the processes of one server, and knows which there are."""

    def __init__(
        self,
        *,
        disk: Disk,
        application: Callable[[Path], Application],
        chance: random.Random,
        work_ns: int,
    ) -> None:
        self._disk = disk
        self._application = application
        self.chance = chance
        self._count = 0
        self.running: list[Executor | ActionExecutor] = []
        #: How long one transaction takes at most, in nanoseconds.
        self._work_ns = work_ns

    def transaction_ns(self) -> int:
        """Return how long the next transaction takes."""
        return self.chance.randint(50_000, self._work_ns)

    def start(
        self, host: SimulatedHost, arguments: Sequence[str], sockets: Sequence[SimulatedSocket]
    ) -> SimulatedProcess:
        """Start the program that an executor process runs."""
        self._count += 1
        machine = Machine(f"executor {self._count}", host.loop, parent=host.machine)
        process = SimulatedProcess(host.loop, machine, 1000 + self._count)
        own = SimulatedHost(
            loop=host.loop,
            machine=machine,
            chance=self.chance,
            programs=self,
            skew_ns=host.skew_ns,
            latencies={},
        )
        executor: Executor | ActionExecutor
        if Role.ACTIONS.value in arguments:
            executor = ActionExecutor(self, own, process, sockets)
        else:
            executor = Executor(self, own, process, sockets)
        self.running.append(executor)
        machine.on_killed.append(lambda: self.running.remove(executor))
        return process

    def loading_ns(self) -> int:
        """Return how long the next process takes to load its release."""
        return self.chance.randint(*_LOADING_NS)

    def loaded(self, start: frames.Start) -> LoadedApplication:
        """Return a release as a process has it that has just loaded it."""
        return LoadedApplication(InProcessRelease(self._application(Path(start.root))))

    def worker(
        self, start: frames.Start, loaded: LoadedApplication, host: SimulatedHost, channel: Any
    ) -> TransactionWorker:
        """Return what the program makes of itself once it has loaded a release."""
        return TransactionWorker(
            channel=channel,
            engine=ReadingEngine(source=self._disk.reader(), entropy=host),
            runner=TransactionRunner(
                host=host,
                releases=loaded,
                cursors=CursorCipher(start.cursor_key),
                texts=FailureTexts(redact=start.redact, root=Path(start.root)),
                variables=Variables(key=start.variables_key, urls=start.urls),
                capabilities=Capabilities(start.capabilities_key),
                handles=Handles(start.handles_key),
                test_hooks=start.test_hooks,
            ),
            loaded=loaded,
            snapshots=_Unshared(),
            budget=_Unbounded(),  # type: ignore[arg-type]
            memory=_Memory(self.chance),  # type: ignore[arg-type]
            describe=lambda name, application: None,
        )

    def action_worker(
        self, start: frames.Start, loaded: LoadedApplication, host: SimulatedHost
    ) -> ActionWorker:
        """Return the same of a process for actions."""
        return ActionWorker(
            host=host,
            engine=ReadingEngine(source=self._disk.reader(), entropy=host),
            application=loaded.release.application,
            texts=FailureTexts(redact=start.redact, root=Path(start.root)),
            handles=Handles(start.handles_key),
            variables=Variables(key=start.variables_key, urls=start.urls),
        )


class Executor:
    """One process for transactions: takes in frames, works for a while, answers."""

    def __init__(
        self,
        executors: Executors,
        host: SimulatedHost,
        process: SimulatedProcess,
        sockets: Sequence[SimulatedSocket],
    ) -> None:
        self._executors = executors
        self._host = host
        self.process = process
        (self._socket,) = sockets
        self._buffer = FrameBuffer()
        self._channel = _Channel(self._socket.send)
        self._worker: TransactionWorker | None = None
        self._is_due = False
        process.machine.on_killed.append(self._socket.end)
        self._socket.attach(process.machine, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        self._channel.messages += [
            frames.to_executor.decode(body) for body in self._buffer.feed(data)
        ]
        self._schedule()

    def _ended(self) -> None:
        self._channel.is_ended = True
        self._schedule()

    def _schedule(self) -> None:
        if self._is_due:
            return
        self._is_due = True
        executors = self._executors
        delay_ns = executors.transaction_ns() if self._worker else executors.loading_ns()
        self._host.loop.call_in(delay_ns, self._work)

    def _work(self) -> None:
        self._is_due = False
        if self._worker is None:
            self._load()
            return
        try:
            self._worker.serve()
        except Answered:
            self._schedule()
            return
        except Parked:
            return
        self.process.exit(0)

    def _load(self) -> None:
        if not self._channel.messages:
            # The server is gone before it has said what to load.
            self.process.exit(0)
            return
        start = self._channel.messages.pop(0)
        assert isinstance(start, frames.Start)
        loaded = self._executors.loaded(start)
        self._worker = self._executors.worker(start, loaded, self._host, self._channel)
        self._socket.send(frames.frame(frames.Loaded(analysis=loaded.release.analysis)))
        if self._channel.messages:
            self._schedule()


class ActionExecutor:
    """One process for actions: loads what it is told, and then has an event loop and reports on it."""

    def __init__(
        self,
        executors: Executors,
        host: SimulatedHost,
        process: SimulatedProcess,
        sockets: Sequence[SimulatedSocket],
    ) -> None:
        self._executors = executors
        self._host = host
        self.process = process
        self._socket, self._reports = sockets
        self._buffer = FrameBuffer()
        for socket in sockets:
            process.machine.on_killed.append(socket.end)
        self._socket.attach(process.machine, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        # Until it has loaded that, it is told nothing else.
        for body in self._buffer.feed(data):
            start = frames.to_executor.decode(body)
            assert isinstance(start, frames.Start)
            self._host.spawn("program", self._run(start))

    def _ended(self) -> None:
        self.process.exit(0)

    async def _run(self, start: frames.Start) -> None:
        await asyncio.sleep(self._executors.loading_ns() / NS)
        loaded = self._executors.loaded(start)
        worker = self._executors.action_worker(start, loaded, self._host)
        self._socket.send(frames.frame(frames.Loaded(analysis=loaded.release.analysis)))
        self._host.spawn("loop watch", self._report())
        await worker.serve(self._socket)  # type: ignore[arg-type]
        self.process.exit(0)

    async def _report(self) -> None:
        """As the thread beside the loop does, which goes on while that stands still: here both do.

        It begins at once: nothing orders what comes over two sockets.
        """
        while True:
            status = frames.LoopStatus(still_s=0.0, path=None, where=None)
            self._reports.send(frames.frame(status))
            await asyncio.sleep(_REPORT_S)
