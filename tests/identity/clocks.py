"""A host whose clocks stand still until they are moved; what sleeps on it is woken by that."""

from __future__ import annotations

import asyncio

from camber.host import RealHost

NOW_S = 1_800_000_000.0


class StandingHost(RealHost):
    """Real tasks; both clocks at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = NOW_S
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, woken))
        await woken

    @property
    def sleeping(self) -> int:
        return len(self._sleepers)

    async def move(self, seconds: float) -> None:
        """Let time pass, and whoever has waited for it do what it has to."""
        self.now_s += seconds
        due = [woken for at, woken in self._sleepers if at <= self.now_s]
        self._sleepers = [(at, woken) for at, woken in self._sleepers if at > self.now_s]
        for woken in due:
            woken.set_result(None)
        await settled()


async def settled() -> None:
    """Let all that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
