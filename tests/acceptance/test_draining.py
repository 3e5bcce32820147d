"""The end of a production server: what was begun is finished, and what was told stays true."""

from __future__ import annotations

import concurrent.futures
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.acceptance.sockets import raw_client
from tests.acceptance.test_node_clients import run_script
from tests.functions.projects import write_project
from tests.servers import KITCHEN, Server

_ENDING = re.compile("Ending")


def start(tmp_path, *options, executors=0):
    options = ("--executors", str(executors), *options)
    return Server(KITCHEN, tmp_path / "data", *options, command="start")


def begin_action(server, seconds):
    """Begin an action over HTTP; once it runs, return its future answer."""
    args = {"name": "slow", "seconds": seconds}
    pool = concurrent.futures.ThreadPoolExecutor(1)
    answer = pool.submit(
        server.post, "/api/action", {"path": "actions:increment_then_wait", "args": args}
    )
    pool.shutdown(wait=False)
    while server.value("query", "counters:read", {"name": "slow"}) != 1:
        assert not answer.done()
    return answer


def wait_for_health(server, status):
    while True:
        answer = httpx.get(f"{server.url}/api/health")
        if answer.json()["status"] == status:
            return answer


def test_health_says_whether_a_server_takes_work(tmp_path):
    with start(tmp_path) as server:
        assert (wait_for_health(server, "ok")).status_code == 200
        running = begin_action(server, 1)
        with raw_client(server) as client:
            client.connect()
            client.subscribe((0, "counters:read", {"name": "x"}, {}))
            client.until(lambda: client.results)
            server.send_signal(signal.SIGTERM)
            server.wait_for(_ENDING)
            # Nothing runs on this socket, so it goes at once; the action of the other goes on.
            assert client.until_closed() == (1001, "ServerStopping")
            assert wait_for_health(server, "stopping").status_code == 503
            refused = server.post("/api/query", {"path": "counters:read", "args": {"name": "x"}})
            assert (refused.status_code, refused.json()["code"]) == (503, "ServerStopping")
        assert running.result().json()["status"] == "success"
        server.wait()
        assert server.status == 0
        assert "Traceback" not in "".join(server.output)


@pytest.mark.node
@pytest.mark.parametrize("executors", [0, 1])
def test_a_client_loses_nothing_by_a_restart(tmp_path, executors):
    with start(tmp_path, executors=executors) as server:
        run_script("drain.mjs", server, steps={"terminate": server.terminate})
        assert server.status == 0


def test_a_second_signal_ends_at_once(tmp_path):
    with start(tmp_path) as server:
        running = begin_action(server, 60)
        server.send_signal(signal.SIGTERM)
        server.wait_for(_ENDING)
        server.send_signal(signal.SIGTERM)
        server.wait()
        assert server.status == -signal.SIGTERM
        with pytest.raises(httpx.HTTPError):
            running.result()


def test_what_outlasts_the_grace_period_is_cut_off(tmp_path):
    with start(tmp_path, "--grace-period", "0.1") as server:
        running = begin_action(server, 60)
        server.terminate()
        assert server.status == 0
        answer = running.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "ServerStopped")
        assert "Traceback" not in "".join(server.output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_starts_can_be_told_to_end(tmp_path, number):
    began = tmp_path / "began"
    root = write_project(
        tmp_path / "p",
        a=f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\ntime.sleep(1)",
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "camber", "start", str(root), "--port", "0", "--executors", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not began.exists():
        assert server.poll() is None
    server.send_signal(number)
    output, _ = server.communicate(timeout=30)
    assert (server.returncode, output) == (0, "Ended before it was ready\n")
