"""CORS for the API (protocol 4.5): any origin may call, its own name is echoed."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = "GET, POST, OPTIONS, PATCH, DELETE, PUT"
_MAX_AGE_S = "86400"
_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
#: HTTP actions answer for themselves.
_EXEMPT = "/http/"


class Cors:
    """Answers preflights and lets every origin read the answers."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(_EXEMPT):
            await self._application(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS":
            start = MutableHeaders()
            _allow(headers, start)
            start["Content-Length"] = "0"
            start["Access-Control-Allow-Methods"] = _METHODS
            start["Access-Control-Max-Age"] = _MAX_AGE_S
            await send({"type": "http.response.start", "status": 200, "headers": start.raw})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                _allow(headers, MutableHeaders(scope=message))
            await send(message)

        await self._application(scope, receive, send_with_cors)


def _allow(request: Headers, response: MutableHeaders) -> None:
    response["Vary"] = _VARY
    origin = request.get("origin")
    if origin is None:
        return
    response["Access-Control-Allow-Origin"] = origin
    response["Access-Control-Allow-Credentials"] = "true"
    asked = request.get("access-control-request-headers")
    if asked is not None:
        response["Access-Control-Allow-Headers"] = asked
