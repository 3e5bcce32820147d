"""Many clients of one query: who gets what, when some are slow, leave, flood, or are somebody else."""

from __future__ import annotations

import contextlib
import json
import uuid

import pytest

from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server


@pytest.fixture
def board():
    return str(uuid.uuid4())


@contextlib.contextmanager
def clients(server, count, **headers):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(raw_client(server, **headers)) for _ in range(count)]
        for client in found:
            client.connect()
        yield found


def test_all_get_the_same_state_whatever_they_call_it(kitchen, board):
    """Frames are shared by those whose versions and ids are equal, and by no others."""
    with clients(kitchen, 12) as found:
        for number, client in enumerate(found):
            if number % 3 == 0:
                client.subscribe()
            # The same query by two ids, and other queries beside it.
            client.subscribe((number % 4, "notes:count", {"board": board}, {}))
            if number % 2:
                client.subscribe((9, "notes:list", {"board": f"{board}-{number}"}, {}))
        for number, client in enumerate(found):
            client.until(lambda c=client, n=number: n % 4 in c.results)
        for rank in range(1, 6):
            kitchen.value("mutation", "notes:add", {"board": board, "rank": rank})
            for number, client in enumerate(found):
                client.until(lambda c=client, n=number: c.results[n % 4] == rank)  # noqa: B023


_PERSONAL = """
    from camber import *

    @mutation
    def add(ctx: MutationCtx) -> None:
        ctx.db.insert("t", {})

    @query
    def get(ctx: QueryCtx) -> list | None:
        count = ctx.db.query("t").count()
        return [ctx.auth.get_user_identity().subject, count] if count else None
"""


def test_a_query_that_comes_to_read_the_identity_is_shared_no_more(tmp_path):
    """Those who watched one result get each their own, though one run was made for all of them."""
    project = write_project(tmp_path / "project", personal=_PERSONAL)
    with Server(project, tmp_path / "data") as server, clients(server, 9) as found:
        for number, client in enumerate(found):
            subject = f"user{number % 3}"
            client.send(
                type="Authenticate",
                baseVersion=0,
                tokenType="Admin",
                value=ADMIN_KEY,
                impersonating={"issuer": "i", "subject": subject},
            )
            client.subscribe((0, "personal:get", {}, {}))
        for client in found:
            client.until(lambda client=client: 0 in client.results)
            assert client.results[0] is None
        for rank in range(3):
            server.value("mutation", "personal:add", {})
            for number, client in enumerate(found):
                expected = [f"user{number % 3}", rank + 1]
                client.until(lambda c=client, e=expected: c.results[0] == e)
                shown = {
                    change["value"][0]
                    for frame in client.frames
                    for change in frame.get("modifications", ())
                    if change.get("value")
                }
                assert shown == {expected[0]}


def test_a_client_that_does_not_read_skips_states_and_the_others_do_not_wait(kitchen, board):
    # 40 MB in all. The system's buffers alone may take ten of one connection, its library 16 frames.
    text = "x" * 500_000
    note = kitchen.value("mutation", "notes:add", {"board": board, "rank": 0, "text": text})
    with clients(kitchen, 2) as (fast, slow):
        for client in (fast, slow):
            client.subscribe((0, "notes:list", {"board": board}, {}))
            client.until(lambda client=client: 0 in client.results)
        for number in range(80):
            edited = f"{number} {text}"
            kitchen.value("mutation", "notes:edit", {"id": note, "text": edited})
            fast.until(lambda: fast.results[0][0]["text"] == edited)  # noqa: B023
        slow.until(lambda: slow.results[0][0]["text"] == edited)
        # What the system's buffers took, and what was on its way.
        assert slow.transitions < fast.transitions - 10


def test_a_client_that_asks_and_does_not_read_is_not_answered_without_end(own_kitchen):
    """Its questions wait in its own buffers; the server keeps few answers, and serves others."""
    kitchen, board = own_kitchen, "b"
    text = "x" * 100_000
    kitchen.value("mutation", "notes:add", {"board": board, "rank": 0, "text": text})
    with clients(kitchen, 2) as (flood, other):
        stream = flood.socket.socket
        stream.settimeout(1)
        version = 0

        def ask():
            nonlocal version
            add = {"type": "Add", "queryId": version, "udfPath": "notes:list"}
            changes = [{**add, "args": [{"board": board}]}]
            if version:
                changes.append({"type": "Remove", "queryId": version - 1})
            message = {"type": "ModifyQuerySet", "baseVersion": version, "newVersion": version + 1}
            version += 1
            return json.dumps({**message, "modifications": changes})

        # No reader: the library's own thread takes frames in, up to its own bound.
        for _ in range(3000):
            flood.socket.send(ask())
        other.subscribe((0, "notes:count", {"board": board}, {}))
        other.until(lambda: other.results.get(0) == 1)
        kitchen.value("mutation", "notes:add", {"board": board, "rank": 1})
        other.until(lambda: other.results.get(0) == 2)
        assert _resident_bytes(kitchen) < 400_000_000


def _resident_bytes(kitchen):
    with open(f"/proc/{kitchen.pid}/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096


def test_those_who_leave_during_a_push_are_not_missed(kitchen, board):
    with contextlib.ExitStack() as staying:
        stay = [staying.enter_context(raw_client(kitchen)) for _ in range(150)]
        with contextlib.ExitStack() as leaving:
            leave = [leaving.enter_context(raw_client(kitchen)) for _ in range(150)]
            for pair in zip(stay, leave, strict=True):
                for client in pair:
                    client.connect()
                    client.subscribe((0, "notes:count", {"board": board}, {}))
            for client in (*stay, *leave):
                client.until(lambda client=client: 0 in client.results)
            for rank in range(1, 4):
                kitchen.value("mutation", "notes:add", {"board": board, "rank": rank})
                for client in leave[50 * (rank - 1) : 50 * rank]:
                    # Without a word.
                    client.socket.socket.close()
            for client in stay:
                client.until(lambda client=client: client.results[0] == 3)
        kitchen.value("mutation", "notes:add", {"board": board, "rank": 9})
        for client in stay:
            client.until(lambda client=client: client.results[0] == 4)
