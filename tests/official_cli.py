"""The official command line, `npx convex`, unmodified, pointed at a server of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ADMIN_KEY, REPOSITORY

#: A port that nothing listens on: the CLI asks there for news, and goes on at once without.
_NOWHERE = "http://127.0.0.1:9"
_LIMIT_S = 60


class OfficialCli:
    """Runs `npx convex …` in a folder of its own, with nothing in its environment but what it needs."""

    def __init__(self, folder: Path, url: str, admin_key: str = ADMIN_KEY) -> None:
        self.folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            # No reports of errors, no questions, no colours.
            "CI": "1",
            "NO_COLOR": "1",
            "CONVEX_VERSION_API_ORIGIN": _NOWHERE,
            "CONVEX_PROVISION_HOST": _NOWHERE,
            "CONVEX_SELF_HOSTED_URL": url,
            "CONVEX_SELF_HOSTED_ADMIN_KEY": admin_key,
        }
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(REPOSITORY / "node_modules")
            (folder / "package.json").write_text('{"dependencies": {"convex": "*"}}\n')

    @contextmanager
    def following(self, *arguments: object) -> Iterator[Iterator[str]]:
        """Run one command that does not end by itself; yields its lines as it prints them."""
        process = subprocess.Popen(
            ["npx", "--no-install", "convex", *map(str, arguments)],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own: npx starts node, and ends without it.
            start_new_session=True,
        )
        watchdog = threading.Timer(_LIMIT_S, os.killpg, [process.pid, signal.SIGKILL])
        watchdog.start()
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            watchdog.cancel()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def run(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            ["npx", "--no-install", "convex", *map(str, arguments)],
            cwd=self.folder,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
        )
