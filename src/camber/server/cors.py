"""CORS for the API (protocol 4.5): any origin may call, its own name is echoed."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from camber.server.headers import header_of

_METHODS = "GET, POST, OPTIONS, PATCH, DELETE, PUT"
_MAX_AGE_S = "86400"
_VARY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


def preflight(scope: Scope) -> Response:
    """Return the answer to a browser that asks what it may send."""
    headers = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Max-Age": _MAX_AGE_S}
    response = Response(headers=headers)
    let_every_origin_read(response, scope)
    return response


def let_every_origin_read(response: Response, scope: Scope) -> None:
    """Add to an answer what browsers want before they hand it to a page of another origin."""
    headers = response.raw_headers
    headers.append(_VARY)
    origin = header_of(scope, b"origin")
    if origin is None or not origin.isprintable():
        return
    headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
    headers.append((b"access-control-allow-credentials", b"true"))
    asked = header_of(scope, b"access-control-request-headers")
    if asked is not None and asked.isprintable():
        headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
