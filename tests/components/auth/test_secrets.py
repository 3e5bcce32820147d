"""What nobody may learn, make up or leave behind: defences that are not in anybody's way as long as they hold."""

from __future__ import annotations

import asyncio
import hmac
import json
import shutil
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from camber.components.auth import EmailCode, PhoneCode
from camber.components.auth.access_tokens import RESERVED, checked_claims
from camber.components.auth.oauth_client import Checks, code_challenge
from camber.components.auth.policy import AuthConfigError
from camber.components.auth.sessions import secret_of_child
from camber.components.auth.verification import Message, console_sender
from camber.identity.signing_keys import new_signing_keys
from tests.components.auth.people import (
    ENVIRONMENT,
    PAGES,
    SIGNING_IN,
    SITE,
    Person,
    newest_letter,
    opened,
    refused,
    rows,
    set_variables,
)
from tests.components.auth.provider import CLIENT, Provider
from tests.components.auth.test_flows import Browser, _variables

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"


@pytest.fixture(scope="module")
def provider():
    with Provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
def as_it_was(provider):
    kept = dict(vars(provider))
    yield
    vars(provider).update(kept)


@pytest.fixture
def app(provider):
    with opened(**_variables(provider)) as app:
        yield app


@pytest.fixture
def ada(app):
    return Browser(app)


@pytest.fixture
def eve(app):
    return Browser(app)


# Flows.


def test_the_checks_of_flows_differ_each_time(ada):
    pages = [parse_qs(urlsplit(ada.begin()).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({page[name][0] for page in pages}) == 2, name
        assert all(len(page[name][0]) >= 43 for page in pages), name


def test_cookies_that_nobody_was_given_end_no_flow(ada, eve, provider):
    """Eve makes up a flow of her own, and ends it beside one that Ada has begun."""
    ada.begin()
    checks = Checks.new()
    page = {
        "client_id": CLIENT,
        "response_type": "code",
        "redirect_uri": f"{SITE}/api/auth/callback/oidc",
        "state": checks.state,
        "nonce": checks.nonce,
        "code_challenge": code_challenge(checks.code_verifier),
        "code_challenge_method": "S256",
    }
    eve.cookies = {
        "oidcOAuthpkce": checks.code_verifier,
        "oidcOAuthstate": checks.state,
        "oidcOAuthnonce": checks.nonce,
    }
    link = provider.consent(f"{provider.url}/authorize?{urlencode(page)}")
    assert eve.come_back(link) == (PAGES, None)


def test_cookies_of_a_flow_are_not_stored(app, ada):
    ada.begin()
    stored = json.dumps(rows(app, "authVerifiers"))
    assert len(ada.cookies) == 3
    for value in ada.cookies.values():
        assert value not in stored


def test_redirects_of_a_provider_are_not_followed(ada, provider):
    """Where they lead would be told the code and the client's secret."""
    with Provider() as other:
        provider.leads = {"/token": f"{other.url}/token"}
        assert not ada.flow(provider)
        provider.leads = {"/keys": f"{other.url}/keys"}
        assert not ada.flow(provider)
        assert other.asked == []


def test_an_answer_without_end_is_cut_off(ada, provider):
    provider.configuration = {"more": "x" * 2**20}
    answer = ada.sign_in("oidc")
    assert ada.get(answer["redirect"]).status_code == 500


# Takeovers.


def test_an_address_that_was_typed_links_nobody(app, ada, eve):
    """Ada has proven hers; Eve signs up with it where nobody has to."""
    ada.sign_in("email", email=EMAIL)
    ada.sign_in(code=newest_letter(app, EMAIL).token)
    eve.sign_in("password", flow="signUp", email=EMAIL, password="eve's own words")
    assert eve.user != ada.user


def test_what_was_typed_changes_nothing_of_who_has_proven_the_address(tmp_path, provider):
    project = tmp_path / "project"
    shutil.copytree(SIGNING_IN, project, ignore=shutil.ignore_patterns("__pycache__"))
    module = project / "backend" / "auth.py"
    named = 'id="verified", profile=lambda given: {"email": given["email"], "name": given["name"]},'
    module.write_text(module.read_text().replace('id="verified",', named))
    with opened(project, **_variables(provider)) as app:
        ada, eve = Person(app), Person(app)
        ada.sign_in("email", email=EMAIL)
        ada.sign_in(code=newest_letter(app, EMAIL).token)
        eve.sign_in("verified", flow="signUp", email=EMAIL, password="eve's own words", name="Eve")
        (user,) = rows(app, "users")
        assert user["name"] is None
        # Whoever proves the address is asked what they are called.
        letter = newest_letter(app, EMAIL)
        ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
        assert ada.user == user["_id"]


def test_claims_that_are_the_tokens_are_not_an_applications():
    assert {"sub", "iss", "aud", "exp", "iat", "nbf", "jti"} == RESERVED
    for name in RESERVED:
        with pytest.raises(AuthConfigError, match=name):
            checked_claims({name: "x", "plan": "gold"})
    assert checked_claims({"plan": "gold"}) == {"plan": "gold"}


def test_a_user_who_is_gone_is_not_kept_signed_in(app, ada):
    ada.sign_in("anonymous")
    app.mutation("people:remove", id=ada.user)
    assert not ada.refresh()
    assert rows(app, "authSessions") == rows(app, "authRefreshTokens") == []


def test_a_session_ends_at_its_time_however_often_it_is_refreshed(provider):
    with opened(AUTH_SESSION_TOTAL_DURATION_MS="600000", **_variables(provider)) as app:
        ada = Person(app)
        ada.sign_in("anonymous")
        app.advance(minutes=6)
        assert ada.refresh()
        app.advance(minutes=5)
        assert not ada.refresh()


def test_a_session_that_is_not_used_ends(provider):
    with opened(AUTH_SESSION_INACTIVE_DURATION_MS="600000", **_variables(provider)) as app:
        ada = Person(app)
        ada.sign_in("anonymous")
        app.advance(minutes=9)
        assert ada.refresh()
        app.advance(minutes=11)
        assert not ada.refresh()


# Codes.


@pytest.mark.parametrize("digits", [0, 1, 5, 17])
def test_a_code_of_few_digits_is_no_declaration(digits):
    async def send(message, ctx):
        raise AssertionError

    for kind in (EmailCode, PhoneCode):
        with pytest.raises(AuthConfigError, match=f"{digits} digits"):
            kind(send=send, digits=digits)


def test_codes_are_printed_where_the_server_runs_and_in_no_log(capfd):
    """Whoever calls a function is told what it logs, on a developer's machine."""
    logged: list[str] = []
    ctx: Any = SimpleNamespace(
        env={"SITE_URL": PAGES},
        log=SimpleNamespace(**dict.fromkeys(("debug", "info", "warn", "error"), logged.append)),
    )
    from datetime import UTC, datetime

    message = Message(
        identifier=EMAIL, url=PAGES, token="4711", expires=datetime.now(UTC), provider="email"
    )
    asyncio.run(console_sender(message, ctx))
    assert logged == []
    assert "4711" in capfd.readouterr().err


# What is stored and told.


def test_no_token_is_made_of_what_is_stored(app, ada):
    ada.sign_in("anonymous")
    ada.refresh()
    stored = rows(app, "authRefreshTokens")
    texts = [text for row in stored for text in (row["hash"], row["nonce"], row["_id"]) if text]
    for row in stored:
        for parent in (*texts, ""):
            secret = secret_of_child(parent, row["nonce"] or "")
            presented = f"{row['_id']}|{row['sessionId']}|{secret}"
            assert app.action("auth:signIn", refreshToken=presented) == {"tokens": None}
    assert ada.refresh()


def test_keys_that_have_ended_are_told_no_more(app):
    (key,) = json.loads(ENVIRONMENT["JWKS"])["keys"]
    (old,) = json.loads(new_signing_keys()["JWKS"])["keys"]
    set_variables(app, JWKS=json.dumps({"keys": [key, {**old, "exp": 1}]}))
    told = app.fetch("/.well-known/jwks.json").json()["keys"]
    assert [each["kid"] for each in told] == [key["kid"]]


@pytest.fixture
def compared(monkeypatch):
    """Return what was compared in constant time."""
    seen: list[Any] = []
    real = hmac.compare_digest

    def recorded(one, other):
        seen.extend(each.decode() if isinstance(each, bytes) else each for each in (one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    return seen


def test_secrets_are_compared_in_constant_time(app, ada, provider, compared):
    """Passwords, secrets of refresh tokens, and what ties a flow to its browser."""
    ada.sign_in("password", flow="signUp", email=EMAIL, password=PASSWORD)
    refused(
        "InvalidCredentials",
        ada.sign_in,
        "password",
        flow="signIn",
        email=EMAIL,
        password="wrong one",
    )
    stored = rows(app, "authAccounts")[0]["secret"].partition(":")[2]
    assert stored in compared
    hashes = [row["hash"] for row in rows(app, "authRefreshTokens")]
    ada.refresh()
    assert set(hashes) <= set(compared)
    ada.sign_out()

    page = ada.begin()
    checks = parse_qs(urlsplit(page).query)
    ada.come_back(provider.consent(page))
    assert checks["state"][0] in compared
    assert checks["nonce"][0] in compared
    ada.begin()
    _, code = ada.come_back(provider.consent(ada.begin()))
    ada.sign_in(code=code, verifier=ada.verifier)
    assert ada.verifier in compared
