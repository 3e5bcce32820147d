"""OAuth flows against a provider on this machine, by a browser that keeps cookies as browsers do."""

from __future__ import annotations

import base64
import shutil
import time
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from camber import FunctionError
from camber.components.auth.oauth_client import code_challenge
from tests.components.auth.people import (
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
from tests.components.auth.provider import CLIENT, SECRET, Provider


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


def _variables(provider):
    found: dict[str, str] = {}
    for name in ("OIDC", "POSTING", "GITHUB"):
        found |= {
            f"AUTH_{name}_ID": CLIENT,
            f"AUTH_{name}_SECRET": SECRET,
            f"AUTH_{name}_ISSUER": provider.url,
        }
    return found


class Browser(Person):
    """A person with a browser, whose cookies are kept for the site alone."""

    def __init__(self, app):
        super().__init__(app)
        self.cookies: dict[str, str] = {}
        self.verifier: str | None = None
        self.set: list[str] = []

    def get(self, path, **request):
        """Follow a URL of the site; return the response."""
        url = urlsplit(path)
        assert f"{url.scheme}://{url.netloc}" in {SITE, "://"}, path
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers |= request.pop("headers", {})
        response = self.app.fetch(f"{url.path}?{url.query}", headers=headers, **request)
        for line in response.headers.get_list("set-cookie"):
            self.set.append(line)
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return response

    def begin(self, name="oidc", **params):
        """Ask to sign in, and return the URL of the provider's page."""
        answer = self.sign_in(name, **params)
        self.verifier = answer["verifier"]
        response = self.get(answer["redirect"])
        assert response.status_code == 302, response.text
        return response.headers["location"]

    def come_back(self, url, **request):
        """Follow the provider back; return where the browser is sent, and the code if there is one."""
        response = self.get(url, **request)
        assert response.status_code == 302
        place = response.headers["location"]
        codes = parse_qs(urlsplit(place).query).get("code", [None])
        return place, codes[0]

    def flow(self, provider, name="oidc", **params):
        """Go all the way; return whether that signed the person in."""
        _, code = self.come_back(provider.consent(self.begin(name, **params)))
        if code is None:
            return False
        self.sign_in(code=code, verifier=self.verifier)
        return self.tokens is not None


@pytest.fixture
def ada(app):
    return Browser(app)


@pytest.fixture
def eve(app):
    return Browser(app)


def test_pkce_is_that_of_the_standard():
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == challenge


def test_somebody_signs_in_by_openid_connect(app, ada, provider):
    provider.user = {**provider.user, "name": "Ada", "picture": "https://example.com/a.png"}
    assert ada.flow(provider)
    user = ada.calling.query("people:me")
    assert (user.name, user.email, user.image) == (
        "Ada",
        "ada@example.com",
        "https://example.com/a.png",
    )
    assert user.email_verification_time
    first = ada.user
    ada.sign_out()
    provider.user = {**provider.user, "name": "Ada L."}
    assert ada.flow(provider)
    assert ada.user == first
    assert ada.calling.query("people:me").name == "Ada L."
    assert ada.cookies == {}
    assert rows(app, "authVerifiers") == rows(app, "authVerificationCodes") == []


def test_a_browser_is_sent_where_it_asked_to_be(ada, provider):
    for asked, begins in (
        ("/inbox?a=b", f"{PAGES}/inbox?a=b&code="),
        ("myapp://in", "myapp://in?code="),
    ):
        place, code = ada.come_back(provider.consent(ada.begin(redirectTo=asked)))
        assert place.startswith(begins)
        assert code
        assert len(code) == 8


@pytest.mark.parametrize(
    ("emails", "verified"),
    [
        ([{"email": "Ada@example.com", "primary": True, "verified": True}], "ada@example.com"),
        ([{"email": "ada@example.com", "primary": True, "verified": False}], None),
        ([{"email": "ada@example.com", "primary": False, "verified": True}], None),
        ([], None),
    ],
)
def test_somebody_signs_in_by_github(tmp_path, provider, emails, verified):
    """Of the addresses there the one that GitHub has verified counts: the public one may be any."""
    project = tmp_path / "project"
    shutil.copytree(SIGNING_IN, project, ignore=shutil.ignore_patterns("__pycache__"))
    module = project / "backend" / "auth.py"
    module.write_text(module.read_text().replace("http://127.0.0.1:1", provider.url))
    provider.basic = False
    provider.user = {"id": 583231, "login": "octocat", "name": None, "email": "public@example.com"}
    provider.emails = emails
    with opened(project, **_variables(provider)) as app:
        ada = Browser(app)
        assert ada.flow(provider, "github")
        user: Any = ada.calling.query("people:me")
        assert (user.name, user.email) == ("octocat", verified)
        assert bool(user.email_verification_time) is bool(verified)
        account = rows(app, "authAccounts")[0]
        assert account["providerAccountId"] == "583231"


def test_the_code_is_for_the_browser_that_has_the_verifier(app, ada, eve, provider):
    _, code = ada.come_back(provider.consent(ada.begin()))
    eve.begin()
    for verifier in (None, eve.verifier, ""):
        assert eve.sign_in(code=code, verifier=verifier) == {"tokens": None}
        assert eve.sign_in("oidc", code=code, verifier=verifier) == {"tokens": None}
    # And it was not used up by that.
    ada.sign_in(code=code, verifier=ada.verifier)
    assert ada.tokens
    assert ada.sign_in(code=code, verifier=ada.verifier) == {"tokens": None}


def test_the_code_is_good_for_two_minutes(app, ada, provider):
    _, code = ada.come_back(provider.consent(ada.begin()))
    app.advance(seconds=121)
    assert ada.sign_in(code=code, verifier=ada.verifier) == {"tokens": None}


def test_a_browser_that_did_not_begin_cannot_end_a_flow(ada, eve, provider):
    """Eve sends Ada a link to the end of a flow of hers, and Ada would be signed in as Eve."""
    link = provider.consent(eve.begin())
    assert ada.come_back(link) == (PAGES, None)
    ada.begin()
    assert ada.come_back(link) == (PAGES, None)
    assert eve.come_back(link)[1]


@pytest.mark.parametrize("name", ["OAuthpkce", "OAuthstate", "OAuthnonce"])
def test_a_flow_without_one_of_its_checks_does_not_end(ada, eve, provider, name):
    link = provider.consent(ada.begin())
    kept = dict(ada.cookies)
    del ada.cookies[f"oidc{name}"]
    assert ada.come_back(link) == (PAGES, None)
    eve.begin()
    ada.cookies = {**kept, f"oidc{name}": eve.cookies[f"oidc{name}"]}
    assert ada.come_back(link) == (PAGES, None)


def test_an_answer_is_taken_once(ada, provider):
    link = provider.consent(ada.begin())
    kept = dict(ada.cookies)
    assert ada.come_back(link)[1]
    ada.cookies = kept
    assert ada.come_back(link) == (PAGES, None)


def test_a_flow_that_takes_too_long_does_not_end(app, ada, provider):
    link = provider.consent(ada.begin())
    app.advance(minutes=16)
    assert ada.come_back(link) == (PAGES, None)


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "access_denied"},
        {},
        {"code": "made up"},
        {"code": "real", "iss": "https://evil.test"},
        {"code": "real", "state": "another"},
        {"code": "real", "state": ""},
        {"code": "real", "error": "no"},
    ],
)
def test_an_answer_that_is_no_yes_signs_nobody_in(app, ada, provider, answer):
    link = provider.consent(ada.begin())
    real = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    sent = {"state": real["state"], **answer}
    if sent.get("code") == "real":
        sent["code"] = real["code"]
    place, code = ada.come_back(f"{SITE}/api/auth/callback/oidc?{urlencode(sent)}")
    assert (place, code) == (PAGES, None)
    assert rows(app, "users") == []


def _other_key(claims):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k1"})


def _unsigned(claims):
    return jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})


def _by_public_key(provider):
    import hashlib
    import hmac
    import json

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(content):
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    def sign(claims):
        head = {"alg": "HS256", "kid": "k1"}
        text = f"{part(json.dumps(head).encode())}.{part(json.dumps(claims).encode())}"
        return f"{text}.{part(hmac.new(public, text.encode(), hashlib.sha256).digest())}"

    return sign


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": 7},
        {"aud": "another"},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://evil.test"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": None},
        {"sub": None},
    ],
)
def test_an_id_token_of_another_flow_or_application_signs_nobody_in(app, ada, provider, changed):
    provider.claims = lambda claims: {
        name: value for name, value in {**claims, **changed}.items() if value is not None
    }
    assert not ada.flow(provider)
    assert rows(app, "users") == []


@pytest.mark.parametrize("forged", ["another key", "none", "public key as a secret"])
def test_an_id_token_that_somebody_else_has_signed_signs_nobody_in(app, ada, provider, forged):
    provider.sign = {
        "another key": _other_key,
        "none": _unsigned,
        "public key as a secret": _by_public_key(provider),
    }[forged]
    assert not ada.flow(provider)
    assert rows(app, "users") == []


def test_a_provider_that_calls_itself_another_is_not_asked(app, ada, provider):
    provider.configuration = {"issuer": "https://evil.test"}
    answer = ada.sign_in("oidc")
    assert ada.get(answer["redirect"]).status_code == 500


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_secrets_are_sent_over_tls_alone(app, ada, provider, name):
    # An address that leads to this very provider, and is not known to be this machine's own.
    provider.configuration = {name: provider.url.replace("127.0.0.1", "0.0.0.0")}
    asked = len(provider.asked)
    assert not ada.flow(provider)
    path = provider.configuration[name].rpartition("/")[2]
    assert f"/{path}" not in provider.asked[asked:]


def test_a_flow_begins_with_its_verifier_and_to_an_allowed_place(app, ada, provider):
    verifier = ada.sign_in("oidc")["verifier"]
    begin = f"{SITE}/api/auth/signin/oidc"
    session = rows(app, "authVerifiers")[0]["_id"]
    assert session == verifier
    for query in ("", "?code=", "?code=x", f"?code={verifier}&redirectTo=https://evil.test"):
        response = ada.get(begin + query)
        assert response.status_code == 400
        assert response.content == b""
    assert ada.set == []
    assert ada.get(f"{begin}?code={verifier}").status_code == 302


@pytest.mark.parametrize(
    "name", ["SITE_URL", "AUTH_OIDC_ID", "AUTH_OIDC_SECRET", "AUTH_OIDC_ISSUER"]
)
def test_a_variable_that_is_missing_is_told_before_the_browser_leaves(app, ada, name):
    set_variables(app, **{name: None})
    with pytest.raises(FunctionError, match=f"variable {name} is not set"):
        ada.sign_in("oidc")
    assert rows(app, "authVerifiers") == []


def test_a_cookie_that_somebody_has_put_in_redirects_nowhere(ada, provider):
    link = provider.consent(ada.begin())
    evil = base64.urlsafe_b64encode(b"https://evil.test").decode()
    ada.cookies["oidcRedirectTo"] = evil
    place, code = ada.come_back(link)
    assert place.startswith(f"{PAGES}?code=")
    assert code


def test_cookies_on_a_developers_machine(ada, provider):
    ada.begin()
    assert len(ada.set) == 3
    for line in ada.set:
        assert line.startswith("oidcOAuth")
        assert "HttpOnly" in line
        assert "SameSite=lax" in line
        assert "Max-Age=900" in line
        assert "Domain" not in line


def test_cookies_of_a_site_are_its_own_alone(app, ada, provider):
    """Another host below the same domain can set none of these: `__Host-`."""
    set_variables(app, CUSTOM_AUTH_SITE_URL="https://auth.example.com")
    for name, same_site in (("oidc", "lax"), ("posting", "none")):
        answer = ada.sign_in(name)
        begin = urlsplit(answer["redirect"])
        assert f"{begin.scheme}://{begin.netloc}" == "https://auth.example.com"
        ada.set.clear()
        response = ada.get(f"{begin.path}?{begin.query}")
        asked = parse_qs(urlsplit(response.headers["location"]).query)
        assert asked["redirect_uri"] == [f"https://auth.example.com/api/auth/callback/{name}"]
        for line in ada.set:
            assert line.startswith(f"__Host-{name}OAuth")
            assert {"Secure", "HttpOnly", f"SameSite={same_site}", "Path=/"} <= set(
                line.split("; ")
            )
            assert "Domain" not in line


def test_a_provider_may_answer_by_a_form(app, ada, provider):
    page = ada.begin("posting")
    assert "response_mode=form_post" in page
    link = urlsplit(provider.consent(page))
    _, code = ada.come_back(
        f"{SITE}{link.path}",
        method="POST",
        content=link.query,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    ada.sign_in(code=code, verifier=ada.verifier)
    assert ada.tokens
    # Others may not: such a request comes from anywhere.
    assert app.fetch("/api/auth/callback/oidc", method="POST").status_code == 404


def test_an_address_that_the_provider_has_not_verified_links_nobody(app, ada, eve, provider):
    """Eve has an account there with Ada's address, which nobody has asked her to prove."""
    ada.flow(provider)
    for claim in ({"email_verified": False}, {"email_verified": "true"}, {}):
        kept = {"sub": f"eve {claim}", "email": "ADA@example.com"}
        provider.user = {**kept, **claim}
        assert eve.flow(provider)
        assert eve.user != ada.user
        assert eve.calling.query("people:me").email_verification_time is None
        eve.sign_out()


def test_an_address_that_is_not_verified_takes_the_place_of_none_that_is(ada, provider):
    ada.flow(provider)
    ada.sign_out()
    provider.user = {**provider.user, "email": "b@example.com", "email_verified": False}
    assert ada.flow(provider)
    user = ada.calling.query("people:me")
    assert (user.email, user.email_verification_time is None) == ("ada@example.com", False)


def test_an_address_that_both_sides_have_proven_links(app, ada, provider):
    ada.sign_in("email", email="ada@example.com")
    ada.sign_in(code=app.query("letters:newest", to="ada@example.com").token)
    first = ada.user
    ada.sign_out()
    assert ada.flow(provider)
    assert ada.user == first


def test_being_signed_in_links_nobody_unless_it_is_asked_for(app, ada, provider):
    ada.sign_in("anonymous")
    first = ada.user
    assert ada.flow(provider)
    assert ada.user != first


@pytest.fixture
def adding(tmp_path, provider):
    """The application, which adds a new way in to whoever is signed in."""
    project = tmp_path / "project"
    shutil.copytree(SIGNING_IN, project, ignore=shutil.ignore_patterns("__pycache__"))
    module = project / "backend" / "auth.py"
    text = module.read_text()
    changed = text.replace("    users=User,", "    users=User,\n    linking=Linking.SIGNED_IN,")
    module.write_text(changed.replace("    GitHub,\n", "    GitHub,\n    Linking,\n", 1))
    with opened(project, **_variables(provider)) as app:
        yield app


def test_being_signed_in_links_where_it_is_asked_for(adding, provider):
    ada = Browser(adding)
    ada.sign_in("anonymous")
    first, session = ada.user, ada.session
    assert ada.flow(provider)
    # In the same session, which other tabs of the browser are in too.
    assert (ada.user, ada.session) == (first, session)
    ada.sign_out()
    assert ada.flow(provider)
    assert ada.user == first


def test_who_follows_the_beginning_of_anothers_flow_adds_nothing_to_them(adding, provider):
    """Eve has Ada follow it, that Ada's account there may become a way in to Eve's user here."""
    ada, eve = Browser(adding), Browser(adding)
    eve.sign_in("anonymous")
    begun = eve.sign_in("oidc")
    page = ada.get(begun["redirect"]).headers["location"]
    _, code = ada.come_back(provider.consent(page))
    assert code is not None
    # Ada's browser has come back with a code, and no verifier that it is for.
    assert ada.sign_in(code=code) == {"tokens": None}
    assert [each["provider"] for each in rows(adding, "authAccounts")] == ["anonymous"]
    assert ada.flow(provider)
    assert ada.user != eve.user


def test_a_flow_that_began_in_a_session_that_has_ended_adds_to_nobody(adding, provider):
    ada = Browser(adding)
    ada.sign_in("anonymous")
    first, page = ada.user, ada.begin()
    _, code = ada.come_back(provider.consent(page))
    ada.sign_out()
    ada.sign_in(code=code, verifier=ada.verifier)
    assert ada.user != first


def test_what_nobody_redeems_leaves_no_user_behind(app, ada, provider):
    _, code = ada.come_back(provider.consent(ada.begin()))
    assert code is not None
    assert (rows(app, "users"), rows(app, "authAccounts")) == ([], [])


@pytest.mark.parametrize("name", ["email", "email-code", "password", "verified"])
def test_an_address_that_is_only_typed_is_added_to_nobody(adding, name):
    """Eve, signed in, types Ada's address; Ada proves it later, and is not Eve for that."""
    ada, eve = Browser(adding), Browser(adding)
    eve.sign_in("anonymous")
    first = eve.user
    sent = {"email": "ada@example.com"}
    if name in {"password", "verified"}:
        sent |= {"flow": "signUp", "password": "correct horse"}
    eve.sign_in(name, **sent)
    adding.advance()
    ada.sign_in("email", email="ada@example.com")
    ada.sign_in(code=newest_letter(adding, "ada@example.com").token)
    assert ada.user != first
    accounts = rows(adding, "authAccounts")
    assert [row["provider"] for row in accounts if row["userId"] == first] == ["anonymous"]


def test_a_link_is_followed_by_a_browser_that_has_left_a_flow_half_way(app, ada):
    ada.sign_in("email", email="ada@example.com")
    link = newest_letter(app, "ada@example.com")
    ada.begin()
    ada.sign_in(code=link.token, verifier=ada.verifier)
    assert ada.tokens


def test_two_users_of_one_address_are_not_chosen_between(app, ada, provider):
    for _ in range(2):
        fields = {"email": "ada@example.com", "emailVerificationTime": 1}
        app.mutation("people:add", table="users", fields=fields)
    assert ada.flow(provider)
    assert len(rows(app, "users")) == 3


def test_an_account_without_an_id_is_none(app, ada, provider):
    provider.claims = lambda claims: {**claims, "sub": ""}
    assert not ada.flow(provider)


def test_well_known_documents(app):
    response = app.fetch("/.well-known/openid-configuration")
    assert response.json() == {
        "issuer": SITE,
        "jwks_uri": f"{SITE}/.well-known/jwks.json",
        "authorization_endpoint": f"{SITE}/oauth/authorize",
    }
    cached = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400"
    keys = app.fetch("/.well-known/jwks.json")
    for each in (response, keys):
        assert each.headers["cache-control"] == cached
        assert each.headers["content-type"] == "application/json"
    assert set(keys.json()["keys"][0]) == {"kty", "n", "e", "use", "alg", "kid"}


def test_a_verifier_is_asked_for_by_name(app, ada):
    refused("UnknownProvider", ada.sign_in, "gitlab")
