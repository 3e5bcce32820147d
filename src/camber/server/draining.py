"""The end of a server: nothing new is begun, what runs may finish, clients are sent away.

In this order, so that nobody waits for what does not come: new requests are refused, and the health
route says so to load balancers; each socket lets its running mutation and actions end, answers
them, and is closed with a code on which clients reconnect; requests that run are answered. What has
not ended within the grace period is cut off, which loses nothing that was acknowledged.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from camber.errors import ErrorKind, RequestError
from camber.host import Host
from camber.server.errors import error_response
from camber.values.wire import encode_json

HEALTH_PATH = "/api/health"

#: When a client may come back, in seconds: a restart takes about that long.
_RETRY_AFTER_S = 1


class Socket(Protocol):
    """A client's socket, as its end sees it."""

    async def drain(self) -> None:
        """Take nothing more in, let what runs end, answer it, and close."""


class Drain:
    """What runs on a server, and whether more may begin."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._sockets: dict[Socket, None] = {}
        self._requests: dict[asyncio.Task[Any], None] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.has_begun = False

    def add(self, socket: Socket) -> None:
        """Take in a socket that opens."""
        self._sockets[socket] = None
        self._idle.clear()
        if self.has_begun:
            self._host.spawn("drain a socket", socket.drain())

    def remove(self, socket: Socket) -> None:
        """Forget a socket that is gone."""
        self._sockets.pop(socket, None)
        self._note_idle()

    def around(self, application: ASGIApp) -> ASGIApp:
        """Return an application that counts its requests, and refuses new ones at the end."""
        return _Counted(application, self)

    async def drain(self, grace_s: float) -> None:
        """Return when nothing runs any more, or after `grace_s` seconds."""
        self.has_begun = True
        for socket in list(self._sockets):
            self._host.spawn("drain a socket", socket.drain())
        ended = self._host.spawn("drain", self._ended())
        timer = self._host.spawn("grace period", self._host.sleep(grace_s))
        await asyncio.wait([ended, timer], return_when=asyncio.FIRST_COMPLETED)
        cut_off = list(self._requests)
        for task in (ended, timer, *cut_off):
            task.cancel()
        if cut_off:
            await asyncio.wait(cut_off)

    async def _ended(self) -> None:
        await self._idle.wait()

    def request_began(self, task: asyncio.Task[Any]) -> None:
        """Take in a request that runs."""
        self._requests[task] = None
        self._idle.clear()

    def request_ended(self, task: asyncio.Task[Any]) -> None:
        """Forget it."""
        self._requests.pop(task, None)
        self._note_idle()

    def _note_idle(self) -> None:
        if not self._requests and not self._sockets:
            self._idle.set()


class _Counted:
    def __init__(self, application: ASGIApp, drain: Drain) -> None:
        self._application = application
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] == "http" and scope["path"] == HEALTH_PATH:
            await self._application(scope, receive, send)
        elif self._drain.has_begun and scope["type"] in {"http", "websocket"}:
            await _response(_NOT_BEGUN)(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        has_started = False

        async def noting(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        self._drain.request_began(task)
        try:
            await self._application(scope, receive, noting)
        except asyncio.CancelledError:
            if not self._drain.has_begun or has_started:
                raise
            await _response(_CUT_OFF)(scope, receive, send)
        finally:
            self._drain.request_ended(task)


_NOT_BEGUN = RequestError(
    "this server is ending; the request was not begun. Send it again in a moment",
    code="ServerStopping",
    kind=ErrorKind.REJECTED_BEFORE_EXECUTION,
)
_CUT_OFF = RequestError(
    "this server had to end before the request was done; what it had committed stays",
    code="ServerStopped",
    kind=ErrorKind.OVERLOADED,
)


def _response(error: RequestError) -> Response:
    response = error_response(error)
    response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    response.headers["Connection"] = "close"
    return response


def health(drain: Drain, *, serves: bool) -> Response:
    """Return what load balancers and people ask: 503 sends requests elsewhere.

    A server that waits for its first release is well: it is there to take one.
    """
    status = "stopping" if drain.has_begun else "ok" if serves else "waiting"
    return Response(
        encode_json({"status": status}),
        status_code=503 if drain.has_begun else 200,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
