"""HTTP connections that send an answer's head with its body: one piece, one system call, one packet."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection, whose answers are written through `JoinedWrites`."""

    def on_headers_complete(self) -> None:
        """Take in a request, once all its headers are there."""
        before = self.cycle
        super().on_headers_complete()
        # A request that becomes a WebSocket has none.
        if self.cycle is not before:
            joined = JoinedWrites(self.transport, self.loop)
            self.cycle.transport = cast("asyncio.Transport", joined)


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
