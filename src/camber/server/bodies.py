"""Bodies of requests, read within a bound."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import ClientDisconnect, Request

from camber.errors import BadRequest
from camber.server.headers import header_of
from camber.values.wire import decode_json


async def json_object(request: Request, bytes_max: int) -> dict[str, Any]:
    """Return the JSON object that a request carries.

    Raises:
        BadRequest: another Content-Type, too large, no JSON or no object (code BadJsonBody).
    """
    body = await json_body(request, bytes_max)
    if not isinstance(body, dict):
        msg = f"the body is a JSON object, not {type(body).__name__}"
        raise BadRequest(msg, code="BadJsonBody")
    return cast("dict[str, Any]", body)


async def json_body(request: Request, bytes_max: int) -> Any:
    """Return the JSON that a request carries.

    Raises:
        BadRequest: another Content-Type, too large or no JSON (code BadJsonBody).
    """
    kind = header_of(request.scope, b"content-type") or ""
    if kind != "application/json" and not _is_json(kind := _without_parameters(kind)):
        msg = f"the Content-Type is {kind or 'missing'!r}; send application/json"
        raise BadRequest(msg, code="BadJsonBody")
    return decode_json(await read_body(request, bytes_max))


def _without_parameters(kind: str) -> str:
    return kind.partition(";")[0].strip().lower()


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body of a request.

    Raises:
        BadRequest: it is larger than `bytes_max` (code BadJsonBody).
    """
    body = b""
    parts: list[bytes] = []
    size = 0
    # Most bodies come in one part. Starlette's `stream` would do the same, a generator more slowly.
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(body)
        if size > bytes_max:
            msg = f"the body is larger than {bytes_max} bytes, the most for this request"
            raise BadRequest(msg, code="BadJsonBody")
        if parts or more:
            parts.append(body)
    return b"".join(parts) if parts else body
