"""Requests that go wrong on their way to the site: each ends, and others notice nothing."""

from __future__ import annotations

import os
import random
import re
import socket
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.fuzzing.mutating import mutated
from tests.servers import ADMIN_KEY, REPOSITORY, Server

_REQUESTS = int(os.environ.get("FUZZ_SESSIONS", "160")) * 2
_WARM_UP = _REQUESTS // 3
_GROWTH_MIB_MAX = 24
_TIMEOUT_S = 20
_PATIENCE_S = 0.03
_ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}

_HOST = b"Host: localhost\r\n"
_RECORDED = (
    b"GET /seen?a=b HTTP/1.1\r\n" + _HOST + b"X-One: 1\r\nCookie: a=b\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"GET /raises HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"HEAD /pets/cats HTTP/1.1\r\n" + _HOST + b"\r\n",
    b"POST /seen HTTP/1.1\r\n" + _HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    b"PUT /seen HTTP/1.1\r\n" + _HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"OPTIONS /seen HTTP/1.1\r\n" + _HOST + b"Origin: https://a.test\r\n\r\n",
    b"GET /pets/%C3%A9%2F/x HTTP/1.1\r\n" + _HOST + b"Authorization: Bearer a.b.c\r\n\r\n",
    b"POST /twilio/message-status HTTP/1.1\r\n" + _HOST + b"X-Twilio-Signature: x\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\na=b&c=d",
    b"POST /api/notes HTTP/1.1\r\n" + _HOST + b"Content-Type: application/json\r\n"
    b'Content-Length: 13\r\n\r\n{"text": "x"}',
    b"GET /api/echo HTTP/1.1\r\n" + _HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    b"\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00",
    b"GET / HTTP/1.1\r\n" + _HOST + b"\r\nGET /seen HTTP/1.1\r\n" + _HOST + b"\r\n",
)  # fmt: skip


def _changed(dice: random.Random) -> bytes:
    """Return a request with something done to it that no client would do."""
    request = dice.choice(_RECORDED)
    for _ in range(dice.randint(0, 3)):
        head, end, body = request.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        match dice.randrange(9):
            case 0:
                request = mutated([request], dice)
            case 1:
                request = request[: dice.randint(0, len(request))]
            case 2:
                lines.insert(dice.randint(1, len(lines)), dice.choice(lines))
                request = b"\r\n".join(lines) + end + body
            case 3:
                lines.insert(1, b"X-Long: " + b"a" * dice.choice([100, 9_000, 70_000]))
                request = b"\r\n".join(lines) + end + body
            case 4:
                wrong = dice.choice([b"-1", b"99999999999999999999", b"5, 6", b"0x10", b"", b"1e3"])
                request = b"\r\n".join([*lines, b"Content-Length: " + wrong]) + end + body
            case 5:
                request = head + end + body.replace(b"3\r\n", b"fffffffffffffffff\r\n")
            case 6:
                request = request.replace(b"/", b"/../%00/\xff%zz", 1)
            case 7:
                request += dice.randbytes(dice.randrange(300))
            case _:
                forwarded = dice.choice([b"X-Forwarded-Proto: ;;=\xff", b"Forwarded: proto"])
                request = b"\r\n".join([*lines, forwarded, b"Convex-Request-Id: \xc3"]) + end + body
    return request


def _answers(url: str, request: bytes, dice: random.Random) -> list[bytes]:
    """Send a request, in pieces, and hang up at some moment; return the statuses that came."""
    host, port = url.removeprefix("http://").split(":")
    came = b""
    with socket.create_connection((host, int(port)), _TIMEOUT_S) as connection:
        try:
            while request:
                size = dice.choice([1, 7, 100, len(request)])
                connection.sendall(request[:size])
                request = request[size:]
            if dice.random() < 0.2:
                return []  # gone at once
            # One that is not whole is not answered: then it is the client who hangs up.
            connection.settimeout(_PATIENCE_S)
            while more := connection.recv(65536):
                came += more
        except (ConnectionError, TimeoutError):
            pass  # refused in the middle, or kept alive
    assert not came or came.startswith(b"HTTP/1.1 "), came[:100]
    return re.findall(rb"^HTTP/1\.1 (\d{3})", came)


class _Witness(threading.Thread):
    """A client in good order, answered in good order all the while."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.error: BaseException | None = None
        self._url = server.site_url
        self._done = threading.Event()

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as client:
                while not self._done.is_set():
                    answer = client.post("/seen", content=b"x" * self.asked).json()
                    assert answer["size"] == self.asked
                    self.asked += 1
        except BaseException as error:  # noqa: BLE001  # told by `finish`
            self.error = error

    def finish(self) -> None:
        self._done.set()
        self.join(30)
        if self.error is not None:
            raise self.error


@pytest.fixture
def server(tmp_path):
    web = REPOSITORY / "tests" / "applications" / "web"
    with Server(web, tmp_path / "data", "--executors", "1", "--no-tail-logs") as server:
        yield server


def test_requests_that_go_wrong_hurt_nobody_else(server):
    dice = random.Random(os.environ.get("FUZZ_SEED", "requests"))
    witness = _Witness(server)
    witness.start()
    statuses: Counter[bytes] = Counter()
    before = 0.0
    for number in range(_REQUESTS):
        if number == _WARM_UP:
            before = _resident_mib(server)
        request = _changed(dice)
        try:
            statuses.update(_answers(server.site_url, request, dice))
        except BaseException as error:
            error.add_note(f"request {number}: {request[:2000]!r}")
            raise
    witness.finish()
    assert witness.asked
    # All kinds of ends were met.
    assert {b"200", b"400", b"404", b"500"} <= statuses.keys()
    assert not [line for line in server.output if "met a bug" in line or "failed to" in line]
    # Nothing runs on for a client that has gone.
    deadline = 200
    while _running(server):
        deadline -= 1
        assert deadline, "requests of clients that have gone run on"
    growth = _resident_mib(server) - before
    assert growth < _GROWTH_MIB_MAX, f"{growth:.1f} MiB more after {_REQUESTS} requests"
    print(f"{_REQUESTS} requests, {dict(statuses)}, {growth:.1f} MiB more, {witness.asked} asked")


def _running(server: Server) -> bool:
    metrics = httpx.get(f"{server.url}/metrics", headers=_ADMIN).text
    found = re.search(r"^camber_http_actions_running (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1]) > 0


def _resident_mib(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024
