"""A client's connection, as the sync shell sees it: what frames are written to, and who takes in.

There are two kinds, one for our own server, which writes finished frames to the transport
(`websocket_connection`), and one for any ASGI server (`asgi_connection`).
"""

from __future__ import annotations

from typing import Protocol


class Outlet(Protocol):
    """Where the frames of one client go. Everything is called on the loop."""

    @property
    def is_full(self) -> bool:
        """Return whether more has been written than the client has taken in so far.

        What is written then is kept, and `Receiver.has_room` is called once it is out.
        """

    @property
    def held_bytes(self) -> int:
        """Return the bytes that are kept: those that the client has not taken in, halves of messages."""

    def write(self, frame: bytes, /) -> None:
        """Write one text frame, made by `sync.frames.framed`. A closed connection ignores it."""

    def write_soon(self, frame: bytes, /) -> None:
        """Write one at the end of this turn of the loop, with what else is written until then."""

    def close(self, code: int, reason: str) -> None:
        """Close the connection after what was written; nothing is written any more."""

    def hold(self) -> None:
        """Take in nothing more until `release`."""

    def release(self) -> None:
        """Take in again."""

    def beat(self, now_s: float) -> None:
        """Do what is to be done from time to time: look whether the client is still there."""


class Receiver(Protocol):
    """Who takes in what a client sends."""

    def received(self, text: str) -> None:
        """Take in a text message."""

    def received_binary(self) -> None:
        """Take in that there was a message that is no text."""

    def has_room(self) -> None:
        """Take in that all is out that was written while the outlet was full."""

    def stalled(self) -> None:
        """Take in that the client takes in too little of what waits for it; it is to be dropped."""

    def flooded(self) -> None:
        """Take in that the client has sent more messages than it may; it is to be dropped."""

    def lost(self) -> None:
        """Take in that the connection is gone; called once, and nothing after it."""
