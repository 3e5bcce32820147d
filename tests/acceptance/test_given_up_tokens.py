"""Users who are connected by a token that would be refused now: they are told, and get another one."""

from __future__ import annotations

import contextlib
import json
import shutil
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed

from camber import limits
from tests.acceptance.sockets import raw_client
from tests.acceptance.test_user_tokens import AUTH_CONFIG, USERS
from tests.cli.commands import camber, said
from tests.functions.projects import write_project
from tests.identity import issuing
from tests.identity.provider_server import ProviderServer
from tests.server.in_thread import ServerInThread
from tests.servers import REPOSITORY, Server


@contextmanager
def connected(server, token, path="users:me"):
    """A client that goes by a token and watches who it is."""
    with raw_client(server) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="User", value=token)
        client.subscribe((0, path, {}, {}))
        client.until(lambda: client.results.get(0))
        yield client


def is_ended(client):
    """Wait for the end of a connection, and return whether it was that of its token."""
    with contextlib.suppress(ConnectionClosed):
        # After 15 s of silence the server says that it is still there.
        client.until(lambda: bool(client.frames) and client.frames[-1]["type"] == "Ping")
    errors = [frame for frame in client.frames if frame["type"] == "AuthError"]
    return [(each["baseVersion"], each["authUpdateAttempted"]) for each in errors] == [(1, False)]


def answers(client, request, path="users:who"):
    client.mutate(request, path, {})
    client.until(lambda: request in client.responses)
    return client.responses[request]["success"]


# Keys of others' providers.


@pytest.fixture
def provider():
    with ProviderServer() as server:
        yield server


@pytest.fixture
def members(tmp_path, provider, monkeypatch):
    """A server on this process, whose waits are short."""
    monkeypatch.setattr(limits, "provider_asked_again_s", 0.05)
    monkeypatch.setattr(limits, "provider_fresh_s_min", 0.05)
    auth_config = AUTH_CONFIG.format(issuer=provider.issuer)
    with ServerInThread(tmp_path, users=USERS, auth_config=auth_config) as server:
        yield server


def test_keys_rotate_while_users_are_connected(members, provider):
    with connected(members, provider.token("ada")) as ada:
        provider.rotate(issuing.key("RS256", 1), keep=True)
        with connected(members, provider.token("grace")) as grace:
            # The old key is still told, so that Ada stays.
            assert answers(ada, 0)
            provider.rotate(issuing.key("EdDSA", 2))
            with connected(members, provider.token("alan")) as alan:
                assert is_ended(ada)
                assert is_ended(grace)
                assert answers(alan, 0)


def test_a_key_that_is_withdrawn_ends_who_goes_by_it_without_anybody_elses_token(
    members, provider, monkeypatch
):
    monkeypatch.setattr(limits, "socket_tokens_reviewed_s", 0.05)
    provider.headers["Cache-Control"] = "no-store"
    with connected(members, provider.token("ada")) as ada:
        provider.rotate(issuing.key("ES256", 1))
        assert is_ended(ada)


def test_a_provider_that_is_away_ends_nobody(members, provider, monkeypatch):
    monkeypatch.setattr(limits, "socket_tokens_reviewed_s", 0.05)
    provider.headers["Cache-Control"] = "no-store"
    with connected(members, provider.token("ada")) as ada:
        asked = provider.asked["/keys"]
        provider.instead = {"/keys": 500, "/.well-known/openid-configuration": 500}
        before = sum(provider.asked.values())
        while sum(provider.asked.values()) < before + 5:
            assert answers(ada, asked)
            asked += 1
        # And once it is back with another key, that counts.
        provider.rotate(issuing.key("ES256", 1))
        provider.instead = {}
        assert is_ended(ada)


# Providers.

_BY_VARIABLE = 'OidcProvider(domain=Env("SECOND"), application_id="app")'


class Two:
    """A server that trusts two providers, one of them by a variable."""

    def __init__(self, server, first, second):
        self.server, self.first, self.second = server, first, second

    def trust(self, *providers):
        """Push an `auth_config` with these."""
        file = next(self.server.project.glob("*/auth_config.py"))
        listed = ", ".join(providers)
        file.write_text(f"from camber import Env, OidcProvider\n\nproviders = [{listed}]\n")
        self.server.wait_for_push()

    def trust_both(self):
        first = f'OidcProvider(domain="{self.first.issuer}", application_id="app")'
        self.trust(first, _BY_VARIABLE)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    write_project(folder, users=USERS, auth_config="providers = []")
    with (
        ProviderServer() as first,
        ProviderServer(issuing.key("ES256", 3)) as second,
        Server(folder, folder / "data", "--executors", "0") as server,
    ):
        server.set_variables(SECOND=second.issuer)
        two = Two(server, first, second)
        two.trust_both()
        yield two


def test_a_provider_whose_variable_changes_is_given_up_at_once(two):
    server, first, second = two.server, two.first, two.second
    with connected(server, first.token()) as ada, connected(server, second.token()) as grace:
        server.set_variables(SECOND="https://elsewhere.example.com")
        assert is_ended(grace)
        assert answers(ada, 0)
        server.set_variables(SECOND=second.issuer)
        with connected(server, second.token()) as grace:
            assert answers(grace, 0)


def test_a_provider_that_is_taken_out_of_auth_config_is_given_up_with_the_push(two):
    server, first, second = two.server, two.first, two.second
    with connected(server, first.token()) as ada, connected(server, second.token()) as grace:
        two.trust(_BY_VARIABLE)
        assert is_ended(ada)
        assert answers(grace, 0)
        two.trust_both()


# Keys of the deployment's own.


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "p"
    shutil.copytree(REPOSITORY / "tests" / "applications" / "signing_in", root)
    with Server(root, tmp_path_factory.mktemp("own-data"), "--executors", "0") as server:
        yield server


def test_a_stolen_key_ends_who_goes_by_it_and_they_come_back_by_their_refresh_token(own):
    def rotate(*options):
        return said(camber("auth", "keys", "rotate", "--dir", own.project, "--json", *options))

    tokens = own.value("action", "auth:signIn", {"provider": "anonymous"})["tokens"]
    with connected(own, tokens["token"], path="people:me") as ada:
        kept = json.loads(rotate())
        assert len(kept["trusted"]) == 1
        # Somebody with the new key is let in, and Ada is still there.
        other = own.value("action", "auth:signIn", {"provider": "anonymous"})["tokens"]
        with connected(own, other["token"], path="people:me") as grace:
            ada.mutate(0, "people:write", {"text": "still here"})
            ada.until(lambda: 0 in ada.responses)
            assert ada.responses[0]["success"]
            rotate("--trusted-for", "0s")
            assert is_ended(ada)
            assert is_ended(grace)
    refreshed = own.value("action", "auth:signIn", {"refreshToken": tokens["refreshToken"]})
    with connected(own, refreshed["tokens"]["token"], path="people:me") as ada:
        assert answers(ada, 0, path="people:write") is False, "it has no text"
