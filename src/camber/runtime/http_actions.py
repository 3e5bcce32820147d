"""Answering HTTP requests where user code is: HTTP actions and mounted applications.

Both are ASGI applications here: a handler's response is one that is called once, and a mounted one
speaks for itself. What they send is checked on its way out, where its author is told.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from camber import limits
from camber.errors import ActionLost, DeveloperError
from camber.functions.application import Application
from camber.functions.current import running
from camber.functions.http_router import HttpRoute
from camber.functions.logs import Log, capturing
from camber.runtime.action_files import AskFiles
from camber.runtime.actions import ActionRunner, is_being_cancelled
from camber.runtime.exchanges import ActionEnd, ClientLeft
from camber.runtime.executor import FunctionCall, Progress
from camber.runtime.http_requests import HttpRequest, Message
from camber.runtime.lifespans import Lifespans
from camber.runtime.results import Failure, HttpResult
from camber.values.packed import pack
from camber.values.wire import encode_json

#: The server says for itself how long its connections live and how bodies are cut.
_CONNECTION_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_IN_VALUE: Final = re.compile(rb"[\x00\r\n]")
#: Statuses whose responses have no body (RFC 9110 6.4.1).
_WITHOUT_BODY: Final = frozenset({204, 205, 304})
#: Versions of ASGI. From 2.4 on a response does not listen for the end of its client, which would
#: eat what still comes of the request. Applications that are mounted have what servers have.
_BOTH_WAYS: Final = "2.4"
_AS_SERVERS: Final = "2.3"
#: A WebSocket whose time is up: the client connects again (RFC 6455, its registry).
_RESTART: Final = 1012
_FAILED: Final = 1011


#: What whom a guard does not let in is answered, and how a WebSocket of theirs is closed.
_STATUSES: Final = {"Unauthenticated": 401, "Forbidden": 403}
_POLICY: Final = 1008


class _GuardFailed(Exception):  # carries a failure to where it is told
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.headline)
        self.failure = failure


class ResponseError(DeveloperError):
    """A response that cannot be sent as it is."""

    code = "InvalidResponse"


class ResponseTooLarge(ResponseError):
    """A response of more bytes than there may be; what came before has been sent."""

    code = "ResponseTooLarge"


@dataclass(frozen=True, kw_only=True)
class HttpRunner:
    """Answers requests on whatever event loop it is awaited on."""

    actions: ActionRunner
    lifespans: Lifespans

    async def run(
        self,
        call: FunctionCall,
        request: HttpRequest,
        application: Application,
        end: ActionEnd,
        progress: Progress,
        ask_files: AskFiles,
    ) -> HttpResult:
        """Answer a request; return when its handler has ended, its time is up or it is cancelled.

        `progress` is told each line, where it is logged.
        """
        texts = self.actions.texts
        log = Log(self.actions.host.now_ns, progress)
        answer = _Answer(end, request)
        time_limit = asyncio.timeout(limits.action_s_max)
        failure: Failure | None = None
        try:
            with capturing(log):
                async with time_limit:
                    await self._serve(application, request, call, answer, log, ask_files)
            answer.check_complete()
        except _GuardFailed as failed:
            failure = failed.failure
        except asyncio.CancelledError:
            reason = "the server is ending" if is_being_cancelled() else "it cancelled itself"
            lost = ActionLost(
                f"{call.path} was cancelled: {reason}. It may have done part of its work"
            )
            failure = texts.refused(lost, call.request_id)
        # Whatever user code raises is its failure, SystemExit too: it must not end the server.
        except BaseException as error:  # noqa: BLE001
            if time_limit.expired():
                if not request.is_socket:
                    failure = texts.refused(self.actions.out_of_time(call), call.request_id)
            elif not ((end.is_gone or answer.is_bodyless) and _is_of_leaving(error)):
                failure = texts.thrown(error, call.request_id)
        if request.is_socket:
            await answer.close_socket(_RESTART if failure is None else _FAILED)
        return HttpResult(status=answer.status, failure=failure, sent_bytes=answer.sent_bytes)

    async def _serve(
        self,
        application: Application,
        request: HttpRequest,
        call: FunctionCall,
        answer: _Answer,
        log: Log,
        ask_files: AskFiles,
    ) -> None:
        route = _route_of(application, call.component, request.route)
        contexts = self.actions.contexts(application, call, log, ask_files)
        scope = request.scope(_AS_SERVERS if route.is_mount else _BOTH_WAYS)
        if route.guard is not None and not await self._may(call, route, answer, request):
            return
        with running(contexts):
            if route.is_mount:
                scope["root_path"] += request.prefix + route.path.removesuffix("/*")
                scope["state"] = dict(await self.lifespans.state(route))
                await route.handler(scope, answer.receive, answer.send)
                return
            # Not before there is a route: Starlette takes a while to import.
            from starlette.requests import Request

            asked = Request(scope, answer.receive)
            response = await route.handler(contexts.awaiting, asked)
            if not callable(response):
                raise TypeError(
                    f"{route.name} returned {type(response).__name__}; an HTTP action returns a "
                    "Response, such as Response(text) or JSONResponse(value)"
                )
            if hasattr(response, "body"):
                await response(scope, answer.receive, answer.send)
            else:
                try:
                    await answer.stream(response(scope, answer.receive, answer.send))
                finally:
                    await _close(getattr(response, "body_iterator", None))

    async def _may(
        self, call: FunctionCall, route: HttpRoute, answer: _Answer, request: HttpRequest
    ) -> bool:
        """Return whether the guard of a route lets a request in; if not, it has been answered."""
        refused = await self.actions.refusal(replace(call, arguments=pack({})), route.name)
        if refused is None:
            return True
        if refused.denied is None:
            assert refused.failure is not None
            raise _GuardFailed(refused.failure)
        if request.is_socket:
            # Before it is accepted, that is a refusal with status 403.
            await answer.send({"type": "websocket.close", "code": _POLICY, "reason": ""})
            return False
        body = encode_json(refused.denied.data)
        status = _STATUSES[refused.denied.code]
        headers = [(b"content-type", b"application/json")]
        if status == 401:
            # Which has to say how to sign in (RFC 9110 15.5.2).
            headers.append((b"www-authenticate", b"Bearer"))
        await answer.send({"type": "http.response.start", "status": status, "headers": headers})
        await answer.send({"type": "http.response.body", "body": body})
        return False

    def start_lifespans(self, application: Application) -> None:
        """Begin to start what is mounted, so that the first request need not wait for it."""
        for component in application.components.values():
            for route in () if component.http is None else component.http.routes:
                if route.is_mount:
                    self.lifespans.start(route)


async def _close(pieces: object) -> None:
    """End a generator that a stream has left where it was: what it has to tidy up is done now."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


def _route_of(application: Application, component: str, name: str) -> HttpRoute:
    declared = application.in_component(component)
    assert declared is not None, f"{component} has no route {name}"
    assert declared.http is not None, f"{component} has no routes"
    return declared.http.named(name)


def _is_of_leaving(error: BaseException) -> bool:
    """Return whether an error says no more than that the client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_of_leaving(each) for each in error.exceptions)
    return isinstance(error, OSError) or type(error).__name__ in {
        "ClientDisconnect",
        "WebSocketDisconnect",
    }


class _Answer:
    """What is sent to the client, checked."""

    def __init__(self, end: ActionEnd, request: HttpRequest) -> None:
        self._end = end
        self._request = request
        self.status: int | None = None
        self.sent_bytes = 0
        self._declared: int | None = None
        #: The response is all there with its head, whatever its author has for a body.
        self.is_bodyless = False
        self._is_complete = False
        #: Of a WebSocket: it was accepted, or refused.
        self._is_accepted = False

    async def receive(self) -> Message:
        """Return what the client sends next."""
        return await self._end.receive()

    async def send(self, message: Message) -> None:
        """Send a message of the application's.

        Raises:
            ResponseError: it cannot be sent.
            ClientLeft: there is nobody to send it to.
        """
        match message.get("type"):
            case "http.response.start" if not self._request.is_socket:
                await self._end.send(self._started(message))
                if self.is_bodyless:
                    self._is_complete = True
                    await self._end.send({"type": "http.response.body"})
            case "http.response.body" if not self._request.is_socket:
                await self._body(message)
            case "websocket.accept" if self._request.is_socket:
                headers = _checked_headers(message)
                self.status = 101
                self._is_accepted = True
                await self._end.send({**message, "headers": headers})
            case "websocket.send" if self._is_accepted:
                await self._end.send(_checked_frame(message))
                self.sent_bytes += len(message.get("bytes") or message.get("text") or "")
            case "websocket.close" if self._request.is_socket:
                if not self._is_complete:
                    self._is_complete = True
                    self.status = self.status or 403
                    await self._end.send(dict(message))
            case "websocket.http.response.start" if self._request.is_socket:
                await self._end.send(self._started(message))
            case "websocket.http.response.body" if self._request.is_socket:
                await self._body(message)
            case unknown:
                raise ResponseError(f"an application cannot send {unknown!r} here")

    async def stream(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send a stream to its end; one to which nobody listens any more ends where it is.

        Raises:
            ClientLeft: nobody does.
        """
        task = asyncio.ensure_future(sending)
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return
        finally:
            # Also where whoever waits here is cancelled: what it was sending ends first.
            leaving.cancel()
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        raise ClientLeft("the client has gone")

    async def _left(self) -> None:
        """Return when the client has gone before it had the whole response."""
        await self._end.gone()
        if self._is_complete:
            await asyncio.Event().wait()

    def _started(self, message: Message) -> Message:
        if self.status is not None:
            raise ResponseError("the response has begun already")
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ResponseError(f"{status!r} is no status of a response: 200 to 599")
        status = int(status)
        headers = _checked_headers(message)
        lengths = {value for name, value in headers if name.lower() == b"content-length"}
        if lengths:
            self._declared = _declared_length(lengths)
        self.is_bodyless = status in _WITHOUT_BODY or self._request.method == "HEAD"
        if not self.is_bodyless and (self._declared or 0) > limits.http_action_body_bytes_max:
            assert self._declared is not None
            raise _too_large(self._declared)
        self.status = status
        return {"type": message["type"], "status": status, "headers": headers}

    async def _body(self, message: Message) -> None:
        if self.status is None:
            raise ResponseError("a body before the response's start")
        body, more = message.get("body", b""), bool(message.get("more_body", False))
        if self.is_bodyless:
            if more:
                raise ClientLeft("nobody listens to a stream where there is no body")
            return
        if self._is_complete:
            raise ResponseError("more of a body that has ended")
        if not isinstance(body, bytes | bytearray | memoryview):
            raise ResponseError(f"a body is bytes, not {type(body).__name__}")
        data = bytes(body)
        size = self.sent_bytes + len(data)
        if size > limits.http_action_body_bytes_max:
            raise _too_large(size)
        if self._declared is not None:
            if size > self._declared:
                raise ResponseError(
                    f"the body is longer than its Content-Length of {self._declared}"
                )
            if not more and size < self._declared:
                raise ResponseError(
                    f"the body has {size} bytes, and its Content-Length says {self._declared}"
                )
        self._is_complete = not more
        for at in range(0, len(data) or 1, limits.http_piece_bytes):
            piece = data[at : at + limits.http_piece_bytes]
            is_last = at + len(piece) >= len(data)
            if piece or (is_last and not more):
                await self._end.send(
                    {"type": message["type"], "body": piece, "more_body": more or not is_last}
                )
                self.sent_bytes += len(piece)

    def check_complete(self) -> None:
        """Do nothing if the whole response has been sent, or needs not be.

        Raises:
            ResponseError: the application has ended before.
        """
        if self._is_complete or self._end.is_gone or self._is_accepted:
            return
        if self.status is None:
            raise ResponseError("the application has ended without a response")
        raise ResponseError("the application has ended before its response had")

    async def close_socket(self, code: int) -> None:
        """Close a WebSocket that the application has left open."""
        if not self._is_complete and not self._end.is_gone:
            self._is_complete = True
            # It may go while there is no room for this.
            with suppress(ClientLeft):
                await self._end.send({"type": "websocket.close", "code": code, "reason": ""})


def _checked_headers(message: Message) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    for name, value in message.get("headers") or ():
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ResponseError(f"a header is two bytes objects, not {name!r}: {value!r}")
        if not _NAME.fullmatch(name):
            raise ResponseError(f"{name!r} is no name of a header")
        if _NOT_IN_VALUE.search(value):
            raise ResponseError(f"the header {name.decode()} has a line break or a zero byte in it")
        if name.lower() not in _CONNECTION_HEADERS:
            headers.append((name, value))
    return headers


def _declared_length(values: set[bytes]) -> int:
    if len(values) != 1 or not (only := next(iter(values))).isdigit():
        told = ", ".join(sorted(value.decode("latin-1") for value in values))
        raise ResponseError(f"the Content-Length is one number of bytes, not {told!r}")
    return int(only)


def _checked_frame(message: Message) -> Message:
    data, text = message.get("bytes"), message.get("text")
    if not (isinstance(data, bytes) and text is None) and not (
        isinstance(text, str) and data is None
    ):
        raise ResponseError("a frame of a WebSocket is either `bytes` or `text`")
    return {"type": "websocket.send", "bytes": data} if text is None else dict(message)


def _too_large(size: int) -> ResponseTooLarge:
    return ResponseTooLarge(
        f"the response has {size} bytes or more; an HTTP action may send "
        f"{limits.http_action_body_bytes_max}. Store a file and send its URL"
    )
