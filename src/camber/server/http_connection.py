"""HTTP connections of our own server.

They send an answer's head with its body: one piece, one system call, one packet. And they are bounded:
in the size of a head, and in the time that heads, bodies and answers may take (`camber.server.gate`).
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, Final, assert_never, cast

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from camber import limits
from camber.errors import ErrorKind, RequestError
from camber.server.errors import STATUS, error_response
from camber.server.gate import Gate, Place, too_slow
from camber.server.websocket_connection import Handshake


class _Awaited(Enum):
    """What a client has to do next."""

    NOTHING = "nothing"
    HEAD = "the head of a request"
    BODY = "the body of a request"
    READ = "to take in the answer"


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, whose answers are written through `JoinedWrites`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gate: Gate,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate = gate
        self._place: Place | None = None
        #: Why the connection is not let in, if so; and whether it is about to be told.
        self._refusal: RequestError | None = None
        #: Bytes of the head that is being sent, in pieces; and of the body since its head.
        self._head_bytes = 0
        self._body_bytes = 0
        #: What was awaited at the last beat, and since which.
        self._awaited = _Awaited.NOTHING
        self._since_s = 0.0
        #: The most bytes of an answer that have waited at once since then.
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the client in, or remember why not: it is told once it has asked for something."""
        super().connection_made(transport)
        gate = self._gate
        found = gate.enter(self.client[0] if self.client is not None else None)
        if isinstance(found, Place):
            self._place = found
        else:
            gate.refused[found.code] += 1
            if gate.being_refused >= limits.connections_refused_max:
                transport.abort()
                return
            gate.being_refused += 1
            self._refusal = found
            self.app = _Refusing(found)
        gate.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the place."""
        super().connection_lost(exc)
        self._left()
        if self._place is not None:
            self._place.leave()

    def _left(self) -> None:
        self._gate.forget(self)
        if self._refusal is not None:
            self._refusal = None
            self._gate.being_refused -= 1

    def data_received(self, data: bytes) -> None:
        """Take in what the client sends."""
        if not self._is_in_head():
            self._body_bytes += len(data)
            super().data_received(data)
            return
        # Still within a head, of which only the end says how long it is.
        super().data_received(data)
        if self._is_in_head():
            self._head_bytes += len(data)
            if self._head_bytes > limits.http_head_bytes_max and not self.transport.is_closing():
                self._gate.refused["HeadersTooLarge"] += 1
                self._refuse(431, "HeadersTooLarge", _HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Take in a request, once all its headers are there."""
        self._head_bytes = self._body_bytes = 0
        before = self.cycle
        super().on_headers_complete()
        # A request that becomes a WebSocket has none.
        if self.cycle is not before:
            joined = JoinedWrites(self.transport, self.loop)
            self.cycle.transport = cast("asyncio.Transport", joined)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection and its place over to a WebSocket."""
        if self._refusal is not None:
            error = self._refusal
            self._refuse(STATUS[error.kind], error.code, error.sentence)
            return
        super().handle_websocket_upgrade()
        self._gate.forget(self)
        handshake = self.transport.get_protocol()
        assert isinstance(handshake, Handshake)
        assert self._place is not None
        handshake.place = self._place
        if handshake.conn.handshake_exc is not None and not self.transport.is_closing():
            # Nobody would say anything to a head that is too long for a handshake, nor close.
            self._gate.refused["HeadersTooLarge"] += 1
            self._refuse(431, "HeadersTooLarge", _HANDSHAKE_TOO_LARGE)

    def beat(self, now_s: float) -> int:
        """Close if what is awaited of the client takes too long; return the bytes that wait for it."""
        awaited = self._awaits()
        unsent = self.transport.get_write_buffer_size() if awaited is _Awaited.READ else 0
        if awaited is not self._awaited:
            self._awaited, self._since_s, self._unsent_bytes = awaited, now_s, unsent
            return unsent
        waited_s = now_s - self._since_s
        match awaited:
            case _Awaited.NOTHING:
                pass
            case _Awaited.HEAD:
                if waited_s > limits.http_head_s_max:
                    self._give_up(too_slow(awaited.value, limits.http_head_s_max))
            case _Awaited.BODY:
                allowed_s = limits.stalled_s_max + self._body_bytes / limits.slowest_bytes_per_s
                if waited_s > allowed_s:
                    self._give_up(too_slow(awaited.value, allowed_s))
            case _Awaited.READ:
                self._unsent_bytes = max(self._unsent_bytes, unsent)
                allowed_s = limits.stalled_s_max + self._unsent_bytes / limits.slowest_bytes_per_s
                if waited_s > allowed_s:
                    self.drop()
                    unsent = 0
            case _:
                assert_never(awaited)
        return unsent

    def drop(self) -> None:
        """Cut off a client that does not take in its answer: it would not take in a reason either."""
        self._gate.refused["SlowReader"] += 1
        self.transport.abort()

    def _is_in_head(self) -> bool:
        # The scope of a request is there from its first byte on, its method from the end of its head on.
        scope: Any = self.scope
        return scope is None or "method" not in scope

    def _awaits(self) -> _Awaited:
        if self.flow.write_paused:
            return _Awaited.READ
        if self._is_in_head():
            return _Awaited.HEAD
        # Where we have stopped reading it is we who are slow.
        cycle: Any = self.cycle
        if cycle is not None and cycle.more_body and not self.flow.read_paused:
            return _Awaited.BODY
        return _Awaited.NOTHING

    def _give_up(self, error: RequestError) -> None:
        self._gate.refused[error.code] += 1
        scope, cycle = cast("tuple[Any, Any]", (self.scope, self.cycle))
        if scope is None or (not self._is_in_head() and cycle.response_started):
            # Nobody asked, or half of an answer is out.
            self.transport.abort()
        else:
            self._refuse(STATUS[error.kind], error.code, error.sentence)

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        """Answer without asking the application, and close."""
        error = RequestError(sentence, code=code, kind=ErrorKind.BAD_REQUEST)
        body = bytes(error_response(error).body)
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: application/json\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


_HANDSHAKE_TOO_LARGE: Final = (
    "the head of a handshake for a WebSocket has a line or a number of headers that is too large: "
    "128 headers and lines of 8192 bytes are the most"
)
_HEAD_TOO_LARGE: Final = (
    f"the head of the request has more than {limits.http_head_bytes_max} bytes, the most for it"
)


class _Refusing:
    """Answers every request with an error, and closes."""

    def __init__(self, error: RequestError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(self._error)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


class JoinedWrites:
    """A transport on which the first piece of an answer waits for what comes in the same turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._has_held = False

    def write(self, data: bytes) -> None:
        """Write, but hold the first piece until the second, or until the loop's next turn."""
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held + data)
        elif self._has_held:
            self._transport.write(data)
        else:
            self._held = data
            self._has_held = True
            self._loop.call_soon(self._flush)

    def is_closing(self) -> bool:
        """Return whether the transport is closing."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close, once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)
