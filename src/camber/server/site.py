"""The site: HTTP actions and mounted applications (protocol 7).

It is at the root of the site port, and below `/http` on the API's. A request is looked up here, so that what no route answers reaches no user code, and is handed on
while it comes. What its action sends goes to the client as it is; what it fails to send is answered
here.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import RequestError
from camber.functions.analysis import ServedRoute
from camber.functions.http_router import METHODS, route_name
from camber.functions.routing import ANY_METHOD, Found
from camber.identity.authorization import identity_of_header
from camber.identity.identity import Admin, Anonymous, Identity, Unverified
from camber.identity.operations import Operation
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.results import Failure, HttpResult
from camber.server.draining import Drain
from camber.server.errors import error_response, json_response
from camber.server.headers import header_of, length_of
from camber.server.proxies import Proxies
from camber.values.packed import unpack
from camber.values.wire import encode_json, encode_value

_log = logging.getLogger("camber.server")

#: Where the site is on the API's port.
BELOW_API: Final = "/http"
_SERVED: Final = frozenset({*METHODS, "HEAD"})
#: What not even a mounted application is asked: TRACE would show it headers that a proxy has added.
_NEVER: Final = frozenset({"CONNECT", "TRACE"})
#: Requests of these have no body for a handler (protocol 7.3).
_ASKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_ENABLED: Final = (
    "This deployment does not have HTTP actions enabled: no module `http` declares an HttpRouter."
)
_NO_ROUTE: Final = "No matching routes found"
#: A WebSocket that the server cannot keep (RFC 6455 7.4.1, and its registry).
_FAILED: Final = 1011
_RESTART: Final = 1012
_TRY_LATER: Final = 1013


class Site:
    """An ASGI application that answers below the `root_path` of its scopes."""

    def __init__(self, deployment: Deployment, drain: Drain) -> None:
        self._deployment = deployment
        self._drain = drain
        self._proxies = Proxies(deployment.settings.network)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or serve a WebSocket."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        scope["route"] = found.route
        visit = _Request(found.route, scope, receive, send)
        if not visit.is_refused():
            try:
                result = await self._run(found, scope, visit)
            except RequestError as error:
                visit.refuse(error_response(error))
            except Exception as error:  # noqa: BLE001  # a bug of ours: logged here, told without detail
                _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                bug = RequestError("the server failed to answer; its output says why")
                visit.refuse(error_response(bug))
            else:
                if result.failure is not None:
                    visit.refuse(failure_response(result.failure))
        await visit.end()

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = _Socket(scope, receive, send)
        self._drain.add(visit)
        try:
            found = self._found(scope)
            if isinstance(found, Response):
                # Before it is accepted, that is a refusal with a status.
                await visit.close(_FAILED, "")
                return
            await self._run(found, scope, visit)
            # Whatever the action has left open has ended with it.
            await visit.close(_FAILED, "")
        except RequestError as error:
            await visit.close(_TRY_LATER, error.code)
        except Exception as error:  # noqa: BLE001  # as above
            _log.error("the WebSocket %s failed", scope["path"], exc_info=error)
            await visit.close(_FAILED, "")
        finally:
            self._drain.remove(visit)

    def _found(self, scope: Scope) -> Found[ServedRoute] | Response:
        """Return the route of a request, or what is answered where there is none."""
        is_socket = scope["type"] == "websocket"
        method = "GET" if is_socket else scope["method"]
        if method in _NEVER:
            return _not_allowed()
        try:
            routes = self._deployment.runtime.routes()
        except RequestError as error:
            return error_response(error)
        path = _path_of(scope)
        if routes is None:
            found = None
        else:
            found = routes.find_socket(path) if is_socket else routes.find(method, path)
        if found is not None:
            return found
        # No route has such a method; what is mounted may (WebDAV's, say).
        if method not in _SERVED:
            return _not_allowed()
        return PlainTextResponse(_NOT_ENABLED if routes is None else _NO_ROUTE, status_code=404)

    async def _run(
        self, found: Found[ServedRoute], scope: Scope, visit: _Request | _Socket
    ) -> HttpResult:
        sender = self._proxies.sender_of(scope)
        # Of a mounted application it is known by which method it was called.
        method = (
            scope.get("method", "GET") if found.route.method == ANY_METHOD else found.route.method
        )
        call = FunctionCall(
            path=route_name(method, found.route.path),
            arguments=b"",
            identity=await self._identity(scope),
            caller=Caller.CLIENT,
            client=sender.ip or "",
            sender=sender,
            request_id=header_of(scope, b"convex-request-id")
            or self._deployment.runtime.new_request_id(),
            component=found.route.component,
            origin=Origin.HTTP_ENDPOINT,
        )
        exchange = Exchange(receive=visit.receive, send=visit.send)
        return await self._deployment.runtime.http_action(call, _head(found, scope), exchange)

    async def _identity(self, scope: Scope) -> Identity:
        """Return who sends a request. What is wrong with that is told to whoever asks."""
        header = header_of(scope, b"authorization")
        if header is None:
            return Anonymous()
        try:
            identity = await identity_of_header(
                header, self._deployment.admin_keys, self._deployment.verifier
            )
            if isinstance(identity, Admin):
                identity.require(Operation.RUN_FUNCTIONS, "calling HTTP actions as an admin")
        except RequestError as error:
            return Unverified(code=error.code, sentence=error.sentence)
        return identity


def _not_allowed() -> Response:
    return Response(status_code=405, headers={"Allow": ", ".join(sorted(_SERVED))})


def _path_of(scope: Scope) -> str:
    """Return the path of a request below where the site is, undecoded."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    for mount in (quote(scope.get("root_path", "")), scope.get("root_path", "")):
        below = path.removeprefix(mount)
        if below is not path and (not below or below.startswith("/")):
            return below or "/"
    return path


def _head(found: Found[ServedRoute], scope: Scope) -> HttpRequest:
    is_socket = scope["type"] == "websocket"
    client, server = scope.get("client"), scope.get("server")
    raw = scope.get("raw_path")
    denial = "websocket.http.response"
    return HttpRequest(
        route=found.route.declared.name,
        prefix=found.route.prefix,
        parameters=dict(found.parameters),
        type="websocket" if is_socket else "http",
        method="GET" if is_socket else scope["method"],
        scheme=_scheme(scope),
        http_version=scope.get("http_version", "1.1"),
        path=scope["path"],
        raw_path=quote(scope["path"]).encode() if raw is None else bytes(raw),
        query=bytes(scope.get("query_string", b"")),
        headers=[(bytes(name), bytes(value)) for name, value in scope["headers"]],
        client=(str(client[0]), int(client[1] or 0)) if client else None,
        server=(str(server[0]), server[1]) if server else None,
        root_path=scope.get("root_path", ""),
        subprotocols=[str(each) for each in scope.get("subprotocols") or ()],
        extensions=[denial] if is_socket and denial in (scope.get("extensions") or {}) else [],
    )


def _scheme(scope: Scope) -> str:
    """Return the scheme that the client used: what stands before this server says (protocol 7.3)."""
    said = header_of(scope, b"x-forwarded-proto")
    if said is None:
        first = (header_of(scope, b"forwarded") or "").partition(",")[0]
        pairs = (pair.partition("=") for pair in first.split(";"))
        said = next((value for name, _, value in pairs if name.strip().lower() == "proto"), "")
    said = said.partition(",")[0].strip().strip('"').lower()
    is_socket = scope["type"] == "websocket"
    if said in {"https", "wss"}:
        return "wss" if is_socket else "https"
    if said in {"http", "ws"}:
        return "ws" if is_socket else "http"
    scheme: str = scope.get("scheme", "http")
    return scheme


def failure_response(failure: Failure) -> Response:
    """Return what is answered for an action that has failed (protocol 7.4).

    With redaction a failure's message is its first line, and nothing more is told.
    """
    first, _, rest = failure.message.partition("\n")
    body: dict[str, Any] = {"code": first}
    if rest:
        # What user code raised is told by its message alone, as Convex does.
        raised = re.match(r"Uncaught [^:]+(?:: )?", failure.headline)
        said = failure.headline[raised.end() if raised else 0 :]
        body = {"code": f"{first}: {said}", "trace": f"{failure.full_text}\n"}
    if failure.data is not None:
        body["data"] = msgspec.Raw(encode_value(unpack(failure.data)))
    return json_response(encode_json(body), 500)


def _refused(status: Literal[408, 413], code: str, sentence: str) -> Response:
    response = json_response(encode_json({"code": code, "message": sentence}), status)
    # What else would come of the body is not wanted.
    response.headers["Connection"] = "close"
    return response


class _Request:
    """One request: what comes of it is bounded, and it is answered once."""

    def __init__(self, route: ServedRoute, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        #: What is answered unless the action has begun to.
        self._refusal: Response | None = None
        self._has_started = False
        self._is_whole = False
        self._hides_body = route.method != ANY_METHOD and scope["method"] in _ASKING
        self._size = 0
        self._check(length_of(scope) or 0)

    def is_refused(self) -> bool:
        """Return whether nothing more of it is taken in."""
        return self._refusal is not None

    def refuse(self, response: Response) -> None:
        """Have this answered, unless there was a reason before."""
        self._refusal = self._refusal or response

    def _check(self, size: int) -> None:
        if size > limits.http_action_body_bytes_max:
            sentence = (
                f"the body has {size} bytes or more; an HTTP action takes "
                f"{limits.http_action_body_bytes_max}. Upload larger files by an upload URL"
            )
            self.refuse(_refused(413, "RequestTooLarge", sentence))

    async def receive(self) -> Message:
        """Return what comes next, or that the client has gone: one that is refused has, too."""
        message = await self._next()
        if not self._hides_body:
            return message
        while message["type"] == "http.request" and not self._is_whole:
            message = await self._next()
        self._hides_body = False
        if message["type"] == "http.request":
            return {"type": "http.request", "body": b"", "more_body": False}
        return message

    async def _next(self) -> Message:
        if self.is_refused():
            return {"type": "http.disconnect"}
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(limits.http_body_idle_s_max):
                message = await self._receive()
        except TimeoutError:
            idle_s = limits.http_body_idle_s_max
            sentence = f"nothing has come of the body for {idle_s:.0f} s"
            self.refuse(_refused(408, "RequestTimeout", sentence))
            return {"type": "http.disconnect"}
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._check(self._size)
            self._is_whole = not message.get("more_body", False)
        return {"type": "http.disconnect"} if self.is_refused() else message

    async def send(self, message: Message) -> None:
        """Send a part of the action's response; a client that takes nothing in has gone."""
        self._has_started = True
        async with asyncio.timeout(limits.http_send_idle_s_max):
            await self._send(message)

    async def end(self) -> None:
        """Answer what the action has not; a response that has only begun is cut off."""
        if not self._has_started and self._refusal is not None:
            await self._refusal(self._scope, self._receive, self._send)


class _Socket:
    """One WebSocket of a mounted application; the end of the server is the end of its client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_draining = asyncio.Event()
        self._is_closed = False

    async def receive(self) -> Message:
        """Return what comes next, or that the client has gone: at the end of the server, too."""
        draining = asyncio.ensure_future(self._is_draining.wait())
        heard = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait([draining, heard], return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                message = heard.result()
                self._is_closed = self._is_closed or message["type"] == "websocket.disconnect"
                return message
        finally:
            draining.cancel()
            heard.cancel()
        await self.close(_RESTART, "")
        return {"type": "websocket.disconnect", "code": _RESTART, "reason": ""}

    async def send(self, message: Message) -> None:
        """Send what the application sends; a client that takes nothing in has gone."""
        is_last = message["type"] in {"websocket.close", "websocket.http.response.body"}
        self._is_closed = self._is_closed or (is_last and not message.get("more_body", False))
        async with asyncio.timeout(limits.http_send_idle_s_max):
            await self._send(message)

    async def close(self, code: int, reason: str) -> None:
        """Close it, if nobody has."""
        if not self._is_closed:
            self._is_closed = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def drain(self) -> None:
        """Have it end: the server does."""
        self._is_draining.set()


class SiteBelow:
    """The site below a path of another application's."""

    def __init__(self, site: Site, path: str) -> None:
        self._site = site
        self._path = path

    async def respond(self, request: Request) -> Response:
        """Return what answers a request; it is called as a response is."""
        return _Deferred(self._site, self._scope(request.scope))

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a WebSocket."""
        scope = self._scope(websocket.scope)
        await self._site(scope, websocket._receive, websocket._send)  # noqa: SLF001  # ASGI's own

    def _scope(self, scope: Scope) -> Scope:
        # What the routes of the API have found in the path is none of the site's business.
        below = {**scope, "root_path": scope.get("root_path", "") + self._path}
        for name in ("path_params", "endpoint", "route"):
            below.pop(name, None)
        return below


class _Deferred(Response):
    """A response that an application gives when it is sent."""

    def __init__(self, site: Site, scope: Scope) -> None:
        super().__init__()
        self._site = site
        self._scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        await self._site(self._scope, receive, send)
        if (route := self._scope.get("route")) is not None:
            # For the span around it.
            scope["route"] = route
