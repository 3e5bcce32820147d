"""Transitions on their way to one client: since when each is due, and its span."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camber.host import Host
from camber.server.metrics import Metrics
from camber.tracing import SpanKind, Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_NO_SPAN = nullcontext()


@dataclass(slots=True)
class _Delivery:
    """One Transition, from what makes it due until it is sent.

    `touched_s` is when a commit first touched what it shows; None if the client asked for it.
    """

    touched_s: float | None = None
    span: Span | None = None

    def end(self) -> None:
        if self.span is not None:
            self.span.end()


class Deliveries:
    """The Transitions of one socket, in order. The one that is not computed yet is `_next`."""

    def __init__(self, *, host: Host, metrics: Metrics, tracing: Tracing | None) -> None:
        self._host = host
        self._metrics = metrics
        self._tracing = tracing
        self._next = _Delivery()
        self._unsent: deque[_Delivery] = deque()

    def touched(self) -> None:
        """Note that a commit has touched what the client looks at."""
        if self._next.touched_s is None:
            self._next.touched_s = self._host.monotonic()
        if self._tracing is not None:
            self._start_span(self._tracing, "commit")

    def running(self) -> AbstractContextManager[object]:
        """Make what runs within the block part of the next Transition."""
        if self._tracing is None:
            return _NO_SPAN
        return self._tracing.within(self._start_span(self._tracing, "client"))

    def queued(self) -> None:
        """Note that the next Transition is computed, and waits to be sent."""
        self._unsent.append(self._next)
        self._next = _Delivery()

    def sent(self, now_s: float) -> None:
        """Note that the oldest Transition that waited is out."""
        delivery = self._unsent.popleft()
        self._metrics.transition_sent(now_s, delivery.touched_s)
        delivery.end()

    def close(self) -> None:
        """Note that the client is gone, and will get none of them."""
        for delivery in (*self._unsent, self._next):
            delivery.end()

    def _start_span(self, tracing: Tracing, cause: str) -> Span:
        if self._next.span is None:
            attributes = {"camber.cause": cause, "network.protocol.name": "websocket"}
            self._next.span = tracing.start("transition", attributes, kind=SpanKind.PRODUCER)
        return self._next.span
