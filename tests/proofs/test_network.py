"""The same over the network: real sockets, executors in processes of their own, SQLite on a disk."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.server.serving import serving as on_ports
from tests.proofs.effort import one_in
from tests.proofs.judging import Program
from tests.proofs.operations import inserting
from tests.proofs.places import project
from tests.proofs.serving import Client as Caller
from tests.proofs.serving import Serving
from tests.proofs.stepping import ChoosingHost
from tests.proofs.test_subscriptions import scripts
from tests.proofs.watching import Client, judge_shown


class _Socket:
    """A WebSocket of a client's; what the client sends before it is open waits."""

    def __init__(self, url: str, client: Client) -> None:
        self._client = client
        self._unsent: asyncio.Queue[str] = asyncio.Queue()
        self.task = asyncio.create_task(self._talk(url))

    def received(self, text: str) -> None:
        self._unsent.put_nowait(text)

    def has_room(self) -> None:
        """Do nothing: the network has all the room there is."""

    def lost(self) -> None:
        self.task.cancel()

    async def _talk(self, url: str) -> None:
        async with connect(url, max_size=None) as wire:
            sending = asyncio.create_task(self._send(wire))
            try:
                async for text in wire:
                    assert isinstance(text, str)
                    self._client.arrived(text)
                # Those that the server has closed in good order end here too.
                self._client.close(wire.close_code or 0, wire.close_reason or "")
            except ConnectionClosed as closed:
                self._client.close(0, str(closed))
            finally:
                sending.cancel()

    async def _send(self, wire) -> None:
        while True:
            await wire.send(await self._unsent.get())


@one_in(100)
@given(documents=inserting, scripts=scripts(), seed=st.integers(0, 2**16))
def test_each_transition_over_the_network_shows_what_there_is(documents, scripts, seed):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_watch(Path(folder), documents, scripts, seed))


async def _watch(folder, documents, scripts, seed):
    host = ChoosingHost(seed)
    settings = DeploymentSettings(root=project(), functions="backend", data=folder, executors=2)
    deployment = await Deployment.open(settings, host)
    try:
        await deployment.push()
        serving = Serving(deployment, host, deployment.engine.newest_ts)
        deployment.engine.on_publish(serving.heard)
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        async with on_ports(deployment, api=ports[0], site=ports[1]):
            url = f"ws://127.0.0.1:{ports[0].getsockname()[1]}/api/1.48.0/sync"
            await _until_answered(
                serving, [Caller(serving, [Program(steps=documents, writes=True)], "first")]
            )
            clients = [
                Client(serving, lambda client: _Socket(url, client), script) for script in scripts
            ]
            await _until_answered(serving, clients)
            for client in clients:
                client.look_again()
            await _until_answered(serving, clients)
            for client in clients:
                client.leave()
        judge_shown(serving.judged(), clients, serving.newest_ts)
    finally:
        await deployment.close()


async def _until_answered(serving, actors):
    while not all(actor.is_answered for actor in actors):
        possible = [step for actor in actors for step in actor.possible]
        if possible:
            serving.host.choose(possible)()
        await asyncio.sleep(0.001)
