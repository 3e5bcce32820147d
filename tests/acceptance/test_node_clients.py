"""The npm package `convex` from Node, unmodified, against a server in a process of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping

import pytest

from tests.servers import ADMIN_KEY, REPOSITORY, Server

_SCRIPTS = REPOSITORY / "tests" / "clients"
_LIMIT_S = 90
_STEPS = ("restart", "kill", "start", "stop", "pause", "resume")


def run_script(
    name: str,
    server: Server,
    *,
    steps: Mapping[str, Callable[[], object]] | None = None,
    **environment: str,
) -> None:
    """Run a client script; what it asks for is done to the server, or is one of `steps`.

    It is answered with the text that a step returns, if it does.
    """
    known = {word: getattr(server, word) for word in _STEPS} | dict(steps or {})
    process = subprocess.Popen(
        ["node", name],
        cwd=_SCRIPTS,
        env={
            **os.environ,
            "CAMBER_URL": server.url,
            "CAMBER_ADMIN_KEY": ADMIN_KEY,
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = []
    # A script that waits for what never comes must end, and say how far it came.
    watchdog = threading.Timer(_LIMIT_S, process.kill)
    watchdog.start()
    with process:
        for line in process.stdout:
            output.append(line)
            word = line.strip()
            if word in known:
                answer = known[word]()
                process.stdin.write(f"{answer if isinstance(answer, str) else 'done'}\n")
                process.stdin.flush()
        status = process.wait()
        watchdog.cancel()
    assert status == 0, "".join(output)
    assert output[-1].strip() == "passed", "".join(output)


@pytest.mark.parametrize("script", ["websocket.mjs", "http.mjs", "pages.mjs", "auth.mjs"])
def test_the_npm_client(script, kitchen):
    run_script(script, kitchen)


def test_a_client_survives_restarts_and_crashes(own_kitchen):
    run_script("reconnect.mjs", own_kitchen)
