"""Servers for tests: `camber dev` in a process of its own, as its users start it."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parent.parent
KITCHEN = REPOSITORY / "tests" / "applications" / "kitchen"
LEDGER = REPOSITORY / "examples" / "ledger"
CHAT = REPOSITORY / "examples" / "chat"
SIGN_IN = REPOSITORY / "examples" / "auth"
ADMIN_KEY = "kitchen|0123456789abcdef"
_READY = re.compile(r"ready at (\S+) \(HTTP actions at (\S+)\)")
_LOOKED = re.compile(r"Pushed|Not pushed")
_START_S = 30


class Server:
    """A running server; `restart` keeps its ports and its data.

    Without a project it runs in a folder that is none.
    """

    def __init__(
        self, project: Path | None, data: Path, *options: str, command: str = "dev", port: int = 0
    ) -> None:
        self._project = project
        self._data = data
        self._options = options
        self._command = command
        self._port = port
        self._site_port = 0
        self.lines: queue.Queue[str] = queue.Queue()
        self.output: list[str] = []
        self.start()

    @property
    def project(self) -> Path:
        """Return the folder that it was started with."""
        assert self._project is not None
        return self._project

    @property
    def pid(self) -> int:
        """Return the process."""
        return self._process.pid

    def start(self) -> None:
        """Start the process, and wait until it serves."""
        self.launch()
        self.url, self.site_url = self.wait_for(_READY).groups()
        self._port = int(self.url.rpartition(":")[2])
        self._site_port = int(self.site_url.rpartition(":")[2])

    def launch(self) -> None:
        """Start the process, and wait for nothing."""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "camber",
                self._command,
                *([] if self._project is None else [str(self._project)]),
                "--port",
                str(self._port),
                "--site-port",
                str(self._site_port),
                "--data",
                str(self._data),
                "--admin-key",
                ADMIN_KEY,
                *self._options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._data.parent if self._project is None else None,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        process = self._process
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)
            self.lines.put(line)
        self.lines.put("")

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Return the match of the next line of output that has one."""
        while True:
            try:
                line = self.lines.get(timeout=_START_S)
            except queue.Empty:
                raise AssertionError(
                    f"no {pattern.pattern!r} in:\n{''.join(self.output)}"
                ) from None
            if not line and self._process.poll() is not None:
                raise AssertionError(f"the server ended:\n{''.join(self.output)}")
            found = pattern.search(line)
            if found:
                return found

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self._process.kill()
        self.wait()

    def stop(self) -> None:
        """End the process as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal, and wait for nothing."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """End the process as service managers do."""
        self._process.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait until the process has ended; `status` says how."""
        self.status = self._process.wait(timeout=_START_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def pause(self) -> None:
        """Make the process stand still; its sockets stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def save(self, name: str, old: str, new: str) -> None:
        """Change a file of the functions folder and wait until the server has looked at it."""
        file = self.project / "backend" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        self.wait_for_push()

    def wait_for_push(self) -> str:
        """Return what the server says of the next save that it has looked at."""
        return self.wait_for(_LOOKED).string

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self.stop()
        elif not self._process.stdout.closed:  # type: ignore[union-attr]
            self.wait()

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)

    def call(self, kind: str, path: str, args: object, **headers: str) -> Any:
        """Run a function over HTTP and return the answer."""
        body = {"path": path, "args": args, "format": "convex_encoded_json"}
        response = self.post(f"/api/{kind}", body, **headers)
        assert response.status_code == 200, response.text
        return response.json()

    def set_variables(self, **values: str) -> None:
        """Set deployment variables, as `camber env set` does."""
        body = {"changes": [{"name": name, "value": value} for name, value in values.items()]}
        key = {"Authorization": f"Convex {ADMIN_KEY}"}
        response = self.post("/api/update_environment_variables", body, **key)
        assert response.status_code == 200, response.text

    def value(self, kind: str, path: str, args: object, **headers: str) -> object:
        """Run a function over HTTP and return its value."""
        answer = self.call(kind, path, args, **headers)
        assert answer["status"] == "success", answer
        return answer["value"]
