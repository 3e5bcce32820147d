"""A raw WebSocket client, for what official clients never send."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.sync.client import Books, text_of

_LIMIT_S = 20


class RawClient(Books):
    """A socket, and the books of what came over it."""

    def __init__(self, socket):
        super().__init__()
        self.socket = socket
        self.closed = None
        self.frames = []
        self.query_set = 0

    def connect(self, session=None, *, observed=0):
        self.send(
            type="Connect",
            sessionId=session or str(uuid.uuid4()),
            connectionCount=0,
            lastCloseReason="InitialConnect",
            maxObservedTimestamp=text_of(observed),
            clientTs=0,
        )

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def subscribe(self, *adds, remove=()):
        changes = [
            {"type": "Add", "queryId": id_, "udfPath": path, "args": [args], **more}
            for id_, path, args, more in adds
        ] + [{"type": "Remove", "queryId": id_} for id_ in remove]
        self.send(
            type="ModifyQuerySet",
            baseVersion=self.query_set,
            newVersion=self.query_set + 1,
            modifications=changes,
        )
        self.query_set += 1

    def mutate(self, request, path, args):
        self.send(type="Mutation", requestId=request, udfPath=path, args=[args])

    def until(self, condition):
        """Take frames in until the condition holds."""
        while not condition():
            frame = self.socket.recv(timeout=_LIMIT_S)
            self.frames.append(json.loads(frame))
            self.receive(frame)

    def until_closed(self):
        try:
            self.until(lambda: False)
        except ConnectionClosed as closed:
            self.closed = (
                closed.rcvd.code if closed.rcvd else None,
                closed.rcvd.reason if closed.rcvd else None,
            )
        return self.closed


@contextmanager
def raw_client(server, path="/api/1.48.0/sync", **headers):
    with connect(
        server.url.replace("http", "ws") + path, max_size=None, additional_headers=headers
    ) as socket:
        yield RawClient(socket)
