"""Errors of requests as HTTP responses (protocol 5.2)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from camber.errors import ErrorKind, RequestError
from camber.values.wire import encode_json

_log = logging.getLogger("camber.server")

STATUS: Mapping[ErrorKind, int] = {
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.PAGINATION_LIMIT: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.AUTH_UPDATE_FAILED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CLIENT_DISCONNECT: 408,
    ErrorKind.CONFLICT: 409,
    ErrorKind.MISDIRECTED: 421,
    ErrorKind.TOO_EARLY: 425,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.WRITE_CONFLICT: 503,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.FEATURE_TEMPORARILY_UNAVAILABLE: 503,
    ErrorKind.REJECTED_BEFORE_EXECUTION: 503,
    ErrorKind.OUT_OF_RETENTION: 503,
}


def json_response(body: bytes, status: int = 200) -> Response:
    """Return a response with a JSON body."""
    return Response(body, status_code=status, media_type="application/json")


def error_response(error: RequestError) -> Response:
    """Return `{"code", "message"}` with the status of the error's kind."""
    body = encode_json({"code": error.code, "message": error.sentence})
    return json_response(body, STATUS[error.kind])


async def on_request_error(request: Request, error: Exception) -> Response:
    """Answer a request that failed as a whole."""
    del request
    assert isinstance(error, RequestError)
    return error_response(error)


class InternalErrors:
    """Answers a request that met a bug of ours: logged here, told without detail."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._application(scope, receive, noting)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            msg = "the server failed to answer; its output says why"
            response = error_response(RequestError(msg, code="InternalServerError"))
            await response(scope, receive, send)
