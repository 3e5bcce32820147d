"""Clients of the bank that outlive its server: what was not answered is sent again, as it was.

They do over a socket what the official client does: one session for good, requests numbered within
it, and after each reconnect all that is unanswered once more, in order.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.crashes.bank import ACCOUNTS, TOTAL, TRANSFER, Transfer
from tests.sync.client import Books, text_of, ts_of

#: Transfers of one client that are on their way at once.
_IN_FLIGHT = 4
_RECONNECT_S = 0.02
_RECEIVE_S = 20
_TOTAL = 1


class Till:
    """What all clients were told, together."""

    def __init__(self) -> None:
        self.acknowledged: dict[Transfer, int] = {}
        self.sent: set[Transfer] = set()
        self._changed = threading.Condition()

    def note_sent(self, transfer: Transfer) -> None:
        with self._changed:
            self.sent.add(transfer)

    def note_acknowledged(self, transfer: Transfer, ts: int) -> None:
        with self._changed:
            assert transfer not in self.acknowledged
            self.acknowledged[transfer] = ts
            self._changed.notify_all()

    def snapshot(self) -> tuple[dict[Transfer, int], set[Transfer]]:
        """Return what is acknowledged and what is sent, as of one moment."""
        with self._changed:
            return dict(self.acknowledged), set(self.sent)

    def wait_for(self, count: int, clients: list[Client]) -> None:
        """Return once so many are acknowledged; raise what a client complains of."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: len(self.acknowledged) >= count or any(each.error for each in clients),
                timeout=_RECEIVE_S,
            )
        for client in clients:
            if client.error is not None:
                raise client.error
        assert reached, f"{len(self.acknowledged)} acknowledged, waiting for {count}"


class Client(threading.Thread):
    """One person who moves money, whatever happens to the server."""

    def __init__(self, url: str, name: str, till: Till, dice: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        #: Times that it was connected.
        self.connections = 0
        self._url = url.replace("http", "ws") + "/api/1.48.0/sync"
        self._till = till
        self._dice = dice
        self._session = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        self._unanswered: dict[int, dict[str, Any]] = {}
        self._next = 0
        self._observed = 0
        self._stopping = threading.Event()

    def finish(self) -> None:
        """Ask for nothing new, wait for every answer, and end."""
        self._stopping.set()
        self.join(_RECEIVE_S)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self.name} waits for {list(self._unanswered)}"

    def run(self) -> None:
        try:
            while not self._is_done():
                try:
                    with connect(self._url, max_size=None, open_timeout=_RECEIVE_S) as socket:
                        self._talk(socket)
                except (OSError, WebSocketException):
                    # The server is down, or has just gone.
                    self._stopping.wait(_RECONNECT_S)
        except BaseException as error:  # noqa: BLE001  # told by whoever waits
            self.error = error

    def _is_done(self) -> bool:
        return self._stopping.is_set() and not self._unanswered

    def _talk(self, socket: ClientConnection) -> None:
        books = Books()
        self._send(
            socket,
            type="Connect",
            sessionId=self._session,
            connectionCount=self.connections,
            lastCloseReason="InitialConnect" if self.connections == 0 else "unknown",
            maxObservedTimestamp=text_of(self._observed),
            clientTs=0,
        )
        self.connections += 1
        add = {"type": "Add", "queryId": _TOTAL, "udfPath": "bank:total", "args": [{}]}
        self._send(socket, type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
        for message in self._unanswered.values():
            self._send(socket, **message)
        while not self._is_done():
            while len(self._unanswered) < _IN_FLIGHT and not self._stopping.is_set():
                self._send(socket, **self._transfer())
            frame = socket.recv(timeout=_RECEIVE_S)
            books.receive(frame)
            self._look(books, json.loads(frame))

    def _send(self, socket: ClientConnection, **message: Any) -> None:
        socket.send(json.dumps(message))

    def _transfer(self) -> dict[str, Any]:
        source, target = self._dice.sample(ACCOUNTS, 2)
        number, self._next = self._next, self._next + 1
        args = {
            "client": self.name,
            "number": number,
            "source": source,
            "target": target,
            "amount": self._dice.randint(1, 9),
        }
        message = {"type": "Mutation", "requestId": number, "udfPath": TRANSFER, "args": [args]}
        self._till.note_sent((self.name, number))
        self._unanswered[number] = message
        return message

    def _look(self, books: Books, message: dict[str, Any]) -> None:
        assert books.fatal is None, books.fatal
        assert books.auth_error is None, books.auth_error
        if message["type"] == "MutationResponse":
            assert message["success"], message
            number = message["requestId"]
            assert message["result"] == number
            ts = ts_of(message["ts"])
            del self._unanswered[number]
            self._till.note_acknowledged((self.name, number), ts)
        elif message["type"] == "Transition":
            ts = ts_of(books.version["ts"])
            assert ts >= self._observed, f"{ts} after {self._observed}"
            self._observed = ts
            assert books.results.get(_TOTAL, TOTAL) == TOTAL, "one moment, and money is missing"
