"""Bodies of requests, read within a bound."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import Request

from camber.errors import BadRequest
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
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if not is_json:
        msg = f"the Content-Type is {kind or 'missing'!r}; send application/json"
        raise BadRequest(msg, code="BadJsonBody")
    return decode_json(await read_body(request, bytes_max))


async def read_body(request: Request, bytes_max: int) -> bytes:
    """Return the body of a request.

    Raises:
        BadRequest: it is larger than `bytes_max` (code BadJsonBody).
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            msg = f"the body is larger than {bytes_max} bytes, the most for this request"
            raise BadRequest(msg, code="BadJsonBody")
        parts.append(part)
    return b"".join(parts)
