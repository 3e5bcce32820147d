"""A host that stands still until it is told to go on, and whose chance and clock are of one seed.

Everything that may happen next is listed, and one of it is chosen: a program takes a step, the
writer writes, somebody trims. The seed chooses, so a failure is replayed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from camber.host import RealHost

T = TypeVar("T")

_BACKGROUND = {"loop lag", "maintenance", "heartbeat of sockets"}
_START_NS = 1_767_225_600 * 10**9


@dataclass
class SteppedWorker:
    """A thread that is none: it runs a function when it is told to."""

    is_free: bool = False
    waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = field(default_factory=deque)

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((lambda: function(*args, **kwargs), future))
        if self.is_free:
            self.step()
        return future

    def step(self) -> None:
        function, future = self.waiting.popleft()
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            future.set_exception(error)

    def free(self) -> None:
        """Run what waits, and from now on everything at once."""
        self.is_free = True
        while self.waiting:
            self.step()

    def close(self) -> None:
        assert not self.waiting


class ChoosingHost(RealHost):
    """The real host, and a seed that chooses what comes next where there is a choice."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = Random(seed)

    @property
    def possible(self) -> list[Callable[[], None]]:
        """Return nothing: threads go on by themselves."""
        return []

    def choose(self, possible: Sequence[T]) -> T:
        """Return what happens next."""
        return self._dice.choice(possible)


class SteppedHost(ChoosingHost):
    """Seeded chance, a clock that also stands still and goes back, and a writer that waits."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._now_ns = _START_NS
        self._is_free = True
        self._workers: dict[str, SteppedWorker] = {}

    @property
    def writer(self) -> SteppedWorker:
        """Return what appends to the store."""
        return self.worker("camber-writer")

    @property
    def possible(self) -> list[Callable[[], None]]:
        """Return the steps that workers may take."""
        return [worker.step for worker in self._workers.values() if worker.waiting]

    def free(self) -> None:
        """Let workers run everything at once."""
        self._is_free = True
        for worker in self._workers.values():
            worker.free()

    def hold(self) -> None:
        """Let workers wait for each step."""
        self._is_free = False
        for worker in self._workers.values():
            worker.is_free = False

    def now_ns(self) -> int:
        self._now_ns += self._dice.choice([0, 1, 1_000, 1_000_000, -500_000])
        return self._now_ns

    def set_back(self, seconds: int) -> None:
        """Set the clock back."""
        self._now_ns -= seconds * 10**9

    def random_bytes(self, count: int) -> bytes:
        return self._dice.randbytes(count)

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        # What goes on for ever in the background would never stand still.
        await (asyncio.Event().wait() if task.get_name() in _BACKGROUND else asyncio.sleep(0))

    def worker(self, name: str) -> SteppedWorker:
        return self._workers.setdefault(name, SteppedWorker(is_free=self._is_free))


async def settled() -> None:
    """Let the loop do what it can do without a choice."""
    for _ in range(6):
        await asyncio.sleep(0)
