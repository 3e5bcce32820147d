"""A front end beside the API: its files, and nothing else of the disk."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from camber.server.static_files import StaticFiles


@pytest.fixture
def folder(tmp_path):
    """A built front end, and what lies around it."""
    built = tmp_path / "dist"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("the page")
    (built / "assets" / "main-1a2b.js").write_text("code")
    (built / "a name.txt").write_text("spaced")
    (tmp_path / "secret").write_text("not yours")
    (tmp_path / "dist-other").mkdir()
    (tmp_path / "dist-other" / "secret").write_text("not yours")
    (built / "link").symlink_to(tmp_path / "secret")
    return built


def served(folder, path):
    async def receive():
        await asyncio.Event().wait()  # a client that only listens

    sent = []

    async def send(message):
        sent.append(message)

    async def main():
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": b"", "query_string": b"",
            "headers": [], "server": ("127.0.0.1", 1), "scheme": "http", "root_path": "",
        }  # fmt: skip
        response = await StaticFiles(folder).respond(Request(scope, receive))
        await response(scope, receive, send)

    asyncio.run(main())
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"the page"),
        ("/assets/main-1a2b.js", b"code"),
        ("/a name.txt", b"spaced"),
        ("/rooms/7", b"the page"),
    ],
)
def test_files_and_pages_are_served(folder, path, body):
    status, headers, found = served(folder, path)
    assert (status, found) == (200, body)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/assets/../../secret",
        "/../dist-other/secret",
        "//etc/passwd",
        "///etc/passwd",
        "/..\\secret",
        "/%2e%2e/secret",
        "/link",
        "/\0",
        "/" + "x" * 5000,
        "/a/" * 3000,
        "/assets",
    ],
)
def test_nothing_outside_of_the_folder_is_served(folder, path):
    assert served(folder, path)[2] == b"the page"
