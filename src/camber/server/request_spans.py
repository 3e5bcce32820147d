"""A span for each HTTP request, below the one that its `traceparent` header names."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from camber.server.headers import header_of
from camber.tracing import SpanKind, Tracing


class RequestSpans:
    """Middleware that starts a span for each request; what it causes is below it."""

    def __init__(self, application: ASGIApp, tracing: Tracing) -> None:
        self._application = application
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Sockets have a span for each message instead."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        method = scope["method"]
        span = self._tracing.start(
            method,
            # Never the query: it may hold a key.
            {"http.request.method": method, "url.path": scope["path"]},
            kind=SpanKind.SERVER,
            parent=header_of(scope, b"traceparent"),
        )

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    self._tracing.fail(span, str(status), "the request failed")
            await send(message)

        try:
            with self._tracing.within(span):
                await self._application(scope, receive, noting)
        finally:
            route = scope.get("route")
            if route is not None:
                span.set_attribute("http.route", route.path)
                span.update_name(f"{method} {route.path}")
            span.end()
