"""The routes of files (protocol 6): uploads by a right to one, downloads by a URL that knows."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest, CamberError, ErrorKind, RequestError
from camber.host import Host
from camber.runtime.files import Expected, Files, Reading, ServedFile
from camber.server.byte_ranges import ByteRange, Unsatisfiable, asked_range
from camber.server.errors import error_response, json_response
from camber.server.headers import length_of, untrusted_file_headers
from camber.values.ids import InvalidId, decode_id
from camber.values.wire import encode_json

_log = logging.getLogger("camber.server")

_SHA256_BYTES: Final = 32
#: What scripts of other origins may read of an answer.
_EXPOSED: Final = "Accept-Ranges, Content-Length, Content-Range, Digest, ETag"


class StorageApi:
    """The files of one deployment over HTTP."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._host = deployment.host
        self._files = deployment.files

    def routes(self) -> list[BaseRoute]:
        """Return the routes under /api/storage."""
        return [
            Route("/api/storage/upload", self._upload, methods=["POST"]),
            Route("/api/storage/{name}", self._serve, methods=["GET"]),
        ]

    async def _upload(self, request: Request) -> Response:
        body = _Body(request, self._host)
        try:
            file = await self._taken_in(request, body)
        except RequestError as error:
            response = error_response(error)
            if not await body.is_discarded():
                response.headers["Connection"] = "close"
            return response
        return json_response(encode_json({"storageId": file}))

    async def _taken_in(self, request: Request, body: _Body) -> str:
        """Store what a request carries, and return the file's id."""
        now_ms = self._host.now_ns() / 1e6
        token = request.query_params.get("token", "")
        ticket = self._files.capabilities.upload_ticket(token, now_ms)
        self._check_mounted(ticket.component)
        arrival = await self._files.arrive(ticket, _expected(request))
        try:
            while piece := await body.piece():
                await arrival.write(piece)
            return await arrival.finish()
        except RequestError:
            file = await arrival.abandon()
            if file is None:
                raise
            return file
        except BaseException:
            self._files.abandon_soon(arrival)
            raise

    def _check_mounted(self, component: str) -> None:
        """Do nothing if a component is mounted: what is mounted no more takes no files.

        Raises:
            BadRequest: it is not (code UnmountedComponent).
        """
        if not self._deployment.releases.is_mounted(component):
            msg = (
                f"the upload URL is of component '{component}', which is not mounted any more. Where it "
                "is mounted again, the URL is good for the rest of its time"
            )
            raise BadRequest(msg, code="UnmountedComponent")

    async def _serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        query = request.query_params
        cached_s = limits.file_cached_s
        if "signature" in query or "expires" in query:
            now_s = self._host.now_ns() / 1e9
            expires_s = self._files.capabilities.check_url(
                name, query.get("expires", ""), query.get("signature", ""), now_s
            )
            cached_s = min(cached_s, int(expires_s - now_s))
            file = self._files.find_by_id(_file_id(name))
        else:
            file = self._files.find(_url_id(name))
        if file is None:
            msg = "there is no such file: it was deleted, or never uploaded"
            raise RequestError(msg, code="FileNotFound", kind=ErrorKind.NOT_FOUND)
        return await _answer(self._host, self._files, file, request, cached_s)


def _expected(request: Request) -> Expected:
    """Return what an upload's headers say of the file.

    Raises:
        BadRequest: one of them is malformed (code BadHeader).
    """
    return Expected(
        content_type=request.headers.get("content-type") or None,
        sha256=_digest(request.headers.get("digest")),
        size=length_of(request.scope),
    )


def _digest(header: str | None) -> bytes | None:
    if header is None:
        return None
    algorithm, _, value = header.partition("=")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm.strip().lower() != "sha-256" or len(digest) != _SHA256_BYTES:
        msg = f"the Digest header is sha-256=<SHA-256 in base64>, not {header[:80]!r}"
        raise BadRequest(msg, code="BadHeader")
    return digest


class _Body:
    """The body of an upload, read for as long as it makes progress."""

    def __init__(self, request: Request, host: Host) -> None:
        self._request = request
        self._host = host
        self._is_over = False
        #: How long the client may take for the next bytes, and how many of them have come.
        self._patience_s = limits.upload_progress_s
        self._since = 0

    async def piece(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            RequestError: it stands still, or has broken off (kind CLIENT_DISCONNECT).
        """
        while not self._is_over:
            # Only the client's time counts, not that of a disk.
            began_s = self._host.monotonic()
            try:
                async with asyncio.timeout(self._patience_s):
                    message = await self._request.receive()
            except TimeoutError:
                msg = (
                    f"the upload stood still: it must bring {limits.upload_progress_bytes} bytes "
                    f"every {limits.upload_progress_s:.0f} s. Send it again"
                )
                raise RequestError(
                    msg, code="UploadTooSlow", kind=ErrorKind.CLIENT_DISCONNECT
                ) from None
            if message["type"] == "http.disconnect":
                msg = "the upload broke off before its end; send it again"
                raise RequestError(msg, code="UploadInterrupted", kind=ErrorKind.CLIENT_DISCONNECT)
            self._is_over = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self._patience_s -= self._host.monotonic() - began_s
            self._since += len(piece)
            if self._since >= limits.upload_progress_bytes:
                self._since = 0
                self._patience_s = limits.upload_progress_s
            if piece:
                return piece
        return b""

    async def is_discarded(self) -> bool:
        """Read the rest if there is little of it; return whether there is none any more.

        A client that is still sending sees its connection break, and not the answer.
        """
        left = limits.upload_discarded_bytes
        if (length_of(self._request.scope) or 0) > left or "expect" in self._request.headers:
            # Whoever waits to be told to go on has not begun.
            return self._is_over
        self._patience_s = min(self._patience_s, limits.upload_discarded_s)
        try:
            while left > 0 and (piece := await self.piece()):
                left -= len(piece)
        except RequestError:
            return False
        return self._is_over


def _url_id(name: str) -> str:
    """Return the UUID in a file's URL.

    Raises:
        BadRequest: there is none (code InvalidStoragePath).
    """
    try:
        uuid = str(UUID(name))
    except ValueError:
        uuid = ""
    # One URL for each file: Python reads other ways to write a UUID too.
    if uuid != name.lower():
        msg = f"{name[:80]!r} is no UUID: files are served at the URLs that storage.get_url gives"
        raise BadRequest(msg, code="InvalidStoragePath")
    return uuid


def _file_id(name: str) -> str:
    try:
        decode_id(name)
    except InvalidId as error:
        raise BadRequest(error.sentence, code="InvalidStoragePath") from None
    return name


async def _answer(
    host: Host, files: Files, file: ServedFile, request: Request, cached_s: int
) -> Response:
    facts = file.facts
    etag = f'"{facts.sha256}"'
    headers = {
        **untrusted_file_headers(facts.content_type),
        "Cache-Control": f"private, max-age={cached_s}",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Access-Control-Expose-Headers": _EXPOSED,
    }
    asked = request.headers
    # A weak ETag is good enough for a cache that asks whether it is up to date, and for nobody else.
    if "if-match" in asked and not {"*", etag} & _etags(asked["if-match"]):
        return Response(status_code=412, headers=headers)
    if "if-none-match" in asked and {"*", etag, f"W/{etag}"} & _etags(asked["if-none-match"]):
        return Response(status_code=304, headers=headers)
    if facts.content_type is not None:
        headers["Content-Type"] = facts.content_type
    wanted = None
    # A part of a file that is not this one any more is no part of what the client has; and parts are
    # for GET alone (RFC 9110 14.2).
    if request.method == "GET" and asked.get("if-range", etag) == etag:
        try:
            wanted = asked_range(asked.get("range"), facts.size)
        except Unsatisfiable:
            headers.pop("Content-Type", None)
            headers["Content-Range"] = f"bytes */{facts.size}"
            return Response(status_code=416, headers=headers)
    status = 200 if wanted is None else 206
    part = wanted or ByteRange(start=0, end=facts.size)
    headers["Content-Length"] = str(part.end - part.start)
    if wanted is None:
        headers["Digest"] = f"sha-256={facts.sha256}"
    else:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{facts.size}"
    if request.method == "HEAD" or part.start == part.end:
        return _Content(host, status, headers, None)
    return _Content(host, status, headers, await files.read(file, part.start, part.end))


def _etags(header: str) -> set[str]:
    return {part.strip() for part in header.split(",")}


class _Content(Response):
    """A file, or part of one, sent as fast as the client takes it."""

    def __init__(
        self, host: Host, status: int, headers: Mapping[str, str], reading: Reading | None
    ) -> None:
        self._host = host
        self.status_code = status
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; one that is left unread for long, or whose client is gone, is broken off."""
        gone = self._host.spawn("client of a download", _gone(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            while self._reading is not None and (piece := await self._reading.piece()):
                if gone.done():
                    return
                async with asyncio.timeout(limits.download_stall_s_max):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            # An answer that has begun and does not end tells the client that it is not whole.
            _log.info("a download was broken off: the client left it unread")
        except CamberError as error:
            _log.error("a download was broken off: %s", error)
        finally:
            gone.cancel()
            if self._reading is not None:
                await self._reading.close()


async def _gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
