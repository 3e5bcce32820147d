"""The routes, in process; then a page of another origin and the official client, on real ports."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from backend.messages import list_messages

import camber.testing

EXAMPLE = Path(__file__).parent.parent


def post(app: camber.testing.TestApp, json: object) -> httpx.Response:
    return app.fetch("/postMessage", method="POST", json=json)


def test_a_message_is_posted_and_found_by_its_author(camber_app: camber.testing.TestApp) -> None:
    assert post(camber_app, {"author": "Ada Lovelace", "body": "hi"}).status_code == 200
    assert post(camber_app, {"author": "Bob", "body": "ho"}).status_code == 200
    for path in (
        "/getMessagesByAuthor?author=Ada%20Lovelace",
        "/getAuthorMessages/Ada%20Lovelace",
    ):
        found = camber_app.fetch(path).json()
        assert [message["body"] for message in found] == ["Sent via HTTP action: hi"]
    by_header = camber_app.fetch("/getMessagesByAuthor", headers={"Author": "Bob"})
    assert [message["author"] for message in by_header.json()] == ["Bob"]
    assert len(camber_app.query(list_messages)) == 2


@pytest.mark.parametrize("json", [None, [], {}, {"author": "Ada"}, {"author": 1, "body": "x"}])
def test_what_is_no_message_is_refused(camber_app: camber.testing.TestApp, json: object) -> None:
    assert post(camber_app, json).status_code == 400
    assert camber_app.fetch("/getMessagesByAuthor").status_code == 400
    assert camber_app.query(list_messages) == []


def test_browsers_are_told_who_may_post() -> None:
    origin = "http://page.test"
    with camber.testing.TestApp(EXAMPLE, environment={"CLIENT_ORIGIN": origin}) as app:
        asked = app.fetch(
            "/postMessage",
            method="OPTIONS",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        )
        assert asked.headers["access-control-allow-origin"] == origin
        assert asked.headers["access-control-allow-methods"] == "POST"
        assert asked.headers["access-control-max-age"] == "86400"
        posted = post(app, {"author": "Ada", "body": "hi"})
        assert posted.headers["access-control-allow-origin"] == origin
        # Who only asks which methods there are is told of no origin.
        plain = app.fetch("/postMessage", method="OPTIONS")
        assert "access-control-allow-origin" not in plain.headers


def test_a_page_posts_and_the_official_client_sees_it_come(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "camber", "start", str(EXAMPLE), "--port", "0"]
    options = ["--site-port", "0", "--data", str(tmp_path / "data"), "--executors", "1"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = (
                re.search(r"ready at (\S+) \(HTTP actions at (\S+)\)", line)
                for line in server.stdout
            )
            urls = next(found for found in ready if found)
            told = subprocess.run(
                ["node", "post.mjs", *urls.groups()],
                cwd=EXAMPLE, check=True, capture_output=True, text=True, timeout=60,
            ).stdout  # fmt: skip
        finally:
            server.terminate()
    assert told.splitlines() == [
        "may post: null",
        "posted: 200 null",
        "seen: Sent via HTTP action: hello",
        "found: Sent via HTTP action: hello",
    ]
