"""What browsers are told of what is served."""

from __future__ import annotations

import json

import httpx
import pytest

from camber.server.headers import untrusted_file_headers
from tests.acceptance.test_node_clients import run_script

PAGE = b"""<!doctype html><body onload="document.title='ran'"><p>seen</p>
<script>document.body.append('writ' + 'ten')</script></body>"""
PICTURE = b"""<svg xmlns="http://www.w3.org/2000/svg"><text>seen</text>
<script>document.documentElement.append('writ' + 'ten')</script></svg>"""
FILES = {"page": ("text/html", PAGE), "picture": ("image/svg+xml", PICTURE)}


@pytest.mark.browser
def test_no_script_of_a_served_file_runs(kitchen, chromium):
    files = {}
    for name, (kind, body) in FILES.items():
        bare = {"Content-Type": kind}
        # That the browser runs it where nobody has told it not to.
        files[f"bare-{name}"] = {"headers": bare, "body": body.decode(), "runs": True}
        headers = {**bare, **untrusted_file_headers(kind)}
        files[name] = {"headers": headers, "body": body.decode(), "runs": False}
    run_script("files.mjs", kitchen, CHROMIUM=chromium, FILES=json.dumps(files))


@pytest.mark.parametrize(
    ("kind", "is_boxed"),
    [("text/html", True), ("image/svg+xml", True), (None, True), ("application/pdf", False),
     ("Application/PDF; x=y", False), ("application/pdf2", True)],
)  # fmt: skip
def test_an_untrusted_file_has_no_origin_and_no_scripts(kind, is_boxed):
    headers = untrusted_file_headers(kind)
    policy = [each.strip() for each in headers["Content-Security-Policy"].split(";")]
    assert policy[0] == "default-src 'none'"
    assert not [each for each in policy if each.startswith("script-src")]
    assert ("sandbox" in policy) is is_boxed
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_answers_are_no_pages(kitchen):
    listed = kitchen.post("/api/query", {"path": "counters:read", "args": {"name": "headers"}})
    assert listed.headers["x-content-type-options"] == "nosniff"
    echoed = httpx.post(
        f"{kitchen.url}/echo", content=PAGE, headers={"Content-Type": "text/html"}, timeout=30
    )
    assert echoed.content == PAGE
    assert "sandbox" in echoed.headers["content-security-policy"]
    assert echoed.headers["x-content-type-options"] == "nosniff"
