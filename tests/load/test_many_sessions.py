"""Many open sessions on one server process, and what one of them costs in memory.

`make load` does it with 10,000; SESSIONS says how many otherwise.
"""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import httpx
import pytest

from tests.load.clients import opened, until
from tests.servers import KITCHEN, Server

SESSIONS = int(os.environ.get("SESSIONS", "400"))
#: What the process of a server may grow by for one session with 3 subscriptions, in KiB, where there are
#: so many that the caches and pools of the first do not count.
_SESSION_KIB_MAX = 30
_MANY = 5000


@pytest.fixture
def server(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, SESSIONS + 2000), hard))
    try:
        with Server(KITCHEN, tmp_path / "data", "--executors", "1", "--no-tail-logs") as server:
            yield server
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_sessions_hold_their_subscriptions_and_little_memory(server):
    kib = asyncio.run(_hold(server))
    print(f"{SESSIONS} sessions with 3 subscriptions each: {kib:.1f} KiB for one")
    if SESSIONS >= _MANY:
        assert kib < _SESSION_KIB_MAX


async def _hold(server: Server) -> float:
    def adds(number: int):
        return [
            ("counters:read", {"name": "all"}),
            ("counters:read", {"name": f"own {number}"}),
            ("notes:count", {"board": f"board {number % 100}"}),
        ]

    warm = await opened(server.url, [adds(number) for number in range(50)])
    before = _resident_kib(server)
    clients = await opened(server.url, [adds(number) for number in range(50, 50 + SESSIONS)])
    kib = (_resident_kib(server) - before) / SESSIONS
    everybody = warm + clients
    assert f"camber_sync_sockets {float(len(everybody))}" in _metrics(server)

    server.value("mutation", "counters:increment", {"name": "all", "by": 7})
    await asyncio.gather(
        *(until(each, lambda each=each: each.values[0] == 7) for each in everybody)
    )
    others = [each.transitions for each in everybody]
    server.value("mutation", "counters:increment", {"name": "own 3", "by": 2})
    await until(warm[3], lambda: warm[3].values[1] == 2)
    after = [each.transitions for each in everybody]
    assert after == [count + (number == 3) for number, count in enumerate(others)]
    for client in everybody:
        assert client.closed is None
        client.transport.close()
    while "camber_sync_sockets 0.0" not in _metrics(server):  # noqa: ASYNC110  # the server's doing
        await asyncio.sleep(0.05)
    return kib


def _metrics(server: Server) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=30).text


def _resident_kib(server: Server) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])
