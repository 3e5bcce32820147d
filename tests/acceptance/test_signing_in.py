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


@pytest.fixture(scope="module")
def signing_in(tmp_path_factory, sign_in_page):
    folder = tmp_path_factory.mktemp("signing-in")
    ignored = shutil.ignore_patterns("__pycache__", ".camber", "web", "node_modules")
    shutil.copytree(SIGN_IN, folder / "project", ignore=ignored)
    with Server(folder / "project", folder / "data", "--static", str(sign_in_page)) as server:
        server.set_variables(SITE_URL=server.url, **new_signing_keys())
        yield server


def _run(script, server, chromium, **more):
    key = {"Authorization": f"Convex {ADMIN_KEY}"}
    steps = {
        "code": lambda: server.wait_for(_SENT)[1],
        "link": lambda: server.wait_for(_SENT)[2],
        "promote": lambda: server.value(
            "function", "members:promote", {"email": "ada@example.com"}, **key
        ),
        **more,
    }
    run_script(script, server, steps=steps, CHROMIUM=chromium)


def test_people_sign_up_in_and_out_by_password_link_and_without_a_name(signing_in, chromium):
    _run("sign_in.mjs", signing_in, chromium)


@pytest.fixture
def provider(signing_in):
    """A provider that is another site than the page, as those on the internet are."""
    with Provider() as provider:
        provider.url = provider.url.replace("127.0.0.1", "localhost")
        provider.user |= {"id": 1, "login": "grace", "email": "grace@example.com"}
        provider.emails = [{"email": "grace@example.com", "primary": True, "verified": True}]
        for name in ("WORK", "GITHUB"):
            signing_in.set_variables(
                **{
                    f"AUTH_{name}_ID": CLIENT,
                    f"AUTH_{name}_SECRET": SECRET,
                    f"AUTH_{name}_ISSUER": provider.url,
                }
            )
        yield provider


def test_people_sign_in_by_others_providers(signing_in, provider, chromium):
    github = f'GitHub(web="{provider.url}", api="{provider.url}")'
    signing_in.save("auth.py", "GitHub(),", f"{github},")
    consent = provider.consent

    def take_secrets_in(form):
        provider.basic = not form

    def refuse():
        provider.consent = lambda url: consent(url).replace("code=", "error=access_denied&x=")

    def agree():
        provider.consent = consent

    steps = {
        "be GitHub": lambda: take_secrets_in(form=True),
        "be a company": lambda: take_secrets_in(form=False),
        "refuse": refuse,
        "consent": agree,
    }
    _run("oauth.mjs", signing_in, chromium, **steps)
