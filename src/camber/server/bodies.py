"""Bodies of requests, read within a bound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from starlette.requests import Request

from camber import limits
from camber.errors import BadRequest, ErrorKind, Overloaded, RequestError, TooLarge
from camber.server.headers import header_of, length_of
from camber.values.wire import decode_json


async def json_object(request: Request, bytes_max: int) -> dict[str, Any]:
    """Return the JSON object that a request carries.

    Raises:
        BadRequest: another Content-Type, no JSON or no object (code BadJsonBody).
        RequestError: as `read_body`.
    """
    body = await json_body(request, bytes_max)
    if not isinstance(body, dict):
        msg = f"the body is a JSON object, not {type(body).__name__}"
        raise BadRequest(msg, code="BadJsonBody")
    return cast("dict[str, Any]", body)


async def json_body(request: Request, bytes_max: int) -> Any:
    """Return the JSON that a request carries.

    Raises:
        BadRequest: another Content-Type, or no JSON (code BadJsonBody).
        RequestError: as `read_body`.
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
        TooLarge: it is larger than `bytes_max`.
        Overloaded: all bodies that are being read have more bytes than this process keeps for them.
        RequestError: the client has gone before the end of it.
    """
    # Refused before it is sent.
    if (length_of(request.scope) or 0) > bytes_max:
        raise _too_large(bytes_max)
    message = await request.receive()
    body: bytes = message.get("body", b"")
    # Most bodies come in one part.
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body
    with _READING.part() as part:
        # Starlette's `stream` would do the same, a generator more slowly.
        pieces = []
        while True:
            if message["type"] == "http.disconnect":
                msg = "the body broke off before its end"
                raise RequestError(msg, code="ClientDisconnect", kind=ErrorKind.CLIENT_DISCONNECT)
            body = message.get("body", b"")
            pieces.append(body)
            part.add(len(body))
            if part.size > bytes_max:
                raise _too_large(bytes_max)
            if not message.get("more_body", False):
                return b"".join(pieces)
            message = await request.receive()


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body is larger than {bytes_max} bytes, the most for this request")


class _Reading:
    """The bytes of all bodies of which this process has a part: many small ones fill memory, too."""

    def __init__(self) -> None:
        self.size = 0

    @contextmanager
    def part(self) -> Iterator[_Part]:
        part = _Part(self)
        try:
            yield part
        finally:
            self.size -= part.size


class _Part:
    __slots__ = ("_all", "size")

    def __init__(self, reading: _Reading) -> None:
        self._all = reading
        self.size = 0

    def add(self, size: int) -> None:
        self.size += size
        self._all.size += size
        if self._all.size > limits.http_bodies_bytes_max:
            msg = (
                f"the bodies that are being sent have more than {limits.http_bodies_bytes_max} "
                "bytes in all, the most at one time; send this again in a moment"
            )
            raise Overloaded(msg, code="TooManyBytesAtOnce")


_READING: Final = _Reading()
