"""The server of a simulation: a real deployment and its real ASGI application, killed and restarted."""

from __future__ import annotations

import asyncio
import functools
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from camber.deployment.deployment import Deployment
from camber.deployment.instance import Instance
from camber.deployment.settings import DeploymentSettings
from camber.deployment.source import ReleaseSource, folder_source
from camber.errors import CamberError
from camber.files.memory import MemoryBlobs
from camber.functions.application import Application
from camber.functions.loading import load_application
from camber.runtime.release import InProcessRelease
from camber.server.application import api_application
from camber.server.draining import Drain
from tests.simulation.disk import Disk, DiskFailure
from tests.simulation.executors import Executors
from tests.simulation.file_clients import is_swept
from tests.simulation.host import SimulatedHost
from tests.simulation.loop import Machine, SimulatedLoop
from tests.simulation.network import Network

EXCHANGE: Final = Path(__file__).parent.parent / "applications" / "exchange"
_FUNCTIONS: Final = "backend"
_INSTANCE: Final = Instance("simulated", b"\x07" * 32)
#: How long what runs may take at an orderly end, in seconds.
_GRACE_S: Final = 2.0


#: Where schemas have one more index in the other release: the application's, and a component's.
_SCHEMAS: Final = (f"{_FUNCTIONS}/schema.py", "shelf/schema.py")
_INDEX: Final = '    by_board = Index("board", "text")\n'
_ONE_MORE: Final = '    by_text = Index("text")\n'


def releases(folder: Path) -> tuple[Path, Path]:
    """Return the folders of two releases, which differ in indexes; the second is made here."""
    indexed = folder / "indexed"
    if not indexed.exists():
        shutil.copytree(EXCHANGE, indexed)
        for name in _SCHEMAS:
            schema = indexed / name
            text = schema.read_text()
            assert _INDEX in text
            schema.write_text(text.replace(_INDEX, _INDEX + _ONE_MORE))
    return EXCHANGE, indexed


@functools.cache
def _application(root: Path) -> Application:
    return load_application(root, _FUNCTIONS)


@functools.cache
def _source(root: Path) -> ReleaseSource:
    return folder_source(root, _FUNCTIONS)


class Server:
    """One server process after another, on one disk."""

    def __init__(
        self,
        *,
        loop: SimulatedLoop,
        network: Network,
        disk: Disk,
        chance: random.Random,
        executors: int,
        work_ms: float,
        retention_s: float,
        releases: Sequence[Path],
        folder: Path,
    ) -> None:
        self._loop = loop
        self._releases = releases
        self._network = network
        self._disk = disk
        self.blobs = MemoryBlobs()
        self._chance = chance
        self._settings = DeploymentSettings(
            root=EXCHANGE,
            functions=_FUNCTIONS,
            data=folder,
            executors=executors,
            history_retention_s=retention_s,
        )
        self._work_ns = int(work_ms * 1e6)
        self._starts = 0
        self.kills = 0
        self.skew_ns = 0
        self.host: SimulatedHost | None = None
        self.executors: Executors | None = None
        self.deployment: Deployment | None = None
        self._machine: Machine | None = None
        self._drain: Drain | None = None
        self._is_cut_off = False
        self._pushing: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._up = asyncio.Event()
        self.leftovers: list[str] = []

    @property
    def is_swept(self) -> bool:
        """Return whether no content of files waits to be removed."""
        return self.deployment is not None and self.is_up and is_swept(self.deployment)

    @property
    def is_up(self) -> bool:
        """Return whether it serves."""
        return self._up.is_set()

    @property
    def has_run_all(self) -> bool:
        """Return whether nothing that was scheduled waits or runs."""
        deployment = self.deployment
        return (
            deployment is not None
            and self.is_up
            and not deployment.scheduler.is_running
            and deployment.scheduler.next_due() is None
        )

    async def keep_up(self) -> None:
        """Start it whenever it does not run, until cancelled."""
        while True:
            self._gone = asyncio.Event()
            machine = self._machine = self._new_machine()
            opening = machine.start(self._open(machine), "start")
            await self._or_gone(opening)
            if machine.is_alive and opening.exception() is not None:
                # As a process that could not start: whoever supervises it tries again.
                self._loop.note(f"not started: {opening.exception()!r}")
                self._expect(opening.exception())
                machine.kill()
            elif machine.is_alive:
                self._up.set()
                await self._gone.wait()
            await asyncio.sleep(self._chance.choice((0.02, 0.2, 3.0)))

    def _new_machine(self) -> Machine:
        self._starts += 1
        machine = Machine(f"server {self._starts}", self._loop)
        machine.on_killed.append(self._killed)
        return machine

    def _killed(self) -> None:
        self._up.clear()
        self.deployment = self._pushing = None
        self._gone.set()

    async def _or_gone(self, task: asyncio.Task[None]) -> None:
        gone = self._loop.create_task(self._gone.wait(), name="server gone")
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()

    async def _open(self, machine: Machine) -> None:
        executors = self.executors = Executors(
            disk=self._disk,
            application=_application,
            chance=self._chance,
            work_ns=self._work_ns,
        )
        host = self.host = SimulatedHost(
            loop=self._loop,
            machine=machine,
            chance=self._chance,
            programs=executors,
            skew_ns=self.skew_ns,
            latencies={
                "camber-writer": self._disk.write_ns,
                "camber-transactions": executors.transaction_ns,
            },
        )
        deployment = Deployment(
            settings=self._settings,
            host=host,
            store=self._disk.open(),
            instance=_INSTANCE,
            blobs=self.blobs,
        )
        self.deployment = deployment
        await deployment.pushes.open()
        await deployment.files.open()
        await deployment.transfers.open()
        await self._push(deployment)
        self._drain = Drain(host)
        application = self._drain.around(api_application(deployment, drain=self._drain))
        self._network.listen(machine, application)

    async def _push(self, deployment: Deployment) -> None:
        # As whoever develops it left the folder.
        root = self._chance.choice(self._releases)
        if self._settings.executors:
            release = await deployment.load(_source(root))
        else:
            release = InProcessRelease(_application(root))
        await deployment.push_release(release)

    # What befalls it.

    def set_clock(self, skew_ns: int) -> None:
        """Set the wall clock of this server, and of those after it."""
        self.skew_ns = skew_ns
        if self.host is not None:
            self.host.skew_ns = skew_ns

    def kill(self) -> None:
        """End it at once."""
        if self._machine is not None and self._machine.is_alive:
            self.kills += 1
            self._machine.kill()

    async def push(self) -> None:
        """Push a release: the same again, or with one index more or less."""
        deployment, machine = self.deployment, self._machine
        if deployment is not None and machine is not None and self.is_up:
            self._pushing = machine.start(self._tried(self._push, deployment), "push")
            await self._or_gone(self._pushing)

    async def _tried(self, push: Callable[[Deployment], object], deployment: Deployment) -> None:
        try:
            await push(deployment)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001  # what may not come is told
            self._expect(error)

    def _expect(self, error: BaseException | None) -> None:
        """Take in that something failed: for a disk that does, or for an end or a newer push."""
        if not isinstance(error, CamberError | DiskFailure):
            self._loop.call_exception_handler({"message": "a push", "exception": error})

    async def stop(self) -> None:
        """End it in order; everything that it has begun has ended then."""
        machine, deployment, executors = self._machine, self.deployment, self.executors
        if machine is None or deployment is None or not self.is_up:
            return
        assert executors is not None
        self._up.clear()
        self._network.unlisten()
        await self._or_gone(machine.start(self._close(deployment), "stop"))
        # What the network holds of its connections ends a moment later.
        await asyncio.sleep(0.5)
        if machine.is_alive and not self._is_cut_off:
            self.leftovers += [f"{machine.name}: {name}" for name in machine.leftovers()]
            self.leftovers += [each.process.machine.name for each in executors.running]
        machine.kill()

    async def _close(self, deployment: Deployment) -> None:
        assert self._drain is not None
        deployment.runtime.log.close()
        await self._drain.drain(_GRACE_S)
        # What the grace period was too short for is cut off, and ends with the process.
        self._is_cut_off = bool(self._drain._sockets)
        if self._pushing is not None:
            # As the request that has asked for it.
            self._pushing.cancel()
            await asyncio.gather(self._pushing, return_exceptions=True)
        await deployment.close()
