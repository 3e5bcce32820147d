"""WebSocket connections of our own server (RFC 6455): frames straight to and from the transport.

uvicorn and `websockets` do the handshake. From then on a connection is this protocol and nothing
else: no task, no queue, no scope, no timer, so that one which is idle takes little memory. A frame
that many clients get is one `bytes`, header included, and is handed to each transport as it is.
An answer leaves at the end of a turn of the loop, with the Transition after it in one system call and
with those for others right after each other, which processors like. What one call writes to many
goes to their transports at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Close, CloseCode
from websockets.http11 import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without a compiled wheel
    from websockets.utils import apply_mask

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.server.gate import Place
from camber.server.outlets import Receiver

#: Where the scope of a WebSocket has what turns its connection into one of these.
EXTENSION: Final = "camber.connection"

_FIN: Final = 0x80
_MASKED: Final = 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_WHOLE_TEXT: Final = _FIN | _TEXT
_CONTROL_BYTES_MAX: Final = 125
_PING_FRAME: Final = bytes((_FIN | _PING, 0))


class LoopTurn:
    """The connections with frames that leave at the end of this turn of the loop."""

    def __init__(self) -> None:
        self._connections: list[WebSocketConnection] = []

    def add(self, connection: WebSocketConnection) -> None:
        """Let `connection` flush when the turn ends."""
        if not self._connections:
            asyncio.get_running_loop().call_soon(self._end)
        self._connections.append(connection)

    def _end(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.flush()


class MessageRate:
    """How many messages a client has sent beyond those that it may send in the time since then."""

    __slots__ = ("_per_s", "_since_s", "most", "spent")

    def __init__(self, per_s: int, now_s: float) -> None:
        self._per_s = per_s
        self._since_s = now_s
        self.spent = 0
        self.most: float = per_s * limits.socket_burst_s if per_s else math.inf

    def grant(self, now_s: float) -> None:
        """Let the time that has gone by count for the client."""
        if self.spent:
            granted = int((now_s - self._since_s) * self._per_s) if self._per_s else self.spent
            self.spent = max(0, self.spent - granted)
        self._since_s = now_s


class _Full:
    """Since when more waits for a client than it should, and how much it was at most."""

    __slots__ = ("bytes", "since_s")

    def __init__(self, since_s: float, size: int) -> None:
        self.since_s = since_s
        self.bytes = size


class WebSocketConnection(asyncio.Protocol):
    """One client's connection after the handshake; an `Outlet`."""

    __slots__ = (
        "_closing_s", "_connections", "_full", "_heard_s", "_input", "_is_closing", "_is_heard",
        "_is_held", "_kind", "_message", "_message_bytes_max", "_pinged_s", "_place", "_rate",
        "_receiver", "_transport", "_turn", "_unwritten", "_wanted", "is_full", "write",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        receiver: Receiver,
        connections: set[Any],
        turn: LoopTurn,
        now_s: float,
        network: NetworkLimits,
        place: Place,
    ) -> None:
        self._transport = transport
        self._place = place
        self._message_bytes_max = network.message_bytes
        #: What it may send; and since when it takes nothing in, and how much waited at most.
        self._rate = MessageRate(network.messages_per_s, now_s)
        self._full: _Full | None = None
        self._receiver = receiver
        #: The server's, whose end waits until it is empty.
        self._connections = connections
        connections.add(self)
        self._turn = turn
        #: Frames that leave at the end of the turn.
        self._unwritten = b""
        #: To the transport without a step in between, unless there are such frames.
        self.write: Callable[[bytes], None] = transport.write
        self.is_full = False
        self._input: bytes | bytearray = b""
        #: Bytes that the input must have before there is more to do with it.
        self._wanted = 0
        self._is_held = False
        self._is_closing = False
        #: A message that comes in several frames: what it is, and what is there.
        self._kind = 0
        self._message: bytearray | bytes = b""
        self._is_heard = False
        self._heard_s = self._pinged_s = now_s
        self._closing_s = 0.0

    # Out.

    def write_soon(self, frame: bytes) -> None:
        if self._is_closing:
            return
        unwritten = self._unwritten
        if len(unwritten) + len(frame) > limits.frames_joined_bytes_max:
            # To the transport, after what is unwritten.
            self.write(frame)
        elif unwritten:
            self._unwritten = unwritten + frame
        else:
            self._unwritten = frame
            self.write = self._write_after
            self._turn.add(self)

    def _write_after(self, frame: bytes) -> None:
        self.flush()
        self._transport.write(frame)

    def flush(self) -> None:
        """Let go what waits for the end of the turn."""
        unwritten = self._unwritten
        if unwritten:
            self._unwritten = b""
            self.write = self._transport.write
            self._transport.write(unwritten)

    def close(self, code: int, reason: str) -> None:
        if not self._is_closing:
            self.flush()
            self._end()
            self._transport.write(_control(_CLOSE, Close(code, reason).serialize()))
            # The client's own close frame is still to come, and is waited for: see `beat`.
            self.release()

    def _end(self) -> None:
        """Write no frame any more, nor what waits."""
        self._is_closing = True
        self._unwritten = b""
        self.write = _ignore

    @property
    def held_bytes(self) -> int:
        """Return the bytes that are held for the client, or of what it has sent half."""
        transport = self._transport.get_write_buffer_size()
        return transport + len(self._unwritten) + len(self._input) + len(self._message)

    def pause_writing(self) -> None:
        """Note that the transport holds more than it should: the client takes in too slowly."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Note that the transport has got rid of most of it."""
        self.is_full = False
        self._full = None
        self._is_heard = True
        self._receiver.has_room()

    def shutdown(self) -> None:
        """End the connection: the server ends. Called by uvicorn."""
        self.close(CloseCode.GOING_AWAY, "")
        self._transport.close()

    def beat(self, now_s: float) -> None:
        self._rate.grant(now_s)
        if self._is_closing:
            self._closing_s = self._closing_s or now_s
            if now_s - self._closing_s > limits.socket_close_s_max:
                self._transport.abort()
            return
        if self._is_heard:
            self._is_heard = False
            self._heard_s = now_s
        elif now_s - self._heard_s > limits.socket_ping_frame_s + limits.socket_pong_s_max:
            # Nothing, not even an answer to a ping: whoever was there is gone.
            self._end()
            self._transport.abort()
            return
        if self.is_full:
            size = self._transport.get_write_buffer_size()
            full = self._full = self._full or _Full(now_s, size)
            full.bytes = max(full.bytes, size)
            if (
                now_s - full.since_s
                > limits.stalled_s_max + full.bytes / limits.slowest_bytes_per_s
            ):
                self._receiver.stalled()
        elif now_s - self._pinged_s >= limits.socket_ping_frame_s:
            self._pinged_s = now_s
            self._transport.write(_PING_FRAME)

    # In.

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end()
        self._input = b""
        self._connections.discard(self)
        self._place.leave()
        self._receiver.lost()

    def hold(self) -> None:
        if not self._is_held:
            self._is_held = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def release(self) -> None:
        if self._is_held:
            self._is_held = False
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Take in what has come already, and then what comes."""
        if not self._reads():
            return
        self._take_in(self._input)
        if self._reads():
            self._transport.resume_reading()

    def _reads(self) -> bool:
        return not self._is_held and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._is_heard = True
        self._rate.spent += len(data) >> limits.socket_bytes_per_message_bits
        if self._input:
            if isinstance(self._input, bytes):
                self._input = bytearray(self._input)
            self._input += data
            if len(self._input) < self._wanted:
                return
            data = self._input  # type: ignore[assignment]  # sliced like bytes
        self._take_in(data)

    def _take_in(self, data: bytes | bytearray) -> None:
        """Take in every frame that is whole, but not too many at once; keep the rest."""
        at, end = 0, len(data)
        self._wanted = 0
        budget = limits.messages_per_turn
        while end - at >= 2:
            if self._is_held:
                break
            if not budget:
                # The others come first.
                self.hold()
                self.release()
                break
            head, second = data[at], data[at + 1]
            length = second & 0x7F
            start = at + 6
            if length == 126:
                if end - at < 4:
                    break
                length = int.from_bytes(data[at + 2 : at + 4], "big")
                start = at + 8
            elif length == 127:
                if end - at < 10:
                    break
                length = int.from_bytes(data[at + 2 : at + 10], "big")
                start = at + 14
            if head != _WHOLE_TEXT or self._kind or not second & _MASKED:
                wrong = self._wrong(head, second, length)
                if wrong is not None:
                    self._fail(*wrong)
                    return
            if len(self._message) + length > self._message_bytes_max:
                self._fail(
                    CloseCode.MESSAGE_TOO_BIG,
                    f"a message may have {self._message_bytes_max} bytes, and this has more",
                )
                return
            after = start + length
            if after > end:
                self._wanted = after - at
                break
            payload = apply_mask(data[start:after], data[start - 4 : start])
            at = after
            budget -= 1
            if head == _WHOLE_TEXT:
                self._text(payload)
            else:
                self._frame(head, payload)
            if self._is_closing and self._transport.is_closing():
                return
        rate = self._rate
        rate.spent += limits.messages_per_turn - budget
        if rate.spent > rate.most and not self._is_closing:
            self._receiver.flooded()
        if at == end:
            self._input = b""
        elif at or data is not self._input:
            self._input = data[at:]

    def _wrong(self, head: int, second: int, length: int) -> tuple[int, str] | None:
        """Return why a frame must not come now, if so (RFC 6455 5)."""
        opcode = head & 0x0F
        is_last = bool(head & _FIN)
        if head & 0x70:
            return CloseCode.PROTOCOL_ERROR, "reserved bits must be 0"
        if not second & _MASKED:
            return CloseCode.PROTOCOL_ERROR, "frames of clients are masked"
        if opcode in {_CLOSE, _PING, _PONG}:
            if length > _CONTROL_BYTES_MAX or not is_last:
                return CloseCode.PROTOCOL_ERROR, "a control frame is short and whole"
        elif opcode in {_TEXT, _BINARY}:
            if self._kind:
                return CloseCode.PROTOCOL_ERROR, "a message began within another"
        elif opcode != _CONTINUATION:
            return CloseCode.PROTOCOL_ERROR, "an unknown kind of frame"
        elif not self._kind:
            return CloseCode.PROTOCOL_ERROR, "there is no message to continue"
        return None

    def _frame(self, head: int, payload: bytes) -> None:
        opcode = head & 0x0F
        if opcode == _PING:
            if not self._is_closing:
                self._transport.write(_control(_PONG, payload))
        elif opcode == _CLOSE:
            self._closed_by_client(payload)
        elif opcode != _PONG:
            if not self._kind:
                self._kind, self._message = opcode, bytearray()
            self._message += payload
            if head & _FIN:
                kind, whole = self._kind, bytes(self._message)
                self._kind, self._message = 0, b""
                if kind == _TEXT:
                    self._text(whole)
                elif not self._is_closing:
                    self._receiver.received_binary()

    def _text(self, payload: bytes) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "a text is UTF-8")
            return
        if not self._is_closing:
            self._receiver.received(text)

    def _closed_by_client(self, payload: bytes) -> None:
        try:
            Close.parse(payload)
        except (ProtocolError, UnicodeDecodeError):
            self._fail(CloseCode.PROTOCOL_ERROR, "a malformed close frame")
            return
        if not self._is_closing:
            self.flush()
            self._end()
            self._transport.write(_control(_CLOSE, payload))
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """End a connection whose client broke the rules of WebSockets."""
        self.close(code, reason)
        self._transport.close()


def _ignore(frame: bytes) -> None:
    """Take a frame for a connection that has ended."""


def _control(opcode: int, payload: bytes) -> bytes:
    return bytes((_FIN | opcode, len(payload))) + payload


class Handshake(WebSocketsSansIOProtocol):
    """uvicorn's protocol, up to the moment at which the application has accepted a connection.

    Then `give_over`, which the scope has as an extension, makes it one of ours.
    """

    #: How often the application has asked what comes: the handshake is the first.
    _asked = 0
    #: In the server's count of connections; our HTTP connection hands it over.
    place: Place

    def connection_lost(self, exc: Exception | None) -> None:
        """Take in that the client is gone before the connection was ours."""
        super().connection_lost(exc)
        self.place.leave()

    def handle_connect(self, event: Request) -> None:
        """Take in the request; who is refused by it has no scope."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions = cast("dict[str, Any]", self.scope["extensions"])
            extensions[EXTENSION] = self.give_over
            # What the client sends at once is for the one who takes over.
            self.transport.pause_reading()

    async def receive(self) -> ASGIReceiveEvent:
        """Return what comes; whoever asks for more than the handshake lets it stay this protocol."""
        self._asked += 1
        if self._asked == 2:
            self.transport.resume_reading()
        return await super().receive()

    def give_over(
        self, receiver: Receiver, turn: LoopTurn, now_s: float, network: NetworkLimits
    ) -> WebSocketConnection:
        """Return the connection, whose messages `receiver` gets."""
        self.stop_keepalive()
        transport, self.transport = self.transport, _GIVEN_OVER
        self.connections.discard(self)
        connection = WebSocketConnection(
            transport, receiver, self.connections, turn, now_s, network, self.place
        )
        transport.set_protocol(connection)
        if self.disconnected:
            asyncio.get_running_loop().call_soon(connection.connection_lost, None)
        elif not transport.is_closing():
            transport.resume_reading()
        return connection


class _GivenOver(asyncio.Transport):
    """What the handshake closes at its end: nothing."""

    def close(self) -> None:
        """Leave the connection to whom it belongs."""


_GIVEN_OVER: Final = _GivenOver()
