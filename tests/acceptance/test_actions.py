"""Actions of clients, and what befalls them: they run at most once, and to their end."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.servers import Server

_MODULE = """
    import asyncio
    import os
    import sqlite3

    import httpx
    import pydantic

    from camber import ActionCtx, MutationCtx, QueryCtx, SyncActionCtx, action, mutation, query

    @mutation
    def note(ctx: MutationCtx, text: str) -> None:
        ctx.db.insert("notes", {"text": text})

    @query
    def notes(ctx: QueryCtx) -> list[str]:
        return [each["text"] for each in ctx.db.query("notes")]

    @action
    async def works(ctx: ActionCtx, job: str) -> str:
        await ctx.run_mutation(note, text=f"{job} began {os.getpid()}")
        while f"{job} go" not in await ctx.run_query(notes):
            await asyncio.sleep(0.02)
        await ctx.run_mutation(note, text=f"{job} went on")
        return "done"

    class Answer(pydantic.BaseModel):
        status: str

    @action
    async def asks(ctx: ActionCtx) -> str:
        '''Call this very server, by a package that knows nothing of Camber.'''
        async with httpx.AsyncClient(base_url=ctx.env["CONVEX_CLOUD_URL"]) as client:
            answer = await client.get("/api/health")
        return Answer.model_validate_json(answer.content).status

    @action
    def asks_blocking(ctx: SyncActionCtx) -> str:
        with httpx.Client(base_url=ctx.env["CONVEX_CLOUD_URL"]) as client:
            client.post("/api/mutation", json={"path": "work:note", "args": {"text": "blocking"}})
        assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
        nested: str = ctx.run_action(asks)
        return f"{nested} {ctx.auth.get_user_identity()} {len(ctx.run_query(notes))}"

    @action
    async def returns_much(ctx: ActionCtx, size: int) -> str:
        return "x" * size

    @action
    async def takes(ctx: ActionCtx, text: str) -> int:
        return len(text)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    project = write_project(folder / "project", work=_MODULE)
    with Server(project, folder / "data", "--executors", "1", command="start") as server:
        yield server


def notes(server):
    return server.value("query", "work:notes", {})


def add(server, text):
    server.value("mutation", "work:note", {"text": text})


def until(server, holds):
    deadline = time.monotonic() + 20
    while not (found := holds(notes(server))):
        assert time.monotonic() < deadline, notes(server)
    return found


def runs(all_, job):
    return [each for each in all_ if each.startswith(f"{job} began")]


def begun(server, job):
    """Wait until `works` runs; return its process."""
    (note,) = until(server, lambda all_: runs(all_, job))
    return int(note.rpartition(" ")[2])


def begin(client, job):
    client.connect()
    client.send(type="Action", requestId=0, udfPath="work:works", args=[{"job": job}])


def test_a_client_that_leaves_does_not_stop_its_action(server):
    with raw_client(server) as client:
        begin(client, "left")
        begun(server, "left")
        # It does not hold up what else this client does.
        client.mutate(1, "work:note", {"text": "meanwhile"})
        client.until(lambda: 1 in client.responses)
        assert 0 not in client.responses
    add(server, "left go")
    until(server, lambda all_: "left went on" in all_)
    # Whoever is back is told nothing of it, and it is not run again.
    with raw_client(server) as client:
        client.connect()
        client.subscribe((0, "work:notes", {}, {}))
        client.until(lambda: client.results)
        assert len(runs(client.results[0], "left")) == 1


def test_an_action_is_lost_with_its_process_and_not_run_again(server):
    with raw_client(server) as client:
        begin(client, "lost")
        os.kill(begun(server, "lost"), signal.SIGKILL)
        client.until(lambda: 0 in client.responses)
        assert client.responses[0]["success"] is False
        client.mutate(1, "work:note", {"text": "after"})
        client.until(lambda: 1 in client.responses)
    add(server, "lost go")
    assert server.value("action", "work:asks", {}) == "ok"
    assert len(runs(notes(server), "lost")) == 1
    assert "lost went on" not in notes(server)


def test_an_action_is_lost_with_its_server_and_not_run_again(server):
    with raw_client(server) as client:
        begin(client, "down")
        begun(server, "down")
        server.kill()
        client.until_closed()
    server.start()
    add(server, "down go")
    assert server.value("action", "work:asks", {}) == "ok"
    assert len(runs(notes(server), "down")) == 1
    assert "down went on" not in notes(server)


def test_actions_use_any_package_and_wait_or_block(server):
    assert server.value("action", "work:asks", {}) == "ok"
    assert server.value("action", "work:asks_blocking", {}).startswith("ok None ")


def test_arguments_and_results_of_actions_have_a_largest_size(server):
    most = 16 * 1024 * 1024
    for path, args in (("work:takes", {"text": "x" * most}), ("work:returns_much", {"size": most})):
        answer = server.call("action", path, args)
        assert answer["status"] == "error"
    assert server.value("action", "work:takes", {"text": "x" * (most - 100)}) == most - 100
    assert len(server.value("action", "work:returns_much", {"size": most - 100})) == most - 100
