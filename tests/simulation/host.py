"""The host of one simulated machine: its clock, its chance, its threads and its processes."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from tests.simulation.loop import NS, Machine, SimulatedLoop

#: When every simulation begins: 2023-11-14.
_EPOCH_NS = 1_700_000_000 * NS


class Programs(Protocol):
    """Starts what a machine asks for."""

    def start(
        self, host: SimulatedHost, arguments: Sequence[str], sockets: Sequence[SimulatedSocket]
    ) -> SimulatedProcess:
        """Start a program."""


class SimulatedHost:
    """Time, chance and tasks, as `camber.host.Host` has them."""

    def __init__(
        self,
        *,
        loop: SimulatedLoop,
        machine: Machine,
        chance: random.Random,
        programs: Programs,
        skew_ns: int,
        latencies: Mapping[str, Callable[[], int]],
    ) -> None:
        self.loop = loop
        self.machine = machine
        self.chance = chance
        #: By how much the wall clock is wrong; changed while it runs.
        self.skew_ns = skew_ns
        self._programs = programs
        #: How long a call takes on the thread of a name.
        self._latencies = latencies
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def now_ns(self) -> int:
        return _EPOCH_NS + self.skew_ns + self.loop.now_ns

    def monotonic(self) -> float:
        return self.loop.time()

    def thread_seconds(self) -> float:
        return self.loop.time()

    def random_bytes(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]

    def worker(self, name: str) -> SimulatedWorker:
        return SimulatedWorker(self.loop, self._latencies.get(name, self._thread_ns))

    def _thread_ns(self) -> int:
        return self.chance.randint(20_000, 2_000_000)

    def loop_thread(self, name: str) -> SimulatedLoopThread:
        return SimulatedLoopThread(self, name)

    def socket_pair(self) -> tuple[Any, Any]:
        ours, theirs = SimulatedSocket(self), SimulatedSocket(self)
        ours.peer, theirs.peer = theirs, ours
        return ours, theirs

    async def process(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], sockets: Sequence[Any]
    ) -> SimulatedProcess:
        del environment
        await asyncio.sleep(self.chance.uniform(0.001, 0.02))
        return self._programs.start(self, arguments, sockets)

    async def output_of(self, *args: object, **kwargs: object) -> Any:
        msg = "nothing that is simulated runs a program for its output"
        raise AssertionError(msg)


class SimulatedWorker:
    """A thread that runs functions one after another: each takes time, and happens at its end."""

    def __init__(self, loop: SimulatedLoop, latency_ns: Callable[[], int]) -> None:
        self._loop = loop
        self._latency_ns = latency_ns
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        future = self._loop.create_future()
        self._calls.append((functools.partial(function, *args, **kwargs), future))
        if len(self._calls) == 1:
            self._loop.call_in(self._latency_ns(), self._work)
        return future

    def _work(self) -> None:
        # Closed meanwhile, it has nothing left.
        if self._calls:
            self._loop.on_thread(*self._calls[0])
            self._calls.popleft()
            if self._calls:
                self._loop.call_in(self._latency_ns(), self._work)

    def close(self) -> None:
        """Let what was accepted finish: whoever closes a thread waits for it."""
        while self._calls:
            self._loop.on_thread(*self._calls.popleft())


class SimulatedLoopThread:
    """A thread with a loop, which is the one loop that there is."""

    def __init__(self, host: SimulatedHost, name: str) -> None:
        self._host = host
        self._name = name
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = self._host.spawn(self._name, coroutine)
        self._tasks[task] = None
        task.add_done_callback(lambda _: self._tasks.pop(task))
        return asyncio.shield(task)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


class SimulatedSocket:
    """One end of a pair of sockets between processes: bytes in order, in pieces, and late."""

    _numbers = 100

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self.peer: SimulatedSocket
        self._owner: Machine = host.machine
        self._received: Callable[[bytes], None] | None = None
        self._gone: Callable[[], None] | None = None
        self._early: list[bytes | None] = []
        self._arrival_ns = 0
        self.is_closed = False

    def fileno(self) -> int:
        return 3

    def setblocking(self, flag: bool) -> None:
        del flag

    def close(self) -> None:
        """Do nothing: the transport is closed, and the child has its own end."""

    def attach(
        self, owner: Machine, received: Callable[[bytes], None], gone: Callable[[], None]
    ) -> None:
        """Tell `owner` what comes, and of the end."""
        self._owner, self._received, self._gone = owner, received, gone
        early, self._early = self._early, []
        for data in early:
            self._take(data)

    def connect(
        self, protocol: asyncio.Protocol, owner: Machine
    ) -> tuple[_Transport, asyncio.Protocol]:
        """Attach a protocol of a machine's."""
        transport = _Transport(self)
        protocol.connection_made(transport)

        def gone() -> None:
            transport.is_ended = True
            protocol.connection_lost(None)

        self.attach(owner, protocol.data_received, gone)
        return transport, protocol

    def send(self, data: bytes) -> None:
        """Send bytes, in pieces of any size."""
        chance = self._host.chance
        if self.is_closed:
            return
        while data:
            size = len(data) if chance.random() < 0.7 else chance.randint(1, len(data))
            self._deliver(data[:size])
            data = data[size:]

    def end(self) -> None:
        """Close this end: the other one is told, after all that was sent before."""
        if not self.is_closed:
            self.is_closed = True
            self._deliver(None)

    def _deliver(self, data: bytes | None) -> None:
        host = self._host
        delay_ns = host.chance.randint(10_000, 300_000)
        self._arrival_ns = max(self._arrival_ns + 1, host.loop.now_ns + delay_ns)
        peer = self.peer
        # In the world's name: the sender may be gone when it arrives.
        host.loop.call_in(
            self._arrival_ns - host.loop.now_ns,
            lambda: peer._arrived(data),
            context=host.loop.world.context,
        )

    def _arrived(self, data: bytes | None) -> None:
        if self._received is None:
            self._early.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes | None) -> None:
        """Tell the owner, if it still lives."""
        assert self._received is not None
        assert self._gone is not None
        if data is None:
            self._host.loop.call_soon(self._gone, context=self._owner.context.copy())
        elif not self.is_closed:
            self._host.loop.call_soon(self._received, data, context=self._owner.context.copy())


class _Transport(asyncio.Transport):
    """What a protocol writes to."""

    def __init__(self, socket: SimulatedSocket) -> None:
        super().__init__()
        self._socket = socket
        self.is_ended = False

    def write(self, data: Any) -> None:
        self._socket.send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self._socket.send(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._socket.is_closed

    def close(self) -> None:
        if not self._socket.is_closed:
            self._socket.end()
            # The protocol hears of its own end too.
            self._socket._take(None)

    abort = close


class SimulatedProcess:
    """A program that runs, as whoever started it sees it."""

    def __init__(self, loop: SimulatedLoop, machine: Machine, pid: int) -> None:
        self._loop = loop
        self.machine = machine
        self.pid = pid
        self._status: asyncio.Future[int] = loop.create_future()
        machine.on_killed.append(lambda: self._ended(-9))

    def kill(self) -> None:
        self.machine.kill()

    def exit(self, status: int) -> None:
        """End by itself."""
        self._ended(status)
        self.machine.kill()

    def _ended(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    async def wait(self) -> int:
        return await asyncio.shield(self._status)

    async def line(self) -> str | None:
        await asyncio.shield(self._status)
        return None
