"""Fetching a provider's documents from a real server, which may be a bad one."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from camber import limits
from camber.identity import fetching
from camber.identity.documents import FetchFailed
from camber.identity.fetching import HttpFetcher
from tests.identity.provider_server import ProviderServer


@pytest.fixture
def provider():
    with ProviderServer() as server:
        yield server


def fetch(url):
    async def main():
        fetcher = HttpFetcher()
        try:
            return await fetcher(url)
        finally:
            await fetcher.close()

    return asyncio.run(main())


def failure(url):
    with pytest.raises(FetchFailed) as caught:
        fetch(url)
    return str(caught.value)


def test_a_document_comes_with_what_is_said_of_it(provider):
    provider.headers = {
        "Content-Type": "Application/JSON; charset=utf-8",
        "Cache-Control": "public, max-age=300, must-revalidate",
        "Age": "20",
    }
    found = fetch(f"{provider.issuer}/keys")
    assert (found.media_type, found.fresh_s) == ("application/json", 280.0)
    assert b'"keys"' in found.content


def test_nobody_is_followed_elsewhere(provider):
    with ProviderServer() as elsewhere:

        def redirect(handler):
            handler.send_response(302)
            handler.send_header("Location", f"{elsewhere.issuer}/keys")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        provider.instead["/keys"] = redirect
        assert f"redirects to '{elsewhere.issuer}/keys'" in failure(f"{provider.issuer}/keys")
        assert not elsewhere.asked


def test_a_document_without_end_is_cut_off(provider):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            return

    provider.instead["/keys"] = endless
    assert str(limits.provider_document_bytes_max) in failure(f"{provider.issuer}/keys")


def test_what_is_compressed_is_not_unpacked(provider):
    bomb = gzip.compress(b" " * 10_000_000)
    provider.instead["/keys"] = lambda handler: handler.answer(bomb, **{"Content-Encoding": "gzip"})
    assert "encoding" in failure(f"{provider.issuer}/keys")


def test_a_provider_that_does_not_answer_is_not_waited_for(provider, monkeypatch):
    monkeypatch.setattr(limits, "provider_answer_s_max", 0.2)
    provider.may_answer.clear()
    assert "has not answered within 0.2 s" in failure(f"{provider.issuer}/keys")


def test_one_that_sends_a_byte_now_and_then_is_not_waited_for_either(provider, monkeypatch):
    monkeypatch.setattr(limits, "provider_answer_s_max", 0.4)

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        provider.may_answer.clear()
        try:
            # Each comes long before one read could time out.
            while not provider.may_answer.wait(0.05):
                handler.wfile.write(b" ")
        except OSError:
            return

    provider.instead["/keys"] = drip
    assert "has not answered within 0.4 s" in failure(f"{provider.issuer}/keys")


@pytest.mark.parametrize("status", [204, 400, 404, 429, 500, 503])
def test_what_is_no_answer_is_none(provider, status):
    provider.instead["/keys"] = status
    assert f"answers {status}" in failure(f"{provider.issuer}/keys")


def test_nobody_there_is_said():
    with ProviderServer() as server:
        url = f"{server.issuer}/keys"
    assert "cannot be fetched" in failure(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/keys",
        "file:///etc/passwd",
        "https:///keys",
        "http://127.0.0.1.example.com/",
        "https://[::1",
    ],
)
def test_what_cannot_be_trusted_is_not_asked(url):
    assert "neither https nor on this machine" in failure(url)


@pytest.mark.parametrize(
    ("cache_control", "age", "expected"),
    [
        ("", "", None),
        ("public", "", None),
        ("max-age=60", "", 60.0),
        ("Max-Age = 60", "", 60.0),
        ("public,max-age=60", "100", 0.0),
        ('max-age="60"', "x", 60.0),
        ("s-maxage=60", "", None),
        ("no-store, max-age=60", "", 0.0),
        ("no-cache", "", 0.0),
        ("max-age=-1", "", None),
    ],
)
def test_for_how_long_an_answer_holds(cache_control, age, expected):
    assert fetching.fresh_s(cache_control, age) == expected
