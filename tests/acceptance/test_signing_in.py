"""Convex's own front end for signing in, `@convex-dev/auth`, unmodified, in Chromium: the example `auth`."""

from __future__ import annotations

import re
import shutil

import pytest

from camber.identity.signing_keys import new_signing_keys
from tests.acceptance.test_node_clients import run_script
from tests.components.auth.provider import CLIENT, SECRET, Provider
from tests.servers import ADMIN_KEY, SIGN_IN, Server

pytestmark = pytest.mark.browser

#: What the sender of the example prints, who has no other.
_SENT = re.compile(r"To \S+: (\w+) or (http[^\s']+)")
_GRACE = {
    "sub": "1",
    "id": 1,
    "login": "grace",
    "email": "grace@example.com",
    "email_verified": True,
}


@pytest.fixture(scope="module")
def provider():
    """All providers in one, which is another site than the page, as those on the internet are."""
    with Provider() as provider:
        provider.url = provider.url.replace("127.0.0.1", "localhost")
        provider.basic = None
        _let_be(provider, **_GRACE)
        yield provider


def _let_be(provider, **user):
    """Let somebody be who says yes at the provider; GitHub tells addresses by themselves."""
    provider.user = user
    verified = {"primary": True, "verified": True}
    provider.emails = [{"email": user["email"], **verified}] if "email" in user else []


@pytest.fixture(scope="module")
def signing_in(tmp_path_factory, sign_in_page, provider):
    folder = tmp_path_factory.mktemp("signing-in")
    ignored = shutil.ignore_patterns("__pycache__", ".camber", "web", "node_modules")
    shutil.copytree(SIGN_IN, folder / "project", ignore=ignored)
    _have_providers_here(folder / "project" / "backend" / "auth.py", provider.url)
    with Server(folder / "project", folder / "data", "--static", str(sign_in_page)) as server:
        variables = {"SITE_URL": server.url, "AUTH_WORK_ISSUER": provider.url, **new_signing_keys()}
        for name in ("GITHUB", "GOOGLE", "WORK", "GITLAB"):
            variables |= {f"AUTH_{name}_ID": CLIENT, f"AUTH_{name}_SECRET": SECRET}
        server.set_variables(**variables)
        yield server


def _have_providers_here(module, url):
    """Let the example ask a provider on this machine; the one that stands for Google answers by forms."""
    text = module.read_text()
    for there, here in (
        ("    GitHub(),", f'    GitHub(web="{url}", api="{url}"),'),
        ("    Google(),", f'    Google(issuer="{url}", response_mode="form_post"),'),
        ("https://gitlab.com", url),
    ):
        assert there in text
        text = text.replace(there, here)
    module.write_text(text)


def test_people_sign_in_by_password_code_link_invitation_and_without_a_name(signing_in, chromium):
    key = {"Authorization": f"Convex {ADMIN_KEY}"}
    steps = {
        "code": lambda: signing_in.wait_for(_SENT)[1],
        "link": lambda: signing_in.wait_for(_SENT)[2],
        "promote": lambda: signing_in.value(
            "function", "members:promote", {"email": "ada@example.com"}, **key
        ),
    }
    run_script("sign_in.mjs", signing_in, steps=steps, CHROMIUM=chromium)


def test_people_sign_in_by_others_providers(signing_in, provider, chromium):
    consent = provider.consent

    def be(**user):
        _let_be(provider, **user)

    def refuse():
        provider.consent = lambda url: consent(url).replace("code=", "error=access_denied&x=")

    def agree():
        provider.consent = consent

    steps = {
        "be Grace at GitLab": lambda: be(id=7, name="Grace H.", email="elsewhere@example.com"),
        "be Grace": lambda: be(**_GRACE),
        "be Mallory": lambda: be(sub="9", id=9, login="mallory", name="Mallory"),
        "refuse": refuse,
        "consent": agree,
    }
    run_script("oauth.mjs", signing_in, steps=steps, CHROMIUM=chromium)
