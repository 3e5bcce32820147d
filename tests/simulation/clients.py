"""A client as the official ones are: it reconnects, and sends again what was not settled.

Its books are kept by `tests.sync.client.Books`, one for each socket, which complain of every breach
of the protocol. What it has seen and what it was told is kept for the oracle.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.loop import Machine, SimulatedLoop
from tests.simulation.network import Connection, Network, Refused
from tests.simulation.operations import MUTATIONS, QUERIES, Arguments, Draw, Repertoire
from tests.sync.client import Books, text_of, ts_of

_PATH = "/api/1.27.0/sync"
#: Without a frame for so long a client takes its connection for dead, in seconds.
_SILENCE_S = 30.0


@dataclass
class Request:
    """A mutation that a client wants done once."""

    number: int
    name: str
    arguments: Arguments
    #: How many frames have asked for it.
    frames: int = 0
    #: The first answer; later ones have to equal it.
    answer: dict[str, Any] | None = None

    @property
    def ts(self) -> int | None:
        """Return when it was committed, as the client was told."""
        if self.answer is None or not self.answer["success"]:
            return None
        return int(ts_of(self.answer["ts"]))


@dataclass(frozen=True)
class Seen:
    """What a query's value was for a client at a timestamp."""

    ts: int
    name: str
    arguments: Arguments
    value: Any


@dataclass
class Client:
    """One client, on a machine of its own."""

    name: str
    loop: SimulatedLoop
    network: Network
    chance: random.Random
    repertoire: Repertoire
    mutations_left: int
    #: Seconds between two things that it does, at most.
    pause_s: float
    duplicates: bool
    #: How many mutations it sends at once, now and then.
    burst: int
    #: How many names of each kind there are: see `operations.Draw`.
    names: int
    requests: list[Request] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    #: What it subscribes to, by query id.
    wanted: dict[int, tuple[str, Arguments]] = field(default_factory=dict)
    sessions: int = 0
    stops: bool = False

    def __post_init__(self) -> None:
        self.machine = Machine(self.name, self.loop)
        self._session = str(_uuid(self.chance))
        self._unsettled: dict[int, Request] = {}
        self._connection: Connection | None = None
        self._books = Books()
        self._version = 0
        #: The newest that it was shown or told, on any socket; and when this socket was opened.
        self._max_ts = 0
        self._floor_ts = 0
        self._next_query = 0
        self._named: dict[int, tuple[str, Arguments]] = {}
        #: Requests that no earlier socket has asked for, so that their commit is not seen before.
        self._fresh: set[int] = set()
        self._last_frame_s = 0.0
        self.machine.start(self._keep_connected(), f"{self.name} connection")
        self.machine.start(self._act(), f"{self.name} acts")

    # What it does.

    async def _act(self) -> None:
        for _ in range(2):
            self._subscribe()
        while self.mutations_left and not self.stops:
            await asyncio.sleep(self.chance.uniform(0, self.pause_s))
            roll = self.chance.random()
            if roll < 0.65:
                # Some come several at once, which the server queues.
                for _ in range(self.chance.choice((1, 1, 2, self.burst))):
                    self._mutate()
            elif roll < 0.8:
                self._subscribe()
            elif roll < 0.9:
                self._unsubscribe()
            elif roll < 0.95 and self._connection is not None:
                self._connection.close()
            elif self.duplicates and self._unsettled:
                # A request that a proxy has sent twice.
                self._ask(self.chance.choice(list(self._unsettled.values())))
        self.mutations_left = 0

    def _mutate(self) -> None:
        if not self.mutations_left:
            return
        self.mutations_left -= 1
        number = len(self.requests)
        name = self.repertoire.mutation(self.chance)
        arguments = MUTATIONS[name].draw(self._draw(f"{self.name}-{number:04}"))
        request = Request(number, name, arguments)
        self.requests.append(request)
        self._unsettled[number] = request
        self._fresh.add(number)
        self._ask(request)

    def _draw(self, marker: str) -> Draw:
        return Draw(self.chance, marker, self.names)

    def _subscribe(self) -> None:
        if len(self.wanted) >= 6:
            return
        name = self.repertoire.query(self.chance)
        query_id = self._next_query
        self._next_query += 1
        call = (name, QUERIES[name].draw(self._draw("")))
        self.wanted[query_id] = self._named[query_id] = call
        self._modify([_add(query_id, call)])

    def _unsubscribe(self) -> None:
        if len(self.wanted) > 1:
            query_id = self.chance.choice(list(self.wanted))
            del self.wanted[query_id]
            self._modify([{"type": "Remove", "queryId": query_id}])

    # What it sends.

    def _send(self, **message: Any) -> None:
        if self._connection is not None:
            self._connection.send(json.dumps(message))

    def _modify(self, changes: list[dict[str, Any]]) -> None:
        if self._connection is None:
            return
        base, self._version = self._version, self._version + 1
        self._send(
            type="ModifyQuerySet",
            baseVersion=base,
            newVersion=self._version,
            modifications=changes,
        )

    def _ask(self, request: Request) -> None:
        if self._connection is None:
            return
        request.frames += 1
        self._send(
            type="Mutation",
            requestId=request.number,
            udfPath=f"exchange:{request.name}",
            args=[{"by": [self.name, request.number], **request.arguments}],
        )

    # Its connection.

    async def _keep_connected(self) -> None:
        failures = 0
        while not self.stops:
            try:
                connection = await self.network.connect(self.machine, _PATH)
            except Refused:
                failures += 1
            else:
                self._open(connection)
                await self._listen(connection)
                self._connection = None
                # As the official one does: a socket counts once it has brought something.
                failures = 0 if self._books.transitions else failures + 1
            pause_s = min(0.05 * 2**failures, 8.0)
            await asyncio.sleep(self.chance.uniform(0, pause_s))

    def _open(self, connection: Connection) -> None:
        self._connection = connection
        # What it has of each query: the same page is asked for again.
        journals = self._books.journals
        self._books, self._version, self._floor_ts = Books(), 0, self._max_ts
        self._send(
            type="Connect",
            sessionId=self._session,
            connectionCount=self.sessions,
            lastCloseReason="InitialConnect" if not self.sessions else "unknown",
            maxObservedTimestamp=text_of(self._max_ts),
            clientTs=0,
        )
        self.sessions += 1
        self._modify(
            [_add(query_id, call, journals.get(query_id)) for query_id, call in self.wanted.items()]
        )
        self._fresh.clear()
        for request in self._unsettled.values():
            if not request.frames:
                self._fresh.add(request.number)
            self._ask(request)

    async def _listen(self, connection: Connection) -> None:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    frame = await connection.receive()
            except TimeoutError:
                connection.close()
                return
            if frame is None:
                return
            try:
                self._take_in(frame)
            # A breach of the protocol: the run fails, with all breaches that there are.
            except Exception as error:  # noqa: BLE001
                self.breaches.append(f"{self.name}: {type(error).__name__} {error}: {frame[:500]}")
                connection.close()
                return

    def _take_in(self, frame: str) -> None:
        message = json.loads(frame)
        match message["type"]:
            case "MutationResponse":
                self._answered(message)
            case "Transition":
                self._books.receive(frame)
                self._moved(ts_of(message["endVersion"]["ts"]))
            case "Ping":
                self._books.receive(frame)
            case _:
                msg = "a client that keeps to the protocol is told that it does not"
                raise AssertionError(msg)

    def _answered(self, message: dict[str, Any]) -> None:
        request = self.requests[message["requestId"]]
        if request.answer is None:
            request.answer = message
        elif request.ts is not None and message["success"]:
            # What it logged is told again as well.
            assert message == request.answer, f"answered otherwise before: {request.answer}"
        if not message["success"]:
            assert message["ts"] is None
            self._settle(request)
            return
        ts = ts_of(message["ts"])
        if request.number in self._fresh and request.frames == 1:
            shown = ts_of(self._books.version["ts"])
            assert shown < ts, f"its commit was shown before, at {shown}"
        self._max_ts = max(self._max_ts, ts)

    def _moved(self, ts: int) -> None:
        assert ts >= self._floor_ts, f"shown {ts}, and {self._floor_ts} was seen before"
        self._max_ts = max(self._max_ts, ts)
        for query_id, value in self._books.results.items():
            self.seen.append(Seen(ts, *self._named[query_id], value))
        for request in list(self._unsettled.values()):
            if request.ts is not None and request.ts <= ts:
                self._settle(request)

    def _settle(self, request: Request) -> None:
        self._unsettled.pop(request.number, None)

    # How it stands.

    @property
    def is_settled(self) -> bool:
        """Return whether all that it has asked for is answered and shown."""
        return not self.mutations_left and not self._unsettled and self._connection is not None

    @property
    def shown(self) -> dict[int, Any]:
        """Return the values that it shows, by query id."""
        return dict(self._books.results)

    def disconnect(self) -> None:
        """Go away for good."""
        self.stops = True
        if self._connection is not None:
            self._connection.close()


def _add(query_id: int, call: tuple[str, Arguments], journal: str | None = None) -> dict[str, Any]:
    name, arguments = call
    return {
        "journal": journal,
        "type": "Add",
        "queryId": query_id,
        "udfPath": f"exchange:{name}",
        "args": [arguments],
    }


def _uuid(chance: random.Random) -> str:
    digits = chance.randbytes(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
