"""A client that speaks HTTP: each request by itself, and nobody to ask again when one is lost."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.clients import Seen
from tests.simulation.loop import Machine, SimulatedLoop
from tests.simulation.network import Lost, Network, Refused
from tests.simulation.operations import MUTATIONS, QUERIES, Arguments, Draw, Repertoire, draw_go
from tests.sync.client import ts_of


@dataclass
class Tried:
    """A mutation that was sent once. `value` counts if it was answered with success."""

    number: int
    name: str
    has_succeeded: bool
    value: Any


@dataclass
class HttpClient:
    """One client, on a machine of its own."""

    name: str
    loop: SimulatedLoop
    network: Network
    chance: random.Random
    repertoire: Repertoire
    requests_left: int
    pause_s: float
    names: int
    tried: list[Tried] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    #: For each newest timestamp that it was told, the last mutation that was acknowledged before.
    told: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = Machine(self.name, self.loop)
        self._acknowledged = -1
        self.machine.start(self._act(), f"{self.name} acts")

    @property
    def is_settled(self) -> bool:
        """Return whether it has done all that it wants to do."""
        return not self.requests_left

    async def _act(self) -> None:
        while self.requests_left:
            await asyncio.sleep(self.chance.uniform(0, 4 * self.pause_s))
            self.requests_left -= 1
            try:
                roll = self.chance.random()
                if roll < 0.5:
                    await self._mutate()
                elif roll < 0.6 and self.repertoire.has_all:
                    await self._go()
                else:
                    await self._query()
            except Refused:
                await asyncio.sleep(self.chance.uniform(0, 1))

    async def _mutate(self) -> None:
        name = self.repertoire.mutation(self.chance)
        number = len(self.tried)
        tried = Tried(number, name, has_succeeded=False, value=None)
        self.tried.append(tried)
        arguments = MUTATIONS[name].draw(self._draw(f"{self.name}-{number:04}"))
        answer = await self._asked(
            "/api/mutation",
            path=f"exchange:{name}",
            args={"by": [self.name, number], **arguments},
        )
        if answer is not None and answer["status"] == "success":
            tried.has_succeeded, tried.value = True, answer["value"]
            self._acknowledged = number

    async def _go(self) -> None:
        """Run an action, whose mutation is of this request."""
        number = len(self.tried)
        tried = Tried(number, "go", has_succeeded=False, value=None)
        self.tried.append(tried)
        arguments = draw_go(self._draw(f"{self.name}-{number:04}"))
        answer = await self._asked(
            "/api/action", path="exchange:go", args={"by": [self.name, number], **arguments}
        )
        if answer is not None and answer["status"] == "success":
            if answer["value"] != arguments["text"]:
                self.breaches.append(f"{self.name}: {arguments} came back as {answer['value']}")
            tried.has_succeeded = True

    async def _query(self) -> None:
        """Ask for the newest timestamp, and for queries at exactly that one."""
        acknowledged = self._acknowledged
        answer = await self._asked("/api/query_ts")
        if answer is None:
            return
        ts = ts_of(answer["ts"])
        self.told.append((ts, acknowledged))
        for _ in range(self.chance.randint(1, 3)):
            await asyncio.sleep(self.chance.choice((0, 0, 0.5)))
            name = self.repertoire.query(self.chance)
            arguments: Arguments = QUERIES[name].draw(self._draw(""))
            shown = await self._asked(
                "/api/query_at_ts", ts=answer["ts"], path=f"exchange:{name}", args=arguments
            )
            if shown is not None and shown["status"] == "success":
                self.seen.append(Seen(ts, name, arguments, shown["value"]))
            elif shown is not None and _is_of_another_release(shown["errorMessage"]):
                # From before a restart: the code of that time is gone, and the newest has run.
                continue
            elif shown is not None:
                failed = ("failed", shown["errorMessage"], shown.get("errorData"))
                self.seen.append(Seen(ts, name, arguments, failed))

    def _draw(self, marker: str) -> Draw:
        return Draw(self.chance, marker, self.names)

    async def _asked(self, endpoint: str, /, **body: Any) -> dict[str, Any] | None:
        """Return an answer; None if there is none, or none that says how it went."""
        try:
            status, answer = await self.network.request(self.machine, endpoint, json.dumps(body))
        except Lost:
            return None
        if status != 200:
            if status < 500:
                self.breaches.append(
                    f"{self.name}: {endpoint} {body} was answered {status} {answer}"
                )
            return None
        found: dict[str, Any] = json.loads(answer)
        return found


def _is_of_another_release(message: str) -> bool:
    return "IndexNotFoundError" in message or "IndexBackfillingError" in message
