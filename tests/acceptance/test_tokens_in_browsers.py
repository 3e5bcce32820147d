"""Convex's React client with the tokens of a real provider, in Chromium: `ConvexProviderWithAuth`."""

from __future__ import annotations

import time

import pytest

from tests.acceptance.test_node_clients import run_script
from tests.acceptance.test_user_tokens import AUTH_CONFIG, USERS
from tests.functions.projects import write_project
from tests.identity import issuing
from tests.identity.provider_server import ProviderServer
from tests.servers import REPOSITORY, Server

pytestmark = pytest.mark.browser

#: Clients renew a token so long before it ends, in seconds.
_LEEWAY_S = 10


def test_tokens_are_renewed_ended_refused_and_given_up(tmp_path, chromium, built_page):
    page = built_page(REPOSITORY / "tests" / "clients" / "members")
    with ProviderServer() as provider:
        config = AUTH_CONFIG.format(issuer=provider.issuer)
        write_project(tmp_path, users=USERS, auth_config=config)
        with Server(tmp_path, tmp_path / "data", "--static", str(page)) as server:
            run_script("members.mjs", server, steps=_tokens(provider), CHROMIUM=chromium)


def _tokens(provider):
    def short():
        now = int(time.time())
        return provider.token(name="short", iat=now, exp=now + _LEEWAY_S + 2)

    def ending():
        # Clients go by how long it was made for. Within what clocks may differ by, so that it ends in a moment.
        now = int(time.time())
        return provider.token(name="ending", iat=now - 3600, exp=now - 2)

    forger = issuing.key("ES256", 9).named(provider.keys[0].id)
    claims = issuing.claims(iss=provider.issuer)
    return {
        "long": lambda: provider.token(name="long"),
        "renewed": lambda: provider.token(name="renewed"),
        "grace": lambda: provider.token("grace", name="long"),
        "short": short,
        "ending": ending,
        "forged": lambda: issuing.token(forger, claims),
    }
