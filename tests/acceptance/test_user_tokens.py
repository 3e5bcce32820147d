"""Users with tokens of a real provider on loopback, over sockets, the HTTP API and the site."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.identity import issuing
from tests.identity.provider_server import ProviderServer
from tests.servers import Server

USERS = """
    from typing import Any
    from camber import *

    @query
    def me(ctx: QueryCtx) -> Any:
        user = ctx.auth.get_user_identity()
        return None if user is None else user.to_dict()

    @mutation
    def who(ctx: MutationCtx) -> str | None:
        user = ctx.auth.get_user_identity()
        return None if user is None else user.subject

    @action
    async def acting(ctx: ActionCtx) -> str | None:
        user = ctx.auth.get_user_identity()
        return None if user is None else await ctx.run_query(me_subject)

    @internal_query
    def me_subject(ctx: QueryCtx) -> str:
        return ctx.auth.get_user_identity().subject
"""
AUTH_CONFIG = """
    from camber import OidcProvider

    providers = [OidcProvider(domain="{issuer}", application_id="app")]
"""
_HTTP = """
    from camber import *
    from starlette.responses import PlainTextResponse

    http = HttpRouter()

    @http.get("/open")
    async def open_(ctx: ActionCtx, request: Request) -> Response:
        return PlainTextResponse("open")

    @http.get("/me")
    async def me(ctx: ActionCtx, request: Request) -> Response:
        user = ctx.auth.get_user_identity()
        return PlainTextResponse("nobody" if user is None else user.subject)
"""


@pytest.fixture(scope="module")
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def members(tmp_path_factory, provider):
    auth_config = AUTH_CONFIG.format(issuer=provider.issuer)
    folder = tmp_path_factory.mktemp("members")
    write_project(folder, users=USERS, http=_HTTP, auth_config=auth_config)
    with Server(folder, folder / "data") as server:
        yield server


def sign_in(client, token, base=0):
    client.send(type="Authenticate", baseVersion=base, tokenType="User", value=token)


def test_functions_of_every_kind_see_who_calls(members, provider):
    bearer = {"Authorization": f"Bearer {provider.token(email='ada@example.com')}"}
    assert members.value("query", "users:me", {}, **bearer) == {
        "tokenIdentifier": f"{provider.issuer}|ada",
        "subject": "ada",
        "issuer": provider.issuer,
        "email": "ada@example.com",
    }
    assert members.value("mutation", "users:who", {}, **bearer) == "ada"
    assert members.value("action", "users:acting", {}, **bearer) == "ada"
    assert httpx.get(f"{members.site_url}/me", headers=bearer).text == "ada"
    assert members.value("query", "users:me", {}) is None


def test_a_token_that_does_not_verify_is_refused_or_fails_only_who_asks(members, provider):
    forged = issuing.token(issuing.key("ES256", 9).named(provider.keys[0].id),
                           issuing.claims(iss=provider.issuer))  # fmt: skip
    bearer = {"Authorization": f"Bearer {forged}"}
    answer = members.post("/api/query", {"path": "users:me", "args": {}}, **bearer)
    assert (answer.status_code, answer.json()["code"]) == (401, "Unauthenticated")
    assert httpx.get(f"{members.site_url}/open", headers=bearer).text == "open"
    assert httpx.get(f"{members.site_url}/me", headers=bearer).status_code == 500


def test_a_user_signs_in_changes_and_signs_out_on_one_socket(members, provider):
    with raw_client(members) as client:
        client.connect()
        # What follows the token is by whoever that is, though it is not known yet.
        sign_in(client, provider.token("ada"))
        client.mutate(0, "users:who", {})
        client.subscribe((0, "users:me", {}, {}))
        client.until(lambda: client.results.get(0) and 0 in client.responses)
        assert client.results[0]["subject"] == client.responses[0]["result"] == "ada"
        sign_in(client, provider.token("grace"), base=1)
        client.mutate(1, "users:who", {})
        client.until(lambda: 1 in client.responses and client.version["identity"] == 2)
        assert client.responses[1]["result"] == client.results[0]["subject"] == "grace"
        client.send(type="Authenticate", baseVersion=2, tokenType="None")
        client.until(lambda: client.version["identity"] == 3)
        assert client.results[0] is None


def test_a_refused_token_is_told_with_the_version_before_it(members, provider):
    with raw_client(members) as client:
        client.connect()
        sign_in(client, provider.token(exp=int(time.time()) - 60))
        client.until_closed()
        error = next(frame for frame in client.frames if frame["type"] == "AuthError")
        assert (error["baseVersion"], error["authUpdateAttempted"]) == (0, True)
        assert "expired" in error["error"]


def test_a_token_that_ends_while_connected_ends_the_connection(members, provider):
    with raw_client(members) as client:
        client.connect()
        # Within what clocks may differ by, so that it ends in a moment.
        sign_in(client, provider.token(exp=int(time.time()) - 3))
        client.subscribe((0, "users:me", {}, {}))
        client.until(lambda: client.results.get(0))
        client.until_closed()
        error = next(frame for frame in client.frames if frame["type"] == "AuthError")
        assert (error["baseVersion"], error["authUpdateAttempted"]) == (1, False)


def test_a_provider_that_is_down_is_no_refusal(members, provider):
    """Who is told that the token was refused may sign its user out; this client comes back."""
    with ProviderServer() as other:
        issuer = other.issuer
    members_config = next(members.project.glob("*/auth_config.py"))
    before = members_config.read_text()
    line = f'\nproviders.append(OidcProvider(domain="{issuer}", application_id="app"))\n'
    members_config.write_text(before + line)
    members.wait_for_push()
    token = issuing.token(issuing.key("ES256"), issuing.claims(iss=issuer))
    with raw_client(members) as client:
        client.connect()
        sign_in(client, token)
        assert client.until_closed() == (1013, "AuthProviderDiscoveryFailed")
        assert not any(frame["type"] == "AuthError" for frame in client.frames)
    bearer = {"Authorization": f"Bearer {token}"}
    answer = members.post("/api/query", {"path": "users:me", "args": {}}, **bearer)
    assert (answer.status_code, answer.json()["code"]) == (503, "AuthProviderDiscoveryFailed")
    # Those of the other provider are signed in as ever.
    good = {"Authorization": f"Bearer {provider.token()}"}
    assert members.value("mutation", "users:who", {}, **good) == "ada"
