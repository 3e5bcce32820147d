"""`ctx.meta.get_request_metadata()` over sockets, the HTTP API and the site, behind a proxy or not."""

from __future__ import annotations

import httpx
import pytest

from tests.acceptance.sockets import raw_client
from tests.acceptance.test_user_tokens import AUTH_CONFIG, sign_in
from tests.components.test_components import write_component
from tests.functions.projects import write_project
from tests.identity.provider_server import ProviderServer
from tests.servers import ADMIN_KEY, Server

ASKING = """
    from typing import Any
    from camber import *
    from .app import inner

    def told(ctx) -> list[Any]:
        found = ctx.meta.get_request_metadata()
        return [found.ip, found.user_agent, found.auth_token, found.scheduled_function_id is not None]

    @mutation
    def changing(ctx: MutationCtx) -> list[Any]:
        return told(ctx)

    @mutation
    def later(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(0, noted)

    @internal_mutation
    def noted(ctx: MutationCtx) -> None:
        ctx.db.insert("notes", {"told": told(ctx)})

    @query
    def notes(ctx: QueryCtx) -> list[Any]:
        return [note["told"] for note in ctx.db.query("notes")]

    @action
    async def acting(ctx: ActionCtx) -> list[Any]:
        return [told(ctx), await ctx.run_mutation(changing), await ctx.run_action(plainly)]

    @internal_action
    def plainly(ctx: SyncActionCtx) -> list[Any]:
        return ctx.run_mutation(within)

    @mutation
    def within(ctx: MutationCtx) -> list[Any]:
        return ctx.run_mutation(inner["asking:told"])
"""
INNER = """
    from typing import Any
    from camber import *

    @mutation
    def told(ctx: MutationCtx) -> list[Any]:
        found = ctx.meta.get_request_metadata()
        return [found.ip, found.user_agent, found.auth_token, found.scheduled_function_id is not None]
"""
HTTP = """
    from camber import *
    from starlette.responses import JSONResponse
    from . import asking

    http = HttpRouter()

    @http.get("/told")
    async def told(ctx: ActionCtx, request: Request) -> Response:
        return JSONResponse([asking.told(ctx), await ctx.run_mutation(asking.changing)])
"""


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory, provider):
    folder = tmp_path_factory.mktemp("metadata")
    write_component(folder, "inner_asking", asking=INNER)
    app = """
        from camber import *
        app = App()
        inner = app.use(Component("inner", path="inner_asking"))
    """
    config = AUTH_CONFIG.format(issuer=provider.issuer)
    write_project(folder, app=app, asking=ASKING, http=HTTP, auth_config=config)
    proxied = ("--client-address-header", "X-Forwarded-For")
    with Server(folder, folder / "data", *proxied) as server:
        yield server


@pytest.fixture(scope="module")
def headers(provider):
    return {
        "User-Agent": "Mozilla/5.0 (test)",
        "X-Forwarded-For": "1.2.3.4, 203.0.113.9",
        "Authorization": f"Bearer {provider.token()}",
    }


@pytest.fixture(scope="module")
def all_of_it(headers):
    token = headers["Authorization"].removeprefix("Bearer ")
    return ["203.0.113.9", "Mozilla/5.0 (test)", token, False]


def test_whoever_asks_over_http_is_told_of(server, headers, all_of_it):
    in_component = [*all_of_it[:2], None, False]
    assert server.value("mutation", "asking:changing", {}, **headers) == all_of_it
    assert server.value("action", "asking:acting", {}, **headers) == [
        all_of_it,
        all_of_it,
        in_component,
    ]
    told = httpx.get(f"{server.site_url}/told", headers=headers).json()
    assert told == [all_of_it, all_of_it]
    plain = server.value("mutation", "asking:changing", {}, **{"User-Agent": "curl/8"})
    # It comes from where a proxy is, and no header says whose it is.
    assert plain == [None, "curl/8", None, False]


def test_whoever_asks_over_a_socket_is_told_of(server, headers, all_of_it):
    heads = {name: value for name, value in headers.items() if name != "Authorization"}
    with raw_client(server, **heads) as client:
        client.connect()
        client.mutate(0, "asking:changing", {})
        client.until(lambda: 0 in client.responses)
        sign_in(client, all_of_it[2])
        client.mutate(1, "asking:changing", {})
        client.send(type="Action", requestId=2, udfPath="asking:acting", args=[{}])
        client.until(lambda: {1, 2} <= client.responses.keys())
    results = {request: answer["result"] for request, answer in client.responses.items()}
    assert results[0] == [*all_of_it[:2], None, False]
    assert results[1] == all_of_it
    assert results[2] == [all_of_it, all_of_it, [*all_of_it[:2], None, False]]


def test_what_is_scheduled_runs_for_nobody(server, headers):
    server.value("mutation", "asking:later", {}, **headers)
    with raw_client(server) as client:
        client.connect()
        client.subscribe((0, "asking:notes", {}, {}))
        client.until(lambda: client.results.get(0))
        assert client.results[0] == [[None, None, None, True]]


def test_an_admin_key_is_nobodys_token(server):
    told = server.value("mutation", "asking:changing", {}, Authorization=f"Convex {ADMIN_KEY}")
    assert told[2] is None
