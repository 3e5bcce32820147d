"""WebSockets between clients and the server: frames in order, late, and sometimes not at all.

A connection does what TCP does. It never loses a frame and delivers the next: a frame that is lost
takes the connection with it, and whether and when either side hears of that is chance. The server
is the real ASGI application, spoken to as any server that holds one would.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import Machine, SimulatedLoop

Application = Callable[[Any, Any, Any], Any]

#: Bytes on their way to a client before whoever sends has to wait.
_WINDOW_BYTES = 8_000


class Refused(ConnectionError):
    """Nobody listens."""


class Lost(ConnectionError):
    """The connection broke before the answer came: nobody knows whether it was done."""


class Weather:
    """How the network behaves at the moment."""

    def __init__(self) -> None:
        #: How long a frame takes at most, in nanoseconds.
        self.frame_ns_max = 8_000_000


class Network:
    """What connects clients to the one server that listens, if one does."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random) -> None:
        self.loop = loop
        self.chance = chance
        self.weather = Weather()
        self._server: tuple[Machine, Application] | None = None
        self.connections: list[Connection] = []
        self.exchanges: list[Exchange] = []

    def listen(self, machine: Machine, application: Application) -> None:
        """Take connections in; those of a server that is killed break."""
        self._server = (machine, application)
        machine.on_killed.append(self._server_gone)

    def unlisten(self) -> None:
        """Take no new connections in."""
        self._server = None

    def _server_gone(self) -> None:
        self._server = None
        for connection in list(self.connections):
            connection.lose_server()
        for exchange in self.exchanges:
            exchange.lose()

    async def connect(self, machine: Machine, path: str) -> Connection:
        """Open a WebSocket from a client's machine.

        Raises:
            Refused: nobody listens.
        """
        await asyncio.sleep(self.chance.uniform(0.0005, 0.01))
        if self._server is None:
            msg = "nobody listens"
            raise Refused(msg)
        server, application = self._server
        connection = Connection(self, machine, server)
        self.connections.append(connection)
        server.start(connection.serve(application, path), "connection")
        return connection

    async def request(self, machine: Machine, path: str, body: str) -> tuple[int, str]:
        """Send an HTTP request with a JSON body; return the status and the body of the answer.

        Raises:
            Refused: nobody listens.
            Lost: there is no answer.
        """
        await asyncio.sleep(self.frame_ns() / 1e9)
        if self._server is None:
            msg = "nobody listens"
            raise Refused(msg)
        server, application = self._server
        exchange = Exchange(self, machine)
        self.exchanges.append(exchange)
        server.start(exchange.serve(application, path, body.encode()), "request")
        try:
            return await exchange.answer
        finally:
            self.exchanges.remove(exchange)

    def frame_ns(self) -> int:
        """Return how long a frame takes."""
        return self.chance.randint(20_000, self.weather.frame_ns_max)


class _Direction:
    """One way of a connection: what is sent arrives in order, unless the way is cut."""

    def __init__(self, network: Network, receiver: Machine) -> None:
        self._network = network
        self._receiver = receiver
        self._arrived: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._last_ns = 0
        self._under_way = 0
        self.is_cut = False
        self.is_ended = False

    def send(self, item: Any) -> None:
        """Send something; None is the end."""
        if self.is_cut or self.is_ended:
            return
        if item is None:
            self.is_ended = True
        loop = self._network.loop
        self._last_ns = max(self._last_ns + 1, loop.now_ns + self._network.frame_ns())
        self._under_way += _size(item)
        context = loop.world.context
        loop.call_in(self._last_ns - loop.now_ns, self._arrive, item, context=context)

    def _arrive(self, item: Any) -> None:
        if self.is_cut and item is not None:
            return
        self._under_way -= _size(item)
        _wake(self._room)
        if self._receiver.is_alive:
            self._network.loop.note(f"to {self._receiver.name} {item!r}")
            self._arrived.append(item)
            _wake(self._waiting)

    async def room(self) -> None:
        """Return when there is room for more on the way."""
        while self._under_way > _WINDOW_BYTES and not self.is_ended:
            self._room = self._network.loop.create_future()
            await self._room

    async def receive(self) -> Any:
        """Return what comes next; None at the end, and ever after."""
        while not self._arrived:
            self._waiting = self._network.loop.create_future()
            await self._waiting
        if self._arrived[0] is None:
            return None
        return self._arrived.popleft()

    def end(self) -> None:
        """Tell the receiver of the end, also where the way is cut."""
        self.is_cut = False
        self.send(None)
        self.is_cut = True
        self.is_ended = True
        _wake(self._room)


def _size(item: Any) -> int:
    return 0 if item is None else len(item)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


class Connection:
    """One WebSocket."""

    def __init__(self, network: Network, client: Machine, server: Machine) -> None:
        self._network = network
        self._up = _Direction(network, server)
        self._down = _Direction(network, client)
        self._is_announced = False
        #: The server knows that the client is gone.
        self._is_over = False

    # The client's side.

    def send(self, text: str) -> None:
        """Send a frame."""
        self._up.send(text)

    async def receive(self) -> str | None:
        """Return the next frame; None at the end."""
        received: str | None = await self._down.receive()
        return received

    def close(self) -> None:
        """End it, as a client does that knows."""
        self._up.end()
        self._down.end()
        self._forget()

    # What befalls it.

    def cut(self) -> None:
        """Break it: what is on its way is lost, and both sides hear of it some time."""
        chance = self._network.chance
        self._up.is_cut = self._down.is_cut = True
        self._later(chance.uniform(0, 0.1), self._down.end)
        # The server may believe for long that the client is there, and sends to nobody.
        self._later(chance.choice((0.05, 2.0, 40.0)), self._up.end)
        self._forget()

    def swallow(self) -> None:
        """Lose every frame from now on, and tell nobody until long after."""
        self._up.is_cut = self._down.is_cut = True
        self._later(self._network.chance.uniform(20, 90), self._up.end)
        self._later(self._network.chance.uniform(20, 90), self._down.end)
        self._forget()

    def lose_server(self) -> None:
        """The server's process was killed: its machine says so to the client, or is gone too."""
        self._up.is_cut = True
        self._later(self._network.chance.choice((0.001, 0.001, 0.02, 60.0)), self._down.end)
        self._forget()

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        loop = self._network.loop
        loop.call_in(int(seconds * 1e9), function, context=loop.world.context)

    def _forget(self) -> None:
        if self in self._network.connections:
            self._network.connections.remove(self)

    # The server's side.

    async def serve(self, application: Application, path: str) -> None:
        """Have the application serve it."""
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [],
            "client": ("client", 1),
            "server": ("server", 80),
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        try:
            await application(scope, self._server_receives, self._server_sends)
        finally:
            self._down.end()

    async def _server_receives(self) -> dict[str, Any]:
        if not self._is_announced:
            self._is_announced = True
            return {"type": "websocket.connect"}
        text = await self._up.receive()
        if text is None:
            self._is_over = True
            return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        return {"type": "websocket.receive", "text": text}

    async def _server_sends(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                return
            case "websocket.send":
                if self._is_over:
                    msg = "the client is gone"
                    raise OSError(msg)
                self._down.send(message.get("text") or message["bytes"].decode())
                await self._down.room()
            case "websocket.close" | "websocket.http.response.start":
                self._down.end()
                self._up.end()
                self._forget()
            case "websocket.http.response.body":
                return
            case other:
                msg = f"an ASGI message of type {other}"
                raise AssertionError(msg)


class Exchange:
    """One HTTP request and its answer."""

    def __init__(self, network: Network, client: Machine) -> None:
        self._network = network
        self._client = client
        self.answer: asyncio.Future[tuple[int, str]] = network.loop.create_future()
        self._is_asked = False
        self._gone: asyncio.Future[None] = network.loop.create_future()

    def lose(self) -> None:
        """Break the connection."""
        self._arrive(lambda: self.answer.set_exception(Lost("the connection broke")))
        _wake(self._gone)

    def _arrive(self, tell: Callable[[], None]) -> None:
        """Tell the client, unless it has heard before."""
        loop = self._network.loop
        loop.call_in(
            self._network.frame_ns(),
            lambda: None if self.answer.done() else tell(),
            context=loop.world.context,
        )

    async def serve(self, application: Application, path: str, body: bytes) -> None:
        """Have the application answer."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path.partition("?")[0],
            "raw_path": path.partition("?")[0].encode(),
            "root_path": "",
            "query_string": path.partition("?")[2].encode(),
            "headers": [(b"content-type", b"application/json")],
            "client": ("client", 1),
            "server": ("server", 80),
            "state": {},
        }
        status = 0
        parts: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if not self._is_asked:
                self._is_asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await self._gone
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                answer = (status, b"".join(parts).decode())
                self._network.loop.note(f"answers {self._client.name} {answer}")
                self._arrive(lambda: self.answer.set_result(answer))

        await application(scope, receive, send)
