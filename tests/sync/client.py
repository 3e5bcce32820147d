"""A client of the state machine: keeps the books that the official client keeps, and complains.

It knows the protocol and nothing of the session: versions must follow each other, a query has one
modification in a Transition, and a mutation settles when a Transition at or after its timestamp
arrives after its response.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode


def ts_of(text):
    return struct.unpack("<Q", b64decode(text))[0]


def text_of(ts):
    return b64encode(struct.pack("<Q", ts)).decode()


class Books:
    """What a client knows after the frames that it has received."""

    def __init__(self):
        self.version = {"querySet": 0, "identity": 0, "ts": text_of(0)}
        self.results = {}
        self.journals = {}
        self.responses = {}
        self.settled = {}
        self.fatal = None
        self.auth_error = None
        self.transitions = 0
        self._chunks = []

    def receive(self, frame):
        message = json.loads(frame)
        kind = message["type"]
        if kind == "TransitionChunk":
            assert message["partNumber"] == len(self._chunks)
            self._chunks.append(message["chunk"])
            if len(self._chunks) == message["totalParts"]:
                whole, self._chunks = "".join(self._chunks), []
                self.receive(whole)
            return
        assert not self._chunks or kind == "Ping", f"{kind} between chunks"
        getattr(self, f"_on_{kind}")(message)

    def _on_Transition(self, message):  # noqa: N802
        assert message["startVersion"] == self.version, "the start is not the last end"
        end = message["endVersion"]
        for part in ("querySet", "identity"):
            assert end[part] >= self.version[part]
        assert ts_of(end["ts"]) >= ts_of(self.version["ts"])
        raised = end["identity"] > self.version["identity"]
        assert ("serverTs" in message) == ("clientClockSkew" in message) == raised
        self.version = end
        self.transitions += 1
        seen = set()
        for change in message["modifications"]:
            id_ = change["queryId"]
            assert id_ not in seen, "two modifications of one query"
            seen.add(id_)
            match change["type"]:
                case "QueryUpdated":
                    self.results[id_] = change["value"]
                    self.journals[id_] = change["journal"]
                    assert isinstance(change["logLines"], list)
                case "QueryFailed":
                    self.results[id_] = ("failed", change["errorMessage"], change.get("errorData"))
                    self.journals[id_] = change["journal"]
                case "QueryRemoved":
                    self.results.pop(id_, None)
                case other:
                    raise AssertionError(other)
        for request, response in self.responses.items():
            if response.get("ts") and ts_of(response["ts"]) <= ts_of(end["ts"]):
                self.settled.setdefault(request, dict(self.results))

    def _on_MutationResponse(self, message):  # noqa: N802
        assert message["requestId"] not in self.responses, "answered twice"
        assert (message["ts"] is not None) == message["success"]
        self.responses[message["requestId"]] = message

    def _on_ActionResponse(self, message):  # noqa: N802
        assert message["requestId"] not in self.responses, "answered twice"
        self.responses[message["requestId"]] = message

    def _on_Ping(self, message):  # noqa: N802
        assert message == {"type": "Ping"}

    def _on_FatalError(self, message):  # noqa: N802
        self.fatal = message["error"]

    def _on_AuthError(self, message):  # noqa: N802
        self.auth_error = message
