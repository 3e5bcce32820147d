"""A client's connection by plain ASGI messages, for servers that are not ours."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from camber.host import Host
from camber.server.outlets import Receiver
from camber.sync.frames import text_of


class AsgiConnection:
    """An `Outlet` that sends what is written by a task of its own, message by message."""

    def __init__(self, websocket: WebSocket, host: Host) -> None:
        self._websocket = websocket
        self._host = host
        self._unsent: list[bytes] = []
        self._close: tuple[int, str] | None = None
        self._filled = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._is_gone = False

    @property
    def is_full(self) -> bool:
        """Return whether something waits to be sent."""
        return bool(self._unsent)

    @property
    def held_bytes(self) -> int:
        """Return the bytes that wait to be sent."""
        return sum(map(len, self._unsent))

    def write(self, frame: bytes) -> None:
        if self._close is None and not self._is_gone:
            self._unsent.append(frame)
            self._filled.set()

    def write_soon(self, frame: bytes) -> None:
        # The writer has its turn after this one.
        self.write(frame)

    def close(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = code, reason
            self._filled.set()
            self._may_read.set()

    def hold(self) -> None:
        self._may_read.clear()

    def release(self) -> None:
        self._may_read.set()

    def beat(self, now_s: float) -> None:
        """Do nothing: the server that we are mounted in looks after its connections."""

    async def serve(self, receiver: Receiver) -> None:
        """Carry messages both ways until the connection is gone."""
        writer = self._host.spawn("socket writer", self._send(receiver))
        try:
            await self._read(receiver)
        finally:
            self._is_gone = True
            writer.cancel()
            await asyncio.wait([writer])
            receiver.lost()

    async def _read(self, receiver: Receiver) -> None:
        while True:
            await self._may_read.wait()
            try:
                message = await self._websocket.receive()
            except (WebSocketDisconnect, RuntimeError):
                return
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if self._close is not None:
                continue
            if text is None:
                receiver.received_binary()
            else:
                receiver.received(text)

    async def _send(self, receiver: Receiver) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._unsent:
                    # Sent first, and then taken away: what is being sent is not out yet.
                    await self._websocket.send_text(text_of(self._unsent[0]).decode())
                    del self._unsent[0]
                if self._close is not None:
                    await self._websocket.close(*self._close)
                    return
                receiver.has_room()
        except (WebSocketDisconnect, RuntimeError):
            # The reader finds out too, and ends.
            self._may_read.set()
