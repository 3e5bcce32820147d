"""A WebSocket client that may break every rule of RFC 6455."""

from __future__ import annotations

import json
import os
import socket
import struct
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
_TIMEOUT_S = 20


class Hangs(AssertionError):
    """The server neither answers nor closes."""


class RawSocket:
    """One connection. `read_to_end` reads what the server says until it closes."""

    def __init__(self, url: str, path: str = "/api/1.48.0/sync") -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self._socket = socket.create_connection((address.hostname, address.port), _TIMEOUT_S)
        self._buffer = b""
        #: What the server sent as text, and how it closed: None if it only hung up.
        self.messages: list[dict[str, Any]] = []
        self.closed: int | None = None
        key = b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = self._until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def send(
        self, payload: bytes, opcode: int = TEXT, *, fin: bool = True, reserved: int = 0,
        masked: bool = True,
    ) -> None:  # fmt: skip
        """Send one frame. What the server does not read any more is no matter."""
        first = (0x80 if fin else 0) | (reserved << 4) | opcode
        mask = 0x80 if masked else 0
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", first, mask | size)
        elif size < 2**16:
            head = struct.pack(">BBH", first, mask | 126, size)
        else:
            head = struct.pack(">BBQ", first, mask | 127, size)
        key = os.urandom(4) if masked else b""
        self.send_raw(head + key + (_masked(payload, key) if masked else payload))

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def read_to_end(self) -> None:
        """Read until the server has closed."""
        try:
            while self._read_frame():
                pass
        except TimeoutError:
            raise Hangs(f"no close after {_TIMEOUT_S} s; it said {self.messages[-3:]}") from None
        except (EOFError, ConnectionResetError):
            return
        finally:
            self._socket.close()

    def close(self) -> None:
        """Hang up, in the middle of whatever it is."""
        self._socket.close()

    def _read_frame(self) -> bool:
        first, second = self._take(2)
        opcode, size = first & 0x0F, second & 0x7F
        assert first & 0x80, "the server sends no fragments"
        assert not second & 0x80, "a server does not mask"
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        payload = self._take(size)
        if opcode == CLOSE:
            self.closed = struct.unpack(">H", payload[:2])[0] if payload else 1005
            self.send(payload[:2], CLOSE)
            return False
        if opcode == TEXT:
            self.messages.append(json.loads(payload.decode()))
        else:
            assert opcode in {PING, PONG}, opcode
        return True

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(end)
        return head

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


def _masked(payload: bytes, key: bytes) -> bytes:
    pad = key * (len(payload) // 4 + 1)
    size = len(payload)
    return (int.from_bytes(payload) ^ int.from_bytes(pad[:size])).to_bytes(size)
