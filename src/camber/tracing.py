"""Spans, from a client's message to the push that shows what it changed (OpenTelemetry).

Off unless the process has a tracer provider: then there is no `Tracing`, and whoever would use it
checks for that and nothing more. OpenTelemetry is imported by whoever installs the provider, never
by us. Spans have what the log of functions has, and nothing that users sent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from camber.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class SpanKind(Enum):
    """What a span is to the one before it."""

    #: Work asked for from outside.
    SERVER = "SERVER"
    INTERNAL = "INTERNAL"
    #: Something sent, which nobody answers.
    PRODUCER = "PRODUCER"


class Tracing:
    """Makes spans. The current one travels with tasks and callbacks, as contexts of Python do."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        #: The spans of commits that become visible, until they are published, by timestamp.
        self._commits: dict[int, Span] = {}

    def start(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: str | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Start a span below `parent`, a traceparent, or else below the current span.

        Whoever starts it ends it.
        """
        context = None if parent is None else self._context(parent)
        return self._tracer.start_span(
            name,
            context=context,
            kind=self._trace.SpanKind[kind.value],
            attributes=attributes,
            start_time=start_ns,
        )

    def within(self, span: Span) -> AbstractContextManager[Span]:
        """Make a span the current one within the block, and do not end it."""
        return self._trace.use_span(span, record_exception=False, set_status_on_exception=False)

    def step(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """Start a span that is current within the block and ends with it."""
        return self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False
        )

    def traceparent(self, span: Span) -> str | None:
        """Return the W3C header that names a span to whom it is sent."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(span))
        return carrier.get("traceparent")

    def fail(self, span: Span, kind: str, told: str) -> None:
        """Mark a span as failed: by what kind of error, and its text."""
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, told)

    def commit_visible(self, ts: int, span: Span) -> None:
        """Note whose commit is being published at `ts`."""
        self._commits[ts] = span

    def commit_published(self, ts: int) -> Span:
        """Return whose commit is published at `ts`: a span without a trace if nobody said."""
        return self._commits.pop(ts, self._trace.INVALID_SPAN)

    def _context(self, traceparent: str) -> Context:
        return self._propagator.extract({"traceparent": traceparent})


def installed_tracing() -> Tracing | None:
    """Return what makes spans, if the process has been told where they go."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return Tracing(trace.get_tracer("camber", VERSION))
