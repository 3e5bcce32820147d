"""Runs of loadgen: which load, and what it reported."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import Any

from bench.scale import Scale
from bench.servers import FOLDER, PEERS, CouldNotMeasure, Server

LOADGEN = PEERS / "loadgen"

#: A load's arguments stand here as they are typed; `{…}` are loadgen's own placeholders.
_MESSAGE = '{"channel":"%s","author":"a","body":"{pad:%d}"}'

#: Beyond loadgen's own bound on its time.
_RUN_S_MAX = 600.0


def build() -> None:
    """Compile loadgen into the bench's environment."""
    # Renamed into its place: another bench may be running the one that is there.
    built = LOADGEN.with_suffix(f".{os.getpid()}")
    subprocess.run(["cc", "-O2", "-o", built, FOLDER / "loadgen.c"], check=True)
    built.replace(LOADGEN)


class Load:
    """A load that can be put on a server: a subcommand of loadgen and its options."""

    def __init__(self, subcommand: str, *, clients: int, **options: str | float) -> None:
        self._subcommand = subcommand
        self._options: dict[str, str | float] = {"clients": clients, **options}

    @property
    def command(self) -> str:
        """Return it as one types it, but for the port and the pid, which change from run to run."""
        scheme = "ws" if self._subcommand in {"mutate", "fanout", "wsquery", "idle"} else "http"
        words = ["loadgen", self._subcommand, "--url", f"{scheme}://127.0.0.1:PORT"]
        return shlex.join([*words, *self._words()])

    def run(self, server: Server, scale: Scale, *, seed: int = 1) -> dict[str, Any]:
        """Put it on a server; return loadgen's report.

        Raises:
            CouldNotMeasure: the server broke the protocol, left something unanswered, or failed a
                call.
        """
        url = (
            server.ws
            if self._subcommand in {"mutate", "fanout", "wsquery", "idle"}
            else server.http
        )
        words = [str(LOADGEN), self._subcommand, "--url", url, "--pid", str(server.pid)]
        times = ["--seconds", str(scale.seconds), "--warmup", str(scale.warmup_s)]
        patience = ["--drain", "30", "--setup-timeout", "120", "--seed", str(seed)]
        ran = subprocess.run(
            [*words, *self._words(), *times, *patience],
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            timeout=_RUN_S_MAX,
        )
        report: dict[str, Any] = json.loads(ran.stdout or "{}")
        if report.get("failures"):
            failures = f"{report['failures']} calls failed, such as {report['first_errors']}"
            raise CouldNotMeasure(f"{self.command}: {failures}")
        if ran.returncode != 0:
            raise CouldNotMeasure(f"{self.command}: {ran.stderr.strip() or ran.stdout.strip()}")
        return report

    def _words(self) -> list[str]:
        words = []
        for name, value in self._options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        return words


def message(channel: str, body_bytes: int) -> str:
    """Return the arguments of a message, for Camber as for PocketBase."""
    return _MESSAGE % (channel, body_bytes)


def without_pad(args: str) -> str:
    """Return arguments with the letters of their pad written out."""
    return re.sub(r"\{pad:(\d+)\}", lambda found: "x" * int(found[1]), args)
