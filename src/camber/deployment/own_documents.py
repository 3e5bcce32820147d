"""Documents of the deployment's own identity provider: what its own HTTP routes answer.

An application that signs its users in itself is its own provider, whose issuer is `CONVEX_SITE_URL`.
Its configuration and its keys are asked of its routes within the process: no network is in the way,
no proxy, no certificate, and a server that is not reachable yet can verify its own tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from camber import limits
from camber.errors import RequestError
from camber.functions.http_router import route_name
from camber.functions.routing import ANY_METHOD
from camber.identity.documents import Fetched, FetchFailed
from camber.identity.fetching import HttpFetcher, fresh_s
from camber.identity.identity import Anonymous
from camber.identity.providers import is_within
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.runtime.http_requests import Exchange, HttpRequest, Message
from camber.runtime.runtime import Runtime


class Documents:
    """Fetches documents of identity providers; those below `own_site`, of the deployment itself."""

    def __init__(self, *, runtime: Runtime, own_site: Callable[[], str]) -> None:
        self._runtime = runtime
        self._own_site = own_site
        self._elsewhere = HttpFetcher()

    async def __call__(self, url: str) -> Fetched:
        """Return what is at a URL.

        Raises:
            FetchFailed: nothing is, or nothing that can be trusted.
        """
        own_site = self._own_site()
        if own_site and is_within(url, own_site):
            return await self._own(url, url[len(own_site.rstrip("/")) :])
        return await self._elsewhere(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._elsewhere.close()

    async def _own(self, url: str, path: str) -> Fetched:
        answer = _Answer()
        try:
            async with asyncio.timeout(limits.provider_answer_s_max):
                await self._ask(url, path, answer)
        except TimeoutError:
            msg = f"the route {path} has not answered within {limits.provider_answer_s_max:g} s"
            raise FetchFailed(msg) from None
        except RequestError as error:
            msg = f"the route {path} cannot be asked: {error.sentence}"
            raise FetchFailed(msg) from None
        return answer.document(path)

    async def _ask(self, url: str, path: str, answer: _Answer) -> None:
        runtime = self._runtime
        routes = runtime.routes()
        raw, _, query = path.partition("?")
        found = None if routes is None else routes.find("GET", raw)
        if found is None:
            msg = f"the application is to sign its users in itself, and has no route GET {raw}"
            raise FetchFailed(msg)
        method = "GET" if found.route.method == ANY_METHOD else found.route.method
        call = FunctionCall(
            path=route_name(method, found.route.path),
            arguments=b"",
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id=runtime.new_request_id(),
            component=found.route.component,
            origin=Origin.HTTP_ENDPOINT,
        )
        head = HttpRequest(
            route=found.route.declared.name,
            prefix=found.route.prefix,
            parameters=dict(found.parameters),
            type="http",
            method="GET",
            scheme=urlsplit(url).scheme,
            http_version="1.1",
            path=unquote(raw),
            raw_path=raw.encode(),
            query=query.encode(),
            headers=[(b"host", urlsplit(url).netloc.encode()), (b"accept", b"application/json")],
            client=None,
            server=None,
            root_path="",
        )
        result = await runtime.http_action(
            call, head, Exchange(receive=_nothing_more, send=answer.take_in)
        )
        if result.failure is not None:
            msg = f"the route {raw} failed: {result.failure.headline}"
            raise FetchFailed(msg)


class _Answer:
    """What comes of a response."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._content = bytearray()

    async def take_in(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {
                bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
                for name, value in message.get("headers", ())
            }
        elif len(self._content) <= limits.provider_document_bytes_max:
            self._content += message.get("body", b"")

    def document(self, path: str) -> Fetched:
        """Return the document.

        Raises:
            FetchFailed: it is none.
        """
        if self._status != 200:
            msg = f"the route {path} answers {self._status}"
            raise FetchFailed(msg)
        if len(self._content) > limits.provider_document_bytes_max:
            msg = f"the route {path} answers more than {limits.provider_document_bytes_max} bytes"
            raise FetchFailed(msg)
        media_type, _, _ = self._headers.get("content-type", "").partition(";")
        return Fetched(
            content=bytes(self._content),
            media_type=media_type.strip().lower(),
            fresh_s=fresh_s(self._headers.get("cache-control", "")),
        )


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
