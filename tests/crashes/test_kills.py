"""Kill -9 under load: server and executors are real processes, and clients send again.

What clients were told is there, once; what they were not told is there once or not at all.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.crashes.bank import ACCOUNTS, BALANCE, BANK, OPEN, check_bank
from tests.crashes.clients import Client, Till
from tests.servers import Server

_HISTORIES = int(os.environ.get("CRASH_SEEDS", "1"))
_ROUNDS = 7
_CLIENTS = 6
_END_S = 10


@pytest.mark.parametrize("seed", range(_HISTORIES))
def test_a_killed_server_keeps_its_word(tmp_path, seed):
    dice = random.Random(seed)
    data = tmp_path / "data"
    path = data / "camber.sqlite"
    till = Till()
    newest = 0
    with Server(BANK, data, "--executors", "2") as server:
        names = {"names": ACCOUNTS, "balance": BALANCE}
        assert server.value("mutation", OPEN, names) == len(ACCOUNTS)
        clients = [
            Client(server.url, f"client {n}", till, random.Random(dice.random()))
            for n in range(_CLIENTS)
        ]
        for client in clients:
            client.start()
        for number in range(_ROUNDS):
            till.wait_for(len(till.acknowledged) + dice.randint(1, 60), clients)
            if number % 3 == 1:
                _kill_executors(server, dice)
                continue
            executors = _executors(server)
            server.kill()
            _wait_until_gone(executors)
            if dice.random() < 0.5:
                _kill_while_it_starts(server, dice)
            acknowledged, sent = till.snapshot()
            newest = check_bank(path, acknowledged=acknowledged, sent=sent, newest_before=newest)
            server.start()
        till.wait_for(len(till.acknowledged) + 20, clients)
        for client in clients:
            client.finish()
        assert min(client.connections for client in clients) > 1
    acknowledged, sent = till.snapshot()
    assert acknowledged.keys() == sent
    check_bank(path, acknowledged=acknowledged, sent=sent, newest_before=newest)


def _kill_executors(server: Server, dice: random.Random) -> None:
    """Kill one executor or all of them; the server goes on."""
    executors = _executors(server)
    for pid in dice.sample(executors, dice.choice((1, len(executors)))):
        os.kill(pid, signal.SIGKILL)


def _kill_while_it_starts(server: Server, dice: random.Random) -> None:
    """Start it, and kill it at any moment until it is ready."""
    server.launch()
    time.sleep(dice.uniform(0.05, 1.0))  # the moment is the die's
    executors = _executors(server)
    server.kill()
    _wait_until_gone(executors)


def _executors(server: Server) -> list[int]:
    """Return the processes that a server has started."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def _wait_until_gone(executors: list[int]) -> None:
    """Wait until processes have seen that their server is gone: nothing of it may be left."""
    deadline = time.monotonic() + _END_S
    while left := [pid for pid in executors if _runs(pid)]:
        assert time.monotonic() < deadline, f"executors outlive their server: {left}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Return whether a process is there, and not only its status for whoever asks."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
