"""The HTTP API of functions (protocol 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest
from camber.functions.definition import FunctionKind
from camber.identity.identity import Admin, Identity
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.results import Failure
from camber.runtime.runtime import Done
from camber.server.admin import any_admin_of, identity_of
from camber.server.bodies import json_object, read_body
from camber.server.client_version import ClientVersion, parse_client_header
from camber.server.dispatch import Endpoint
from camber.server.errors import json_response
from camber.server.headers import header_of, untrusted_file_headers
from camber.server.proxies import Proxies
from camber.sync.messages import packed_arguments
from camber.values.paths import FunctionPath
from camber.values.timestamp import Timestamp
from camber.values.wire import (
    BadJson,
    Format,
    decode_json,
    decode_timestamp,
    encode_json,
    encode_packed,
    encode_timestamp,
)
from camber.version import VERSION

#: The largest body that /echo sends back.
_ECHO_BYTES_MAX = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One function call of a request."""

    call: FunctionCall
    format: Format


class HttpApi:
    """Answers function calls of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._body_bytes_max = deployment.settings.network.body_bytes
        self._proxies = Proxies(deployment.settings.network)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of protocol 4.2, but `/`, sockets and HTTP actions."""
        return [
            Route("/version", self._version),
            Route("/instance_version", self._version),
            Route("/instance_name", self._instance_name),
            Route("/echo", self._echo, methods=["POST"]),
            Route("/api/query", self._get_query, methods=["GET"]),
            Route("/api/query", self._calling(FunctionKind.QUERY), methods=["POST"]),
            Route("/api/mutation", self._calling(FunctionKind.MUTATION), methods=["POST"]),
            Route("/api/action", self._calling(FunctionKind.ACTION), methods=["POST"]),
            Route("/api/function", self._function, methods=["POST"]),
            Route("/api/query_ts", self._query_ts, methods=["POST"]),
            Route("/api/query_at_ts", self._query_at_ts, methods=["POST"]),
            Route("/api/query_batch", self._query_batch, methods=["POST"]),
            Route("/api/run/{path:path}", self._run, methods=["POST"]),
            Route("/api/debug_event", self._debug_event, methods=["POST"]),
        ]

    # Calls.

    def _calling(self, kind: FunctionKind) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            identity = await self._identity(request)
            client = _client(request)
            ask = self._ask(
                request, await json_object(request, self._body_bytes_max), identity, client
            )
            return await self._answer(ask, kind)

        return endpoint

    async def _get_query(self, request: Request) -> Response:
        identity = await self._identity(request)
        parameters = request.query_params
        try:
            args = decode_json(parameters.get("args", "{}"))
        except BadJson as error:
            msg = f"the parameter args is {error.sentence}"
            raise BadRequest(msg, code="BadQueryArgs") from None
        body = {"path": parameters.get("path"), "args": args}
        if "format" in parameters:
            body["format"] = parameters["format"]
        ask = self._ask(request, body, identity, _client(request))
        return await self._answer(ask, FunctionKind.QUERY)

    async def _function(self, request: Request) -> Response:
        identity = any_admin_of(request, self._deployment)
        body = await json_object(request, self._body_bytes_max)
        ask = self._ask(request, body, identity, _client(request))
        return await self._answer(ask, self._kind(ask.call))

    async def _run(self, request: Request) -> Response:
        identity = await self._identity(request)
        parts = request.path_params["path"].split("/")
        if len(parts) < 2 or not all(parts):
            msg = "name a function: /api/run/<module>/<function>"
            raise BadRequest(msg, code="MissingIdentifier")
        body = await json_object(request, self._body_bytes_max)
        body["path"] = f"{'/'.join(parts[:-1])}:{parts[-1]}"
        ask = self._ask(request, body, identity, None)
        return await self._answer(ask, self._kind(ask.call))

    def _kind(self, call: FunctionCall) -> FunctionKind:
        # Where there is none, running it as a query says so.
        return self._deployment.runtime.kind_of(call) or FunctionKind.QUERY

    async def _query_ts(self, request: Request) -> Response:
        del request
        ts = encode_timestamp(self._deployment.runtime.newest_ts)
        return json_response(encode_json({"ts": ts}))

    async def _query_at_ts(self, request: Request) -> Response:
        identity = await self._identity(request)
        body = await json_object(request, self._body_bytes_max)
        text = body.get("ts")
        if not isinstance(text, str):
            msg = "the body needs `ts`, a timestamp as /api/query_ts gives it"
            raise BadRequest(msg, code="BadJsonBody")
        ts = self._known_ts(decode_timestamp(text))
        ask = self._ask(request, body, identity, _client(request))
        result = await self._deployment.runtime.query(ask.call, ts=ts)
        done = Done(value=result.packed, failure=result.failure, log_lines=result.log_lines)
        return json_response(_response(done, ask.format))

    def _known_ts(self, ts: Timestamp) -> Timestamp:
        newest = self._deployment.runtime.newest_ts
        if ts > newest:
            msg = f"the timestamp {ts} lies ahead: the newest is {newest}"
            raise BadRequest(msg, code="BadTimestamp")
        return ts

    async def _query_batch(self, request: Request) -> Response:
        identity = await self._identity(request)
        client = _client(request)
        body = await json_object(request, self._body_bytes_max)
        queries = body.get("queries")
        if not isinstance(queries, list) or not all(isinstance(each, dict) for each in queries):
            msg = "the body needs `queries`, a list of objects with path and args"
            raise BadRequest(msg, code="BadJsonBody")
        if len(queries) > limits.query_batch_max:
            msg = f"{len(queries)} queries; a batch may have {limits.query_batch_max}"
            raise BadRequest(msg, code="BadJsonBody")
        asks = [self._ask(request, each, identity, client) for each in queries]
        ts = self._deployment.runtime.newest_ts
        results = []
        for ask in asks:
            result = await self._deployment.runtime.query(ask.call, ts=ts)
            done = Done(value=result.packed, failure=result.failure, log_lines=result.log_lines)
            results.append(msgspec.Raw(_response(done, ask.format)))
        return json_response(encode_json({"results": results}))

    async def _answer(self, ask: _Ask, kind: FunctionKind) -> Response:
        done = await self._deployment.runtime.run(ask.call, kind)
        return json_response(_response(done, ask.format))

    def _ask(
        self,
        request: Request,
        body: dict[str, Any],
        identity: Identity,
        client: ClientVersion | None,
    ) -> _Ask:
        path = body.get("path")
        if not isinstance(path, str):
            msg = "the body needs `path`, a function such as messages:list"
            raise BadRequest(msg, code="BadJsonBody")
        form = body.get("format")
        if form is not None and not isinstance(form, str):
            msg = f"`format` is a string, not {type(form).__name__}"
            raise BadRequest(msg, code="BadFormat")
        default = Format.CLEAN if client is None else client.default_format
        args = body.get("args", {})
        arguments, error = packed_arguments(args if isinstance(args, list) else [args])
        component = body.get("componentPath")
        if component is not None and not isinstance(component, str):
            msg = (
                "`componentPath` is the path of a component, such as 'ledger' or 'ledger/spare', or "
                f"left out, not {component!r}"
            )
            raise BadRequest(msg, code="BadJsonBody")
        sender = self._proxies.sender_of(request.scope)
        return _Ask(
            call=FunctionCall(
                path=FunctionPath.parse(path).key,
                arguments=arguments,
                arguments_error=error,
                identity=identity,
                caller=caller_of(identity),
                client=sender.ip or "",
                sender=sender,
                request_id=self._request_id(request),
                component=component if component and isinstance(identity, Admin) else "",
            ),
            format=default if form is None else Format.parse(form),
        )

    def _request_id(self, request: Request) -> str:
        given = header_of(request.scope, b"convex-request-id")
        return given or self._deployment.runtime.new_request_id()

    async def _identity(self, request: Request) -> Identity:
        return await identity_of(request, self._deployment)

    # The rest.

    async def _version(self, request: Request) -> Response:
        del request
        return PlainTextResponse(VERSION)

    async def _instance_name(self, request: Request) -> Response:
        del request
        return PlainTextResponse(self._deployment.instance_name)

    async def _echo(self, request: Request) -> Response:
        body = await read_body(request, _ECHO_BYTES_MAX)
        kind = request.headers.get("content-type")
        # What a page made a browser send must not be a page of this origin.
        return Response(body, media_type=kind, headers=untrusted_file_headers(kind))

    async def _debug_event(self, request: Request) -> Response:
        await read_body(request, self._body_bytes_max)
        return Response(status_code=204)


def caller_of(identity: Identity) -> Caller:
    """Return which functions there are for an identity."""
    return Caller.ADMIN if isinstance(identity, Admin) else Caller.CLIENT


def _client(request: Request) -> ClientVersion:
    return parse_client_header(header_of(request.scope, b"convex-client"))


def _response(done: Done, form: Format) -> bytes:
    if done.failure is None:
        assert done.value is not None
        value = encode_packed(done.value, form)
        if not done.log_lines:
            return b'{"status":"success","value":%b}' % value
        body: dict[str, Any] = {"status": "success", "value": msgspec.Raw(value)}
    else:
        body = _failed(done.failure, form)
    if done.log_lines:
        body["logLines"] = done.log_lines
    return encode_json(body)


def _failed(failure: Failure, form: Format) -> dict[str, Any]:
    body: dict[str, Any] = {"status": "error", "errorMessage": failure.message}
    if failure.data is not None:
        body["errorData"] = msgspec.Raw(encode_packed(failure.data, form))
    return body
