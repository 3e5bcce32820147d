"""The servers that are measured: each on a free port, with fresh data, ended by its pid."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parent
PEERS = REPOSITORY / ".venv-bench"
APPLICATION = FOLDER / "app"

_READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+)")
_START_S_MAX = 60.0
_STOP_S_MAX = 30.0
_ANSWER_S_MAX = 120.0
#: Servers close connections that are idle for longer than about this.
_IDLE_S_MAX = 1.0


class CouldNotMeasure(Exception):
    """A series that has no figures, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs."""

    port: int
    pid: int
    #: Where its data is, for those that keep any.
    data: Path

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def camber(
    project: Path = APPLICATION, *, durability: str = "full", data: Path | None = None
) -> Iterator[Server]:
    """Run `camber start` as it is installed: its own number of executors, everything on."""
    with _folder() as folder:
        kept = data or folder / "data"
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                camber_command(project, kept, durability=durability),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with _ended(process):
            port = _wait_for(process, log, _READY)
            yield Server(port=int(port), pid=process.pid, data=kept)


def camber_command(
    project: Path, data: Path, *, durability: str = "full", port: int = 0, site_port: int = 0
) -> list[str]:
    """Return the command that serves a project in production."""
    ports = ["--port", str(port), "--site-port", str(site_port)]
    return [
        str(Path(sys.executable).parent / "camber"),
        *("start", str(project), *ports, "--data", str(data), "--durability", durability),
    ]


@contextlib.contextmanager
def pocketbase() -> Iterator[Server]:
    """Run PocketBase as it ships: `synchronous=NORMAL`, its log of requests on."""
    with _folder() as folder:
        port = free_port()
        script = FOLDER / "pocketbase.sh"
        try:
            started = subprocess.run(
                ["bash", script, "start", folder, str(port), "--venv", PEERS],
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
                timeout=_START_S_MAX,
            )
            if started.returncode != 0:
                raise CouldNotMeasure(f"PocketBase did not start: {started.stderr.strip()}")
            said = json.loads(started.stdout.splitlines()[-1])
            yield Server(port=port, pid=said["pid"], data=folder)
        finally:
            subprocess.run(["bash", script, "stop", folder, str(port)], check=True)


@contextlib.contextmanager
def bare_sockets(*, value_bytes: int = 500) -> Iterator[Server]:
    """Run the WebSocket server of `limits.py`, which has nothing to do but answer."""
    with _folder() as folder:
        port = free_port()
        log = folder / "log"
        options = ["--port", str(port), "--value-bytes", str(value_bytes)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [PEERS / "bin" / "python", FOLDER / "limits.py", "server", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with _ended(process):
            _wait_for(process, log, re.compile(r'"port": (\d+)'))
            yield Server(port=port, pid=process.pid, data=folder)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, and wait until it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the lock that BENCH_LOCK names, where several measure on one machine."""
    path = os.environ.get("BENCH_LOCK")
    if path is None:
        yield
        return
    with Path(path).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Http:
    """One connection to a server, for what is put in before a run and looked at after it."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=_ANSWER_S_MAX
        )
        self._used_s = time.monotonic()

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *failure: object) -> None:
        self._connection.close()

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON and return the JSON that comes back."""
        return self._send("POST", path, json.dumps(body))

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return self._send("GET", path, None)

    def call(self, kind: str, path: str, **args: Any) -> Any:
        """Return what a function of Camber returns."""
        answer = self.post(f"/api/{kind}", {"path": path, "args": args, "format": "json"})
        if answer["status"] != "success":
            raise CouldNotMeasure(f"{path} failed: {answer['errorMessage']}")
        return answer["value"]

    def sum_of_pages(self, path: str) -> float:
        """Return the sum of what a paginated query of Camber says of each page."""
        total: float = 0
        cursor = None
        while True:
            page = self.call("query", path, paginationOpts={"numItems": 5000, "cursor": cursor})
            total += page["sum"]
            if page["done"]:
                return total
            cursor = page["cursor"]

    def _send(self, method: str, path: str, body: str | None) -> Any:
        if time.monotonic() - self._used_s > _IDLE_S_MAX:
            self._connection.close()
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        read = response.read()
        self._used_s = time.monotonic()
        if response.status >= 300:
            raise CouldNotMeasure(f"{method} {path} answered {response.status}: {read[:200]!r}")
        return json.loads(read)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="camber-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        stop(process)


def _wait_for(process: subprocess.Popen[bytes], log: Path, pattern: re.Pattern[str]) -> str:
    until = time.monotonic() + _START_S_MAX
    while time.monotonic() < until:
        found = pattern.search(log.read_text())
        if found:
            return cast("str", found[1])
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise CouldNotMeasure(f"a server did not start:\n{log.read_text()}")
