"""Errors of requests as HTTP responses (protocol 5.2)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from camber.errors import ErrorKind, RequestError
from camber.server.headers import AS_DECLARED
from camber.values.wire import encode_json

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
    ErrorKind.PAYLOAD_TOO_LARGE: 413,
    ErrorKind.TOO_EARLY: 425,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.INTERNAL: 500,
    ErrorKind.WRITE_CONFLICT: 503,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.FEATURE_TEMPORARILY_UNAVAILABLE: 503,
    ErrorKind.REJECTED_BEFORE_EXECUTION: 503,
    ErrorKind.OUT_OF_RETENTION: 503,
}


class _JsonResponse(Response):
    """A response whose headers are known: Starlette's own looks for those that a caller set."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        assert headers is None
        size = b"%d" % len(self.body)
        self.raw_headers = [
            (b"content-length", size),
            (b"content-type", b"application/json"),
            AS_DECLARED,
        ]


def json_response(body: bytes, status: int = 200) -> Response:
    """Return a response with a JSON body."""
    return _JsonResponse(body, status)


def error_response(error: RequestError) -> Response:
    """Return `{"code", "message"}` with the status of the error's kind."""
    body = encode_json({"code": error.code, "message": error.sentence})
    return json_response(body, STATUS[error.kind])
