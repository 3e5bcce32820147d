"""One run: a world drawn from a seed, what befalls it, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.actions import come_to, judged_actions
from tests.simulation.clients import Client
from tests.simulation.disk import Crash, Disk
from tests.simulation.file_clients import FileClient, judged_files
from tests.simulation.http_clients import HttpClient
from tests.simulation.loop import NS, SimulatedLoop, Stuck, Trace
from tests.simulation.network import Network
from tests.simulation.operations import Repertoire
from tests.simulation.oracle import judged
from tests.simulation.server import Server

#: How long what was asked for may take once nothing befalls the system any more, in seconds.
_SETTLING_S = 400.0
#: Longer than a client needs to see that its connection is dead, and to open another.
_QUIET_S = 45.0
#: By more than clocks are set, and more than anything is put off.
_LATER_NS = 3 * 3600 * NS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What kind of world a seed makes."""

    executors: int
    clients: int
    #: How many more there are that speak HTTP.
    over_http: int
    mutations: int
    pause_s: float
    duplicates: bool
    burst: int
    #: How many documents of each kind all write to.
    names: int
    #: How long a write to the disk takes, and a transaction in its process, in milliseconds.
    write_ms: float
    work_ms: float
    #: How long history is kept, in seconds.
    retention_s: float
    #: What befalls it, and how many seconds lie between two times on average.
    faults: dict[str, float]
    #: How long things befall it, in seconds.
    trouble_s: float

    @classmethod
    def of(cls, chance: random.Random) -> Plan:
        """Draw a plan. Each seed has some of the faults: too many of them hide each other."""
        kinds = chance.sample(list(FAULTS), chance.randint(0, 5))
        if chance.random() < 0.2:
            # What commits on what is not durable yet, while that fails and servers are killed.
            kinds = ["failing disk", *chance.sample(["crash", "kill executor", "stop"], 1)]
        return cls(
            executors=chance.choice((0, 1, 2, 2)),
            clients=chance.randint(2, 5),
            over_http=chance.choice((0, 1, 2)),
            mutations=chance.randint(10, 25),
            pause_s=chance.choice((0.005, 0.02, 0.1, 0.5)),
            duplicates=chance.random() < 0.5,
            burst=chance.choice((2, 4, 10)),
            names=chance.choice((1, 1, 2, 3)),
            write_ms=chance.choice((0.2, 2.0, 2.0, 20.0, 100.0)),
            work_ms=chance.choice((0.5, 3.0, 3.0, 15.0)),
            retention_s=chance.choice((3600.0, 3600.0, 3600.0, 1.0)),
            faults={kind: chance.choice((0.3, 1.0, 3.0)) for kind in kinds},
            trouble_s=chance.uniform(2, 12),
        )


@dataclass(kw_only=True)
class Outcome:
    """How a run went."""

    seed: int
    plan: Plan
    digest: str
    failures: list[str]
    counts: dict[str, int]
    lines: list[str] | None = field(repr=False)


def _has_all(seed: int) -> bool:
    """Return whether a world has the whole platform: files, actions and components.

    Every second hundred worlds have. Those before are plain, so that it is known in which of them
    planted bugs are found.
    """
    return seed % 200 >= 100


class _World:
    """The world of one run."""

    def __init__(self, seed: int, trace: Trace, folder: Path, releases: Sequence[Path]) -> None:
        self.plan = Plan.of(random.Random(f"{seed} plan"))
        self.chance = random.Random(f"{seed} faults")
        # Most of what a loop can do reaches outside, and is not simulated.
        self.loop = SimulatedLoop(random.Random(f"{seed} loop"), trace)  # type: ignore[abstract]
        self.network = Network(self.loop, random.Random(f"{seed} network"))
        self.disk = Disk(random.Random(f"{seed} disk"), self.loop.note)
        self.disk.weather.write_ns_max = self.usual_write_ns
        self.server = Server(
            loop=self.loop,
            network=self.network,
            disk=self.disk,
            chance=random.Random(f"{seed} server"),
            executors=self.plan.executors,
            work_ms=self.plan.work_ms,
            retention_s=self.plan.retention_s,
            releases=releases,
            folder=folder,
        )
        self.seed = seed
        self.repertoire = Repertoire(has_all=_has_all(seed))
        self.clients: list[Client] = []
        self.over_http: list[HttpClient] = []
        self.with_files: list[FileClient] = []
        self.failures: list[str] = []
        self.befallen = 0
        self.come_to: dict[str, int] = {}

    @property
    def usual_write_ns(self) -> int:
        """Return how long a write takes at most while the disk is well."""
        return int(self.plan.write_ms * 1e6)

    async def run(self) -> None:
        """Let it all happen, then let it come to rest."""
        keeping = self._spawn("keep up", self.server.keep_up())
        self.clients = [self._client(number) for number in range(self.plan.clients)]
        self.over_http = [self._over_http(number) for number in range(self.plan.over_http)]
        with_files = 1 + self.seed % 2 if self.repertoire.has_all else 0
        self.with_files = [self._with_files(number) for number in range(with_files)]
        faults = [
            self._spawn(kind, self._befall(kind, mean_s))
            for kind, mean_s in self.plan.faults.items()
        ]
        _, lasting = await asyncio.wait(faults, timeout=_SETTLING_S) if faults else ((), ())
        self.failures += [f"{task.get_name()} has no end" for task in lasting]
        self.heal()
        if not await self._settled(lambda: self.are_answered):
            left = {client.name: sorted(client._unsettled) for client in self.clients}
            self.failures.append(f"{_SETTLING_S} s after the last fault not settled: {left}")
        # A clock that was set may have left what is scheduled in an hour that is far away.
        self.server.set_clock(_LATER_NS)
        if not await self._settled(lambda: self.server.has_run_all):
            self.failures.append(f"{_SETTLING_S} s after the last fault something waits to run")
        if not await self._settled(lambda: self.server.is_swept):
            self.failures.append(f"{_SETTLING_S} s after the last fault content is left over")
        await asyncio.sleep(_QUIET_S)
        if self.server.deployment is not None:
            self.failures += judged_files(
                self.server.deployment, self.server.blobs, self.with_files
            )
            self.failures += judged_actions(self.server.deployment, frozenset(self.plan.faults))
            self.come_to = come_to(self.server.deployment)
        for client in self.clients:
            if not client.is_settled:
                self.failures.append(f"{client.name} is not at rest in the end")
        self.ends = {client.name: client.shown for client in self.clients}
        for client in self.clients:
            client.disconnect()
        await asyncio.sleep(1)
        keeping.cancel()
        await self.server.stop()

    def _spawn(self, name: str, coroutine: Any) -> asyncio.Task[Any]:
        return self.loop.create_task(coroutine, name=name)

    def _client(self, number: int) -> Client:
        name = f"client {number}"
        return Client(
            name=name,
            loop=self.loop,
            network=self.network,
            chance=random.Random(f"{self.seed} {name}"),
            repertoire=self.repertoire,
            mutations_left=self.plan.mutations,
            pause_s=self.plan.pause_s,
            duplicates=self.plan.duplicates,
            burst=self.plan.burst,
            names=self.plan.names,
        )

    def _over_http(self, number: int) -> HttpClient:
        name = f"requests {number}"
        return HttpClient(
            name=name,
            loop=self.loop,
            network=self.network,
            chance=random.Random(f"{self.seed} {name}"),
            repertoire=self.repertoire,
            requests_left=self.plan.mutations,
            pause_s=self.plan.pause_s,
            names=self.plan.names,
        )

    def _with_files(self, number: int) -> FileClient:
        name = f"files {number}"
        return FileClient(
            name=name,
            loop=self.loop,
            network=self.network,
            chance=random.Random(f"{self.seed} {name}"),
            files_left=self.plan.mutations,
            pause_s=self.plan.pause_s,
        )

    @property
    def are_answered(self) -> bool:
        """Return whether everybody has been told what came of what they asked for."""
        return (
            all(client.is_settled for client in self.clients)
            and all(client.is_settled for client in self.over_http)
            and all(client.is_settled for client in self.with_files)
        )

    async def _settled(self, is_done: Callable[[], bool]) -> bool:
        end_ns = self.loop.now_ns + int(_SETTLING_S * NS)
        while self.loop.now_ns < end_ns:
            if is_done():
                return True
            await asyncio.sleep(0.5)
        return False

    async def _befall(self, kind: str, mean_s: float) -> None:
        end_ns = int(self.plan.trouble_s * NS)
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / mean_s))
            if self.loop.now_ns >= end_ns:
                return
            self.befallen += 1
            self.loop.note(f"fault {kind}")
            await FAULTS[kind](self)

    def heal(self) -> None:
        """End whatever lasts."""
        self.disk.weather.failing_permille = 0
        self.disk.weather.write_ns_max = self.usual_write_ns
        self.disk.crash = None
        self.network.weather.frame_ns_max = 8_000_000


async def _kill(world: _World) -> None:
    world.server.kill()


async def _crash(world: _World) -> None:
    """End the server in the middle of one of its next writes."""
    if world.disk.crash is None:
        world.disk.crash = Crash(
            kill=world.server.kill,
            writes_left=world.chance.randint(1, 6),
            is_durable=world.chance.random() < 0.5,
        )


async def _stop(world: _World) -> None:
    await world.server.stop()


async def _push(world: _World) -> None:
    await world.server.push()


async def _kill_executor(world: _World) -> None:
    executors = world.server.executors
    if executors is not None and executors.running:
        world.chance.choice(executors.running).process.kill()


async def _stall_executor(world: _World) -> None:
    """Stop a process for a while, perhaps for longer than one transaction may take."""
    executors = world.server.executors
    if executors is not None and executors.running:
        seconds = world.chance.choice((0.1, 1.0, 5.0, 35.0))
        world.chance.choice(executors.running).process.machine.stall(int(seconds * NS))


async def _cut(world: _World) -> None:
    if world.network.exchanges and world.chance.random() < 0.3:
        world.chance.choice(world.network.exchanges).lose()
    if world.network.connections:
        connection = world.chance.choice(world.network.connections)
        world.chance.choice((connection.cut, connection.cut, connection.swallow))()


async def _slow_network(world: _World) -> None:
    world.network.weather.frame_ns_max = world.chance.choice((50_000_000, 500_000_000, 2 * NS))
    await asyncio.sleep(world.chance.uniform(0, 2))
    world.network.weather.frame_ns_max = 8_000_000


async def _slow_disk(world: _World) -> None:
    world.disk.weather.write_ns_max = world.chance.choice((20_000_000, 200_000_000, NS))
    await asyncio.sleep(world.chance.uniform(0, 2))
    world.disk.weather.write_ns_max = world.usual_write_ns


async def _failing_disk(world: _World) -> None:
    world.disk.weather.failing_permille = world.chance.choice((50, 300, 1000))
    await asyncio.sleep(world.chance.uniform(0, 0.5))
    world.disk.weather.failing_permille = 0


async def _clock(world: _World) -> None:
    """Set the server's clock, also back."""
    skew_ns = world.chance.choice((-1, 1)) * world.chance.randint(1, 3600 * NS)
    if world.chance.random() < 0.5:
        world.server.set_clock(skew_ns)
    else:
        # Seen by the next one.
        world.server.skew_ns = skew_ns


async def _stall(world: _World) -> None:
    """Let time pass in which nothing runs."""
    world.loop.now_ns += int(world.chance.choice((0.02, 0.3, 3.0)) * NS)


FAULTS: dict[str, Callable[[_World], Any]] = {
    "kill": _kill,
    "crash": _crash,
    "stop": _stop,
    "push": _push,
    "kill executor": _kill_executor,
    "stall executor": _stall_executor,
    "cut": _cut,
    "slow network": _slow_network,
    "slow disk": _slow_disk,
    "failing disk": _failing_disk,
    "clock": _clock,
    "stall": _stall,
}


class _Listening(logging.Handler):
    """Takes in what is logged."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__(logging.WARNING)
        self._loop = loop
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._loop.note(f"log {record.name} {record.msg}")
        if record.levelno >= logging.ERROR:
            self.errors.append(f"logged by {record.name}: {self.format(record)}")


#: Who may log errors, which are the disk's, and try again.
_MAY_FAIL = frozenset({"camber.maintenance", "camber.files"})


@contextlib.contextmanager
def _listening(loop: SimulatedLoop) -> Iterator[_Listening]:
    handler = _Listening(loop)
    loggers = [logging.getLogger("camber"), logging.getLogger("asyncio")]
    was = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield handler
    finally:
        for logger, propagate in zip(loggers, was, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


def simulate(seed: int, releases: Sequence[Path], *, keep_trace: bool = False) -> Outcome:
    """Run the world of a seed, and judge it; `releases` are those of `server.releases`."""
    trace = Trace(keep=keep_trace)
    # Weak references end when the collector runs, which is no part of the seed.
    gc.collect()
    gc.disable()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _judged(_World(seed, trace, Path(folder) / "data", releases), trace)
    finally:
        gc.enable()


def _judged(world: _World, trace: Trace) -> Outcome:
    loop = world.loop
    failures = world.failures
    with _listening(loop) as log:
        try:
            loop.run_until_complete(world.run())
        except Stuck as error:
            failures.append(str(error))
        # The simulation's own: told as a failure of the seed, which is replayed as any other.
        except Exception:  # noqa: BLE001
            failures.append(traceback.format_exc())
        failures += [f"left over at an orderly end: {name}" for name in world.server.leftovers]
        failures += [f"nobody took care of: {bug}" for bug in loop.bugs]
        failures += [
            error
            for error in log.errors
            if not any(error.startswith(f"logged by {name}:") for name in _MAY_FAIL)
        ]
        failures += judged(world.disk.commits, world.clients, world.over_http)
        digest = trace.digest
        loop.bury()
    return Outcome(
        seed=world.seed,
        plan=world.plan,
        digest=digest,
        failures=failures,
        counts={
            "events": trace.events,
            "commits": len(world.disk.commits),
            "faults": world.befallen,
            "kills": world.server.kills,
            "refused": world.disk.failures,
            **world.come_to,
            "uploaded": sum(len(each.stored) + len(each.deleted) for each in world.with_files),
            "seen": sum(len(client.seen) for client in world.clients),
            "sockets": sum(client.sessions for client in world.clients),
            "virtual s": loop.now_ns // NS,
        },
        lines=trace.lines,
    )
