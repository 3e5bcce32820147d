"""200 clients while the code changes twenty times: nobody sees an error, or two versions at once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter

from websockets.asyncio.client import connect

from tests.functions.projects import write_project
from tests.servers import Server
from tests.sync.client import Books, text_of

CLIENTS = 200
WRITERS = 2
PUSHES = 20
#: Of each writer during each push: every one is seen by every client.
MUTATIONS = 4
#: Only for a server that stands still: below what ends a test that hangs.
_LIMIT_S = 140

# Each version has an index that the other has not, and reads by it.
CODE = """
    from typing import Any
    from camber import *

    VERSION = 0

    class Tally(Table, table="tallies"):
        writer: int
        count: int
        by_writer_0 = Index("writer")

    @query
    def total(ctx: QueryCtx) -> dict[str, Any]:
        tallies = ctx.db.query(Tally).with_index("by_writer_0").collect()
        return {"version": VERSION, "total": sum(tally.count for tally in tallies)}

    @query
    def mine(ctx: QueryCtx, client: int) -> dict[str, Any]:
        return {"version": VERSION, "client": client}

    @mutation
    def add(ctx: MutationCtx, writer: int) -> int:
        found = ctx.db.query(Tally).with_index("by_writer_0", writer=writer).first()
        if found is None:
            ctx.db.insert(Tally(writer=writer, count=1))
        else:
            ctx.db.patch(found.id, count=found.count + 1)
        return VERSION
"""


class Client(Books):
    """One client: what it has seen, and whether it ever saw what it should not."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.versions = set()
        self.acknowledged = 0
        self.due = asyncio.Semaphore(0)
        self.changed = asyncio.Event()

    async def run(self, url):
        async with connect(url, max_size=None) as socket:
            self.socket = socket
            await self.send(
                type="Connect",
                sessionId=str(uuid.uuid4()),
                connectionCount=0,
                lastCloseReason="InitialConnect",
                maxObservedTimestamp=text_of(0),
                clientTs=0,
            )
            adds = [(0, "code:total", {}), (1, "code:mine", {"client": self.number})]
            await self.send(
                type="ModifyQuerySet",
                baseVersion=0,
                newVersion=1,
                modifications=[
                    {"type": "Add", "queryId": id_, "udfPath": path, "args": [args]}
                    for id_, path, args in adds
                ],
            )
            # Ends with an error if the server ends it.
            async for frame in socket:
                self.receive(frame)
                self.check()
                self.changed.set()
                self.changed.clear()

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    def check(self):
        assert self.fatal is None, self.fatal
        assert self.auth_error is None, self.auth_error
        for response in self.responses.values():
            assert response["success"], response
        for result in self.results.values():
            assert isinstance(result, dict), result
        versions = {result["version"] for result in self.results.values()}
        assert len(versions) <= 1, f"two versions at once: {self.results}"
        self.versions |= versions

    async def write(self, done):
        """Send one mutation after another, each when the last one has been seen."""
        while True:
            await self.due.acquire()
            if done.is_set():
                return
            self.acknowledged += 1
            request = self.acknowledged
            args = {"writer": self.number}
            await self.send(type="Mutation", requestId=request, udfPath="code:add", args=[args])
            await self.until(lambda request=request: request in self.settled)

    async def until(self, holds):
        while not holds():
            await self.changed.wait()


def test_clients_see_no_error_and_end_with_the_newest(tmp_path):
    root = write_project(tmp_path / "project", code=CODE)
    (folder,) = [path for path in root.iterdir() if path.is_dir()]
    code = folder / "code.py"
    with Server(root, tmp_path / "data", "--executors", "1") as server:
        asyncio.run(asyncio.wait_for(_watch_pushes(server, code), _LIMIT_S))


async def _watch_pushes(server, code):
    url = server.url.replace("http", "ws") + "/api/1.48.0/sync"
    clients = [Client(number) for number in range(CLIENTS)]
    running = [asyncio.create_task(client.run(url)) for client in clients]
    watched = asyncio.create_task(_first_end(running))
    try:
        await _or_fail(watched, *(c.until(lambda c=c: len(c.results) == 2) for c in clients))
        done = asyncio.Event()
        writers = [asyncio.create_task(c.write(done)) for c in clients[:WRITERS]]
        for number in range(1, PUSHES + 1):
            version = number % 2
            text = code.read_text()
            text = text.replace(f"VERSION = {1 - version}", f"VERSION = {version}")
            text = text.replace(f"by_writer_{1 - version}", f"by_writer_{version}")
            code.write_text(text)
            for client in clients[:WRITERS]:
                for _ in range(MUTATIONS):
                    client.due.release()
            (said,) = await _or_fail(watched, asyncio.to_thread(server.wait_for_push))
            assert "Pushed" in said, server.output
        done.set()
        for client in clients[:WRITERS]:
            client.due.release()
        await _or_fail(watched, *writers)
        newest = {"version": PUSHES % 2, "total": sum(c.acknowledged for c in clients)}
        await _or_fail(
            watched,
            *(
                c.until(
                    lambda c=c: (
                        c.results[0] == newest and c.results[1]["version"] == newest["version"]
                    )
                )
                for c in clients
            ),
        )
    finally:
        for task in (watched, *running):
            task.cancel()
        await asyncio.gather(watched, *running, return_exceptions=True)
    assert all(client.versions == {0, 1} for client in clients)
    seen = Counter(client.transitions > PUSHES for client in clients)
    assert seen == {True: CLIENTS}
    assert all(client.acknowledged > 1 for client in clients[:WRITERS])


async def _first_end(running):
    """Return why the first client has ended, which none should."""
    ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return [task.exception() or "the server ended it" for task in ended]


async def _or_fail(watched, *awaitables):
    """Wait for all, unless a client ends."""
    everything = asyncio.gather(*awaitables)
    await asyncio.wait([watched, everything], return_when=asyncio.FIRST_COMPLETED)
    assert not watched.done(), watched.result()
    return await everything
