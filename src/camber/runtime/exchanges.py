"""The two ends of an HTTP request that is answered in another process, or on another loop.

The server's end carries messages between the client and the wire, the action's end between the
wire and user code. Each way only so many bytes may be on their way (`limits.http_window_bytes`): an
end says what it has got rid of, so that a slow reader slows the writer down, whichever is which.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from camber import limits
from camber.errors import Overloaded
from camber.host import Host
from camber.runtime import frames
from camber.runtime.executor import FunctionCall
from camber.runtime.http_requests import Exchange, Message

_log = logging.getLogger("camber.server")

#: What messages are made of; what else a server has in its own is nobody's business here.
_KEYS: Final = frozenset({"type", "body", "more_body", "bytes", "text", "code", "reason"})

ToAction: TypeAlias = "frames.Heard | frames.Taken"
FromAction: TypeAlias = "frames.Said | frames.Taken"


class ClientLeft(OSError):
    """What is sent to a client that has gone: ASGI wants an `OSError`."""


class _Window:
    """How much is on its way in one direction."""

    def __init__(self) -> None:
        self._bytes = 0
        self._left = asyncio.Event()
        self._is_open = False

    async def enter(self, size: int) -> None:
        """Return once there is room; one message that is larger than all of it has it alone."""
        while self._bytes and self._bytes + size > limits.http_window_bytes and not self._is_open:
            self._left.clear()
            await self._left.wait()
        self._bytes += size

    def leave(self, size: int) -> None:
        """Note that what took this much has arrived."""
        self._bytes -= size
        self._left.set()

    def open(self) -> None:
        """Let whoever waits go on: nothing arrives any more."""
        self._is_open = True
        self._left.set()


def _size(message: Message) -> int:
    parts = (message.get("body"), message.get("bytes"), message.get("text"))
    return limits.http_message_bytes + sum(len(part) for part in parts if part)


def too_many_requests(call: FunctionCall) -> Overloaded:
    """Return what is told of a request that is one too many."""
    return Overloaded(
        f"{call.path} cannot start: {limits.http_actions_in_flight_max} HTTP actions run, the most "
        "at once. Try again in a moment"
    )


class ServerEnd:
    """The server's end. Lives on the server's loop."""

    def __init__(self, host: Host, exchange: Exchange) -> None:
        self._host = host
        self._exchange = exchange
        self._window = _Window()
        self._said: deque[Message | None] = deque()
        self._more = asyncio.Event()
        self._is_gone = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, id: int, tell: Callable[[ToAction], None]) -> None:
        """Begin to carry messages of the request `id`, through `tell` to its action."""
        self._id = id
        self._tell = tell
        self._tasks = [
            self._host.spawn(f"request {id}", self._hear()),
            self._host.spawn(f"response {id}", self._say()),
        ]

    def received(self, message: FromAction) -> None:
        """Take in what the action's end says."""
        match message:
            case frames.Said():
                self._said.append(message.message)
                self._more.set()
            case frames.Taken():
                self._window.leave(message.size)

    async def end(self) -> None:
        """Return when all that the action has said is with the client, or the client is gone."""
        if self._tasks:
            self._said.append(None)
            self._more.set()
            await asyncio.wait([self._tasks[1]])
            self._tasks[0].cancel()
            self._tasks = []

    def abandon(self) -> None:
        """Tell the action, if it still runs, that nobody waits for it, and carry nothing more."""
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            self._leave()

    async def _hear(self) -> None:
        """Hand on what the client sends, until it is gone or has no more to say."""
        while not self._is_gone:
            try:
                message = await self._exchange.receive()
            except Exception as error:  # noqa: BLE001  # whatever server this is, its client is gone
                _log.debug("request %d: %s", self._id, error)
                self._leave()
                return
            plain = {name: value for name, value in message.items() if name in _KEYS}
            await self._window.enter(_size(plain))
            if plain["type"].endswith(".disconnect"):
                self._is_gone = True
            self._tell(frames.Heard(id=self._id, message=plain))

    async def _say(self) -> None:
        """Hand on what the action sends, as fast as the client takes it."""
        while True:
            while not self._said:
                self._more.clear()
                await self._more.wait()
            message = self._said.popleft()
            if message is None:
                return
            try:
                await self._exchange.send(message)
            except Exception as error:  # noqa: BLE001  # as above
                _log.debug("response %d: %s", self._id, error)
                self._leave()
                return
            self._tell(frames.Taken(id=self._id, size=_size(message)))

    def _leave(self) -> None:
        if not self._is_gone:
            self._is_gone = True
            self._tell(frames.Heard(id=self._id, message={"type": "http.disconnect"}))


class ActionEnd:
    """The action's end: `receive` and `send` as an ASGI application has them."""

    def __init__(self, id: int, tell: Callable[[FromAction], None]) -> None:
        self._id = id
        self._tell = tell
        self._window = _Window()
        self._heard: deque[Message] = deque()
        self._more = asyncio.Event()
        self._gone: Message | None = None
        self._has_gone = asyncio.Event()

    @property
    def is_gone(self) -> bool:
        """Return whether the client has gone, as far as anybody knows."""
        return self._gone is not None

    async def gone(self) -> None:
        """Return when the client has gone."""
        await self._has_gone.wait()

    def received(self, message: ToAction) -> None:
        """Take in what the server's end says."""
        match message:
            case frames.Heard(message=heard):
                if heard["type"].endswith(".disconnect"):
                    self._gone = heard
                    self._has_gone.set()
                    # Nobody takes what is sent: whoever waits for room is told.
                    self._window.open()
                else:
                    self._heard.append(heard)
                self._more.set()
            case frames.Taken():
                self._window.leave(message.size)

    async def receive(self) -> Message:
        """Return what the client sends next; that it is gone, again and again."""
        while not self._heard and self._gone is None:
            self._more.clear()
            await self._more.wait()
        if not self._heard:
            assert self._gone is not None
            return dict(self._gone)
        message = self._heard.popleft()
        self._tell(frames.Taken(id=self._id, size=_size(message)))
        return message

    async def send(self, message: Message) -> None:
        """Send a message once there is room.

        Raises:
            ClientLeft: there is nobody to send it to.
        """
        if self._gone is None:
            await self._window.enter(_size(message))
        if self._gone is not None:
            raise ClientLeft("the client has gone")
        self._tell(frames.Said(id=self._id, message=dict(message)))
