"""Thousands of clients in one process: sockets that hold their subscriptions and count what comes."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

_OPENING = 64
_TEXT, _CLOSE, _PING = 1, 8, 9


class Client(asyncio.Protocol):
    """One socket. `transitions` counts those that came, `values` is what was shown last."""

    def __init__(self, host: str, adds: list[tuple[str, dict[str, Any]]]) -> None:
        self._host = host
        self._adds = adds
        self._buffer = b""
        self._is_open = False
        self.values: dict[int, Any] = {}
        self.transitions = 0
        self.closed: str | None = None
        self.changed = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /api/1.48.0/sync HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            if b"\r\n\r\n" not in self._buffer:
                return
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                self._end(head.decode())
                return
            self._is_open = True
            self._begin()
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"lost: {exc}")

    def send(self, **message: Any) -> None:
        payload = json.dumps(message).encode()
        size = len(payload)
        head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2)
        # A mask of zeros changes nothing, which is what masking 10,000 clients costs.
        self.transport.write(head + b"\0\0\0\0" + payload)

    def _begin(self) -> None:
        self.send(type="Connect", sessionId=str(uuid.uuid4()), connectionCount=0, clientTs=0)
        changes = [
            {"type": "Add", "queryId": number, "udfPath": path, "args": [args]}
            for number, (path, args) in enumerate(self._adds)
        ]
        self.send(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=changes)

    def _frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(buffer[2:4]), 4
        elif size == 127:
            size, at = int.from_bytes(buffer[2:10]), 10
        if len(buffer) < at + size:
            return None
        self._buffer = buffer[at + size :]
        return buffer[0] & 0x0F, buffer[at : at + size]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.transport.write(bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        elif opcode == _CLOSE:
            self._end(f"{int.from_bytes(payload[:2])} {payload[2:].decode()}")
        elif opcode == _TEXT:
            message = json.loads(payload)
            if message["type"] == "Transition":
                self.transitions += 1
                for change in message["modifications"]:
                    self.values[change["queryId"]] = change.get("value")
                self.changed.set()

    def _end(self, why: str) -> None:
        self.closed = self.closed or why
        self.changed.set()
        self.transport.close()


async def opened(url: str, subscriptions: list[list[tuple[str, dict[str, Any]]]]) -> list[Client]:
    """Return clients that have been shown all that they subscribe to, one for each of the lists."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    host, port = address.hostname, address.port
    loop = asyncio.get_running_loop()
    turn = asyncio.Semaphore(_OPENING)

    async def one(adds: list[tuple[str, dict[str, Any]]]) -> Client:
        async with turn:
            _, client = await loop.create_connection(
                lambda: Client(address.netloc, adds), host, port
            )
            await until(client, lambda: len(client.values) == len(adds))
        return client

    return list(await asyncio.gather(*map(one, subscriptions)))


async def until(client: Client, condition: Any) -> None:
    """Wait until what a client was shown meets the condition."""
    async with asyncio.timeout(120):
        while not condition():
            assert client.closed is None, client.closed
            client.changed.clear()
            await client.changed.wait()
