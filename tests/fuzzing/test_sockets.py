"""Sessions that go wrong on their way to a server: it closes as it should, and others notice nothing."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.sockets import raw_client
from tests.fuzzing.sessions import play
from tests.servers import KITCHEN, Server

_SESSIONS = int(os.environ.get("FUZZ_SESSIONS", "160"))
#: Sessions after which caches and logs have what they may have, nearly.
_WARM_UP = _SESSIONS // 3
#: What all sessions after those may leave in the memory of the server.
_GROWTH_MIB_MAX = 24
#: How a socket may end (protocol 3.11, 5.2; RFC 6455 7.4.1): 1000 after a FatalError, 1002, 1003,
#: 1007 and 1009 for frames that no WebSocket may have, 1011 and 1013 for what may be tried again.
_CLOSES = {1000, 1002, 1003, 1005, 1007, 1009, 1011, 1013, None}
_TYPES = {
    "Transition", "TransitionChunk", "MutationResponse", "ActionResponse", "FatalError", "AuthError",
    "Ping",
}  # fmt: skip


@pytest.fixture
def server(tmp_path):
    with Server(KITCHEN, tmp_path / "data", "--executors", "1", "--no-tail-logs") as server:
        yield server


class _Witness(threading.Thread):
    """A client in good order: it counts, and sees each number that it has reached, in order."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.counted = 0
        self.error: BaseException | None = None
        self._server = server
        self._done = threading.Event()

    def run(self) -> None:
        try:
            with raw_client(self._server) as client:
                client.connect()
                client.subscribe((0, "counters:read", {"name": "witness"}, {}))
                while not self._done.is_set():
                    number = self.counted
                    client.mutate(number, "counters:increment", {"name": "witness"})
                    client.until(lambda number=number: number in client.responses)
                    assert client.responses[number]["result"] == number + 1
                    client.until(lambda number=number: client.results[0] == number + 1)
                    self.counted += 1
        except BaseException as error:  # noqa: BLE001  # told by `finish`
            self.error = error

    def finish(self) -> None:
        self._done.set()
        self.join(30)
        if self.error is not None:
            raise self.error


def test_sessions_that_go_wrong_hurt_nobody_else(server):
    dice = random.Random(os.environ.get("FUZZ_SEED", "sessions"))
    witness = _Witness(server)
    witness.start()
    closes: Counter[int | None] = Counter()
    before = 0.0
    for number in range(_SESSIONS):
        if number == _WARM_UP:
            before = _resident_mib(server)
        try:
            socket = play(server.url, dice)
            assert socket.closed in _CLOSES, socket.closed
            for message in socket.messages:
                assert message["type"] in _TYPES, message
        except BaseException as error:
            error.add_note(f"session {number}")
            raise
        closes[socket.closed] += 1
    witness.finish()
    assert witness.counted
    assert closes[1000]
    # An error that is ours would be told with its traceback.
    assert not [line for line in server.output if "Traceback" in line or "bug" in line]
    growth = _resident_mib(server) - before
    assert growth < _GROWTH_MIB_MAX, f"{growth:.1f} MiB more after {_SESSIONS} sessions"
    print(
        f"{_SESSIONS} sessions, closes {dict(closes)}, {growth:.1f} MiB more, "
        f"{witness.counted} counted meanwhile"
    )


def _resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
