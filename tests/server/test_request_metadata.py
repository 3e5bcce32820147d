"""From where a function is called: as the server's options have it, in processes, over each way in."""

from __future__ import annotations

import httpx
import pytest

from camber.functions.logs import shown
from camber.functions.metadata import RequestMetadata
from tests.acceptance.sockets import raw_client
from tests.functions.projects import project_app, write_project
from tests.servers import Server

CODE = """
    from typing import Any
    from camber import *

    @mutation
    def mutated(ctx: MutationCtx) -> list[Any]:
        found = ctx.meta.get_request_metadata()
        return [found.ip, found.user_agent]

    @action
    async def acted(ctx: ActionCtx) -> list[Any]:
        found = ctx.meta.get_request_metadata()
        return [found.ip, found.user_agent, *await ctx.run_mutation(mutated)]

    class Seen(Table, table="seen"):
        ip: str | None

    @mutation
    def later(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(0, noted)

    @internal_mutation
    def noted(ctx: MutationCtx) -> None:
        ctx.db.insert(Seen(ip=ctx.meta.get_request_metadata().ip))

    @query
    def seen(ctx: QueryCtx) -> list[Any]:
        assert not hasattr(ctx.meta, "get_request_metadata")
        return [row.ip for row in ctx.db.query(Seen)]
"""
HTTP = """
    from camber import *
    from starlette.responses import JSONResponse
    from .code import acted

    http = HttpRouter()

    @http.get("/where")
    async def where(ctx: ActionCtx, request: Request) -> Response:
        found = ctx.meta.get_request_metadata()
        return JSONResponse([found.ip, found.user_agent, *await ctx.run_action(acted)])
"""
CLIENT = "203.0.113.7"
HEADERS = {"X-Forwarded-For": f"198.51.100.1, {CLIENT}", "User-Agent": "mine/1.0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("metadata")
    write_project(root, code=CODE, http=HTTP)
    options = ("--executors", "1", "--client-address-header", "X-Forwarded-For")
    with Server(root, root / "data", *options) as running:
        yield running


def test_calls_over_http_have_the_address_that_the_proxy_says(server):
    here = [CLIENT, "mine/1.0"]
    assert server.value("mutation", "code:mutated", {}, **HEADERS) == here
    assert server.value("action", "code:acted", {}, **HEADERS) == here * 2
    # Nobody says where this one is.
    assert server.value("mutation", "code:mutated", {})[0] is None


def test_calls_over_a_socket_have_the_address_of_its_handshake(server):
    headers = {"X-Forwarded-For": CLIENT}
    with raw_client(server, **headers) as client:
        client.connect()
        client.mutate(0, "code:mutated", {})
        client.send(type="Action", requestId=1, udfPath="code:acted", args=[{}])
        client.until(lambda: {0, 1} <= client.responses.keys())
    ip, agent = client.responses[0]["result"]
    assert (ip, "websockets" in agent) == (CLIENT, True)
    assert client.responses[1]["result"] == [ip, agent] * 2


def test_requests_of_the_site_have_it_too(server):
    answer = httpx.get(f"{server.site_url}/where", headers=HEADERS, timeout=30)
    assert answer.json() == [CLIENT, "mine/1.0"] * 3


def test_what_is_scheduled_comes_from_nowhere_and_a_test_says_where_from(tmp_path):
    with project_app(tmp_path, code=CODE, http=HTTP) as app:
        assert app.mutation("code:mutated") == [None, None]
        there = app.with_request_metadata(ip=CLIENT, user_agent="phone")
        assert there.with_identity(subject="ann").mutation("code:mutated") == [CLIENT, "phone"]
        assert there.fetch("/where").json() == [CLIENT, "phone"] * 3
        there.mutation("code:later")
        app.advance()
        assert app.query("code:seen") == [None]


def test_a_token_is_not_logged_with_the_request_that_came_by_it():
    came = RequestMetadata(request_id="1", ip=CLIENT, auth_token="secret")
    assert came.auth_token == "secret"
    assert shown(came) == (
        "RequestMetadata(request_id='1', scheduled_function_id=None, ip='203.0.113.7', "
        "user_agent=None, auth_token='…')"
    )
    assert "auth_token=None" in shown(RequestMetadata(request_id="1"))
