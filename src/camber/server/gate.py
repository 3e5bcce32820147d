"""Who is let in: how many connections there may be, in all and from one address, and how slow they may be.

A connection that is one too many is told so (503, 429) and closed; beyond some that are being told, the
next are just cut off. Who is let in must send the head of its request, and then its body, in a
reasonable time, and take in the answer: whoever opens connections and lets them lie takes them from
others.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import Protocol

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.errors import ErrorKind, Overloaded, RateLimited, RequestError
from camber.host import Host
from camber.server.proxies import Proxies

#: How often connections are looked after, in seconds.
_BEAT_S = 1.0


class Watched(Protocol):
    """A connection that is looked after."""

    def beat(self, now_s: float) -> int:
        """Close if what is waited for takes too long; return the bytes that wait for the client."""

    def drop(self) -> None:
        """Close at once: too many bytes wait for it."""


class Gate:
    """The door of one server's ports. `refused` counts who was turned away or dropped, by code."""

    def __init__(self, network: NetworkLimits, refused: Counter[str]) -> None:
        self._network = network
        self._proxies = Proxies(network)
        self.refused = refused
        #: Connections that are in, whether they speak HTTP or have become sockets.
        self.connections = 0
        self._by_address: Counter[str] = Counter()
        #: Those that speak HTTP; and of them, who are being told that they are refused.
        self._watched: dict[Watched, None] = {}
        self.being_refused = 0

    def enter(self, address: str | None) -> Place | RequestError:
        """Let a connection in, or return why not. It has its place until it leaves it."""
        most = self._network.connections
        if most and self.connections >= most:
            msg = f"this server has {most} connections, the most that it takes; try again later"
            return Overloaded(msg, code="TooManyConnections")
        if address is not None and self._proxies.has(address):
            address = None
        most = self._network.connections_per_address
        if address is not None and most and self._by_address[address] >= most:
            msg = f"your address has {most} connections, the most for one; close some"
            return RateLimited(msg, code="TooManyConnectionsFromAddress")
        self.connections += 1
        if address is not None:
            self._by_address[address] += 1
        return Place(self, address)

    def left(self, address: str | None) -> None:
        """Take in that a connection has ended."""
        self.connections -= 1
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def watch(self, connection: Watched) -> None:
        """Look after a connection from time to time."""
        self._watched[connection] = None

    def forget(self, connection: Watched) -> None:
        """Look after it no more."""
        self._watched.pop(connection, None)

    async def look_after(self, host: Host) -> None:
        """Look after connections for ever."""
        while True:
            await host.sleep(_BEAT_S)
            now_s = host.monotonic()
            heavy: list[tuple[int, Watched]] = []
            for number, connection in enumerate(list(self._watched), start=1):
                if connection in self._watched:
                    size = connection.beat(now_s)
                    if size:
                        heavy.append((size, connection))
                if number % limits.watchers_told_per_turn == 0:
                    # Whoever waits for an answer comes in between.
                    await host.sleep(0)
            _drop_heaviest(heavy)


def _drop_heaviest(heavy: list[tuple[int, Watched]]) -> None:
    """Drop those for whom most bytes wait, until all that wait are within their bound."""
    heavy.sort(key=itemgetter(0))
    total = sum(size for size, _ in heavy)
    while total > limits.http_answers_bytes_max:
        size, connection = heavy.pop()
        total -= size
        connection.drop()


class Place:
    """What a connection has while it is in."""

    __slots__ = ("_address", "_gate")

    def __init__(self, gate: Gate, address: str | None) -> None:
        self._gate: Gate | None = gate
        self._address = address

    def leave(self) -> None:
        """Give it up; once is enough."""
        if self._gate is not None:
            self._gate.left(self._address)
            self._gate = None


def too_slow(what: str, seconds: float) -> RequestError:
    """Return what is said of a request that took too long to come."""
    msg = f"{what} took longer than {seconds:g} s, the most for it"
    return RequestError(msg, code="RequestTimeout", kind=ErrorKind.CLIENT_DISCONNECT)
