"""Fetching documents over HTTP from whom they are trusted to come, within bounds."""

from __future__ import annotations

import asyncio
import re
from enum import Enum
from typing import TYPE_CHECKING

from camber import limits
from camber.identity.documents import Fetched, FetchFailed
from camber.identity.providers import is_local, is_trustworthy

if TYPE_CHECKING:
    import httpx

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})")


class _Way(Enum):
    """How a request goes."""

    #: Where the environment says, which may name a proxy and certificates.
    NETWORK = "network"
    #: Straight to this machine.
    MACHINE = "machine"


class HttpFetcher:
    """Fetches over https, or from this machine; follows nobody elsewhere."""

    def __init__(self) -> None:
        self._clients: dict[_Way, httpx.AsyncClient] = {}
        self._opening = asyncio.Lock()

    async def __call__(self, url: str) -> Fetched:
        """Return what is at a URL.

        Raises:
            FetchFailed: nothing is, or nothing that can be trusted.
        """
        import httpx

        if not is_trustworthy(url):
            msg = f"{url} is neither https nor on this machine"
            raise FetchFailed(msg)
        client = await self._client(_Way.MACHINE if is_local(url) else _Way.NETWORK)
        try:
            async with (
                asyncio.timeout(limits.provider_answer_s_max),
                client.stream("GET", url) as response,
            ):
                return await _taken_in(url, response)
        except TimeoutError:
            msg = f"{url} has not answered within {limits.provider_answer_s_max:g} s"
            raise FetchFailed(msg) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            msg = f"{url} cannot be fetched: {str(error) or type(error).__name__}"
            raise FetchFailed(msg) from None

    async def _client(self, way: _Way) -> httpx.AsyncClient:
        async with self._opening:
            client = self._clients.get(way)
            if client is None:
                # It reads the certificates of all authorities, which takes a while.
                client = self._clients[way] = await asyncio.to_thread(_new_client, way)
        return client

    async def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients.values():
            await client.aclose()


def _new_client(way: _Way) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=way is _Way.NETWORK,
        timeout=limits.provider_answer_s_max,
        # What is compressed may be small and unpack to anything.
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def _taken_in(url: str, response: httpx.Response) -> Fetched:
    if response.is_redirect:
        msg = (
            f"{url} redirects to {response.headers.get('location', '')!r}, which is not followed: name "
            "where it is"
        )
        raise FetchFailed(msg)
    if response.status_code != 200:
        msg = f"{url} answers {response.status_code}"
        raise FetchFailed(msg)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        msg = f"{url} answers in an encoding that was not asked for"
        raise FetchFailed(msg)
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > limits.provider_document_bytes_max:
            msg = f"{url} has more than {limits.provider_document_bytes_max} bytes"
            raise FetchFailed(msg)
    media_type, _, _ = response.headers.get("content-type", "").partition(";")
    return Fetched(
        content=bytes(content),
        media_type=media_type.strip().lower(),
        fresh_s=fresh_s(response.headers.get("cache-control", ""), response.headers.get("age", "")),
    )


def fresh_s(cache_control: str, age: str = "") -> float | None:
    """Return for how long an answer holds by its headers (RFC 9111), in seconds; None if they do not say."""
    said = cache_control.lower()
    if "no-store" in said or "no-cache" in said:
        return 0.0
    found = _MAX_AGE.search(said)
    if found is None:
        return None
    return max(0.0, float(found[1]) - (int(age) if age.isdecimal() and len(age) < 10 else 0))
