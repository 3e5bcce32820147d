"""Guards and rules where functions run in processes: over the API, as clients call them."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

SCHEMA = """
    from camber import *

    class Note(Table, table="notes"):
        owner: str
        body: str
"""
ACCESS = """
    from camber import *
    from .schema import Note

    access = Access(default="deny")

    def own(ctx: QueryCtx, note: Note) -> bool:
        user = ctx.auth.get_user_identity()
        return user is not None and note.owner == user.subject

    access.table(Note, read=own, write=own)
"""
CODE = """
    from camber import *
    from .schema import Note

    @query
    def bodies(ctx: QueryCtx) -> list[str]:
        return [note.body for note in ctx.db.query(Note)]

    @query(allow=signed_in)
    def guarded(ctx: QueryCtx) -> list[str]:
        return [note.body for note in ctx.db.query(Note)]

    @mutation
    def add(ctx: MutationCtx, owner: str, body: str) -> None:
        ctx.db.insert(Note(owner=owner, body=body))

    @mutation(allow=signed_in)
    def guarded_add(ctx: MutationCtx, owner: str, body: str) -> None:
        ctx.db.insert(Note(owner=owner, body=body))

    @action(allow=signed_in)
    async def act(ctx: ActionCtx) -> list[str]:
        return await ctx.run_query(bodies)

    @action(allow=guard(lambda ctx: 1 / 0 > 0))
    async def broken(ctx: ActionCtx) -> int:
        return 1
"""
HTTP = """
    from camber import *
    from .code import bodies

    http = HttpRouter()

    @http.get("/notes", allow=signed_in)
    async def notes(ctx: ActionCtx, request: Request) -> Response:
        return Response(",".join(await ctx.run_query(bodies)))

    async def echo(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            await send({"type": "websocket.send", "text": f"heard {message['text']}"})

    http.mount("/echo", echo, allow=signed_in)
    http.mount("/broken", echo, allow=guard(lambda ctx: 1 / 0 > 0))
"""
UNAUTHENTICATED = {"code": "Unauthenticated", "message": "Sign in first"}
FORBIDDEN = {"code": "Forbidden", "message": "You may not do this"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("access_processes")
    write_project(root, schema=SCHEMA, access=ACCESS, code=CODE, http=HTTP)
    # As in production: errors are redacted.
    with Server(root, root / "data", "--executors", "1", command="start") as running:
        yield running


def as_(server, subject):
    if subject is None:
        return {}
    acting = {"issuer": "https://issuer.example", "subject": subject}
    told = base64.b64encode(json.dumps(acting).encode()).decode()
    return {"Authorization": f"Convex {ADMIN_KEY}:{told}"}


def call(server, subject, kind, path, **args):
    answer = httpx.post(
        f"{server.url}/api/{kind}",
        json={"path": f"code:{path}", "args": args, "format": "json"},
        headers=as_(server, subject),
    ).json()
    return answer["value"] if answer["status"] == "success" else answer


def test_two_callers_see_their_own_and_nobody_sees_nothing(server):
    for who in ("ann", "bob"):
        assert call(server, who, "mutation", "add", owner=who, body=f"of {who}") is None
    for _ in range(2):  # computed, then from the cache
        assert call(server, "ann", "query", "bodies") == ["of ann"]
        assert call(server, "bob", "query", "guarded") == ["of bob"]
        assert call(server, None, "query", "bodies") == []
        assert call(server, "bob", "action", "act") == ["of bob"]


def test_what_is_refused_is_told_by_a_code_alone(server):
    for kind, path, args in (
        ("query", "guarded", {}),
        ("mutation", "guarded_add", {"owner": "ann", "body": "x"}),
        ("action", "act", {}),
    ):
        refused = call(server, None, kind, path, **args)
        assert refused["errorData"] == UNAUTHENTICATED
        assert "signed_in" not in json.dumps(refused)
    refused = call(server, "bob", "mutation", "add", owner="ann", body="forged")
    assert refused["errorData"] == FORBIDDEN
    assert "own" not in json.dumps(refused)
    assert "notes" not in json.dumps(refused)


def test_a_guard_that_fails_lets_nobody_in_and_tells_nothing(server):
    failed = call(server, "ann", "action", "broken")
    assert failed["status"] == "error"
    assert "errorData" not in failed
    assert "ZeroDivisionError" not in json.dumps(failed)


def test_routes_are_guarded(server):
    refused = httpx.get(f"{server.site_url}/notes")
    assert (refused.status_code, refused.json()) == (401, UNAUTHENTICATED)
    assert httpx.get(f"{server.site_url}/notes", headers=as_(server, "ann")).text == "of ann"


def test_websockets_of_mounted_applications_are_guarded_before_they_are_accepted(server):
    def heard(path, subject):
        url = server.site_url.replace("http", "ws")
        with connect(f"{url}{path}", additional_headers=as_(server, subject)) as socket:
            socket.send("hello")
            return socket.recv(timeout=20)

    assert heard("/echo/here", "ann") == "heard hello"
    for path, subject in (("/echo/here", None), ("/broken", None), ("/broken", "ann")):
        with pytest.raises(InvalidStatus) as refused:
            heard(path, subject)
        assert refused.value.response.status_code == 403
        assert b"heard" not in (refused.value.response.body or b"")


def test_an_admin_reads_all_data_and_is_asked_no_guard(server):
    listed = httpx.post(
        f"{server.url}/api/query",
        json={
            "path": "_system/cli/tableData",
            "args": {
                "table": "notes",
                "order": "asc",
                "paginationOpts": {"cursor": None, "numItems": 9},
            },
            "format": "json",
        },
        headers={"Authorization": f"Convex {ADMIN_KEY}"},
    ).json()
    assert [note["body"] for note in listed["value"]["page"]] == ["of ann", "of bob"]
    answer = httpx.post(
        f"{server.url}/api/query",
        json={"path": "code:guarded", "args": {}, "format": "json"},
        headers={"Authorization": f"Convex {ADMIN_KEY}"},
    ).json()
    # Let in; but it is nobody, and rules look at who asks.
    assert answer["value"] == []


def test_the_function_spec_says_who_may_call(server):
    spec = httpx.post(
        f"{server.url}/api/query",
        json={"path": "_system/cli/modules:apiSpec", "args": {}, "format": "json"},
        headers={"Authorization": f"Convex {ADMIN_KEY}"},
    ).json()["value"]
    allowed = {each.get("identifier", each.get("path")): each.get("allow") for each in spec}
    assert allowed["code.js:act"] == "signed_in"
    assert allowed["/notes"] == "signed_in"
    assert allowed["code.js:bodies"] is None


def test_the_log_says_which_guard_and_which_rule_it_was(server):
    page = httpx.get(
        f"{server.url}/api/stream_function_logs?cursor=0",
        headers={"Authorization": f"Convex {ADMIN_KEY}"},
    ).text
    assert "was refused by its guard: signed_in" in page
    assert "insert into 'notes' is refused by its rule: own" in page
