"""Transitions on their way to one client: since when each is due, and its span."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from camber.server.metrics import Metrics
from camber.tracing import SpanKind, Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NO_SPAN = nullcontext()


class Deliveries:
    """The Transitions of one socket: those that wait to be sent, and the one that is next.

    A Transition has a time at which a commit first touched what it shows; None if the client asked
    for it.
    """

    __slots__ = ("_metrics", "_span", "_touched_s", "_tracing", "_unsent")

    def __init__(self, *, metrics: Metrics, tracing: Tracing | None) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._touched_s: float | None = None
        self._span: Span | None = None
        self._unsent: list[tuple[float | None, Span | None]] = []

    def touched(self, now_s: float) -> None:
        """Note that a commit has touched what the client looks at."""
        if self._touched_s is None:
            self._touched_s = now_s
        if self._tracing is not None:
            self._start_span(self._tracing, "commit")

    def running(self) -> AbstractContextManager[object]:
        """Make what runs within the block part of the next Transition."""
        if self._tracing is None:
            return _NO_SPAN
        return self._tracing.within(self._start_span(self._tracing, "client"))

    def sent(self, now_s: float) -> None:
        """Note that the next Transition is out."""
        self._metrics.transition_sent(now_s, self._touched_s)
        self._touched_s = None
        if self._span is not None:
            self._span.end()
            self._span = None

    def queued(self) -> None:
        """Note that the next Transition is written, and waits until the client takes it in."""
        self._unsent.append((self._touched_s, self._span))
        self._touched_s = self._span = None

    def all_sent(self, now_s: float) -> int:
        """Note that all that waited are out; return how many those are."""
        unsent, self._unsent = self._unsent, []
        for touched_s, span in unsent:
            self._metrics.transition_sent(now_s, touched_s)
            if span is not None:
                span.end()
        return len(unsent)

    def close(self) -> None:
        """Note that the client is gone, and will get none of them."""
        for _, span in (*self._unsent, (None, self._span)):
            if span is not None:
                span.end()

    def _start_span(self, tracing: Tracing, cause: str) -> Span:
        if self._span is None:
            attributes = {"camber.cause": cause, "network.protocol.name": "websocket"}
            self._span = tracing.start("transition", attributes, kind=SpanKind.PRODUCER)
        return self._span
