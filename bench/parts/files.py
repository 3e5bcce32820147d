"""How much memory a file of a GiB takes on its way up and down, and through an action."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

_MODULE = """
from collections.abc import AsyncIterator
from camber import ActionCtx, Id, MutationCtx, QueryCtx, StoredFile, action, mutation, query

@mutation
def upload_url(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()

@query
def url(ctx: QueryCtx, id: Id[StoredFile]) -> str | None:
    return ctx.storage.get_url(id)

@action
async def copied(ctx: ActionCtx, id: Id[StoredFile]) -> str:
    blob = await ctx.storage.get(id)
    assert blob is not None
    return await ctx.storage.store(aiter(blob))
"""
_MIB = 2**20
_PIECE = os.urandom(_MIB)


def main(mib: int = 1024) -> None:
    """Print the peaks."""
    with tempfile.TemporaryDirectory(prefix="camber-files-") as folder:
        root = Path(folder)
        (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
        (root / "backend").mkdir()
        (root / "backend" / "files.py").write_text(_MODULE)
        command = [sys.executable, "-m", "camber", "start", folder, "--port", "0"]
        options = ["--site-port", "0", "--executors", "1", "--no-tail-logs"]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                found = (re.search(r"ready at (\S+)", line) for line in server.stdout)
                url = next(match for match in found if match)[1]
                _measure(_Deployment(url, server.pid), mib)
            finally:
                server.terminate()


class _Deployment:
    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._pid = pid

    def call(self, kind: str, path: str, **args: Any) -> Any:
        body = {"path": f"files:{path}", "args": args, "format": "json"}
        answer = httpx.post(f"{self._url}/api/{kind}", json=body, timeout=600).json()
        assert answer["status"] == "success", answer
        return answer["value"]

    @property
    def pids(self) -> list[int]:
        """The server, then the processes that it has started."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        return [self._pid, *map(int, children)]

    def peaks(self, run: Callable[[], object]) -> tuple[float, dict[int, float]]:
        """Return how long something takes, and by how many MiB each process grows meanwhile."""
        for pid in self.pids:
            # The highest so far is forgotten: what follows is the peak of this alone.
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = {pid: _status_mib(pid, "VmRSS") for pid in self.pids}
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        return seconds, {pid: _status_mib(pid, "VmHWM") - before[pid] for pid in before}


def _measure(deployment: _Deployment, mib: int) -> None:
    ids: list[str] = []
    digests: list[str] = []

    def body() -> Iterator[bytes]:
        for _ in range(mib):
            yield _PIECE

    def up() -> None:
        url = deployment.call("mutation", "upload_url")
        length = {"Content-Length": str(mib * _MIB)}
        answer = httpx.post(url, content=body(), headers=length, timeout=600)
        assert answer.status_code == 200, answer.text
        ids.append(answer.json()["storageId"])

    def down() -> None:
        digest = hashlib.sha256()
        with httpx.stream("GET", deployment.call("query", "url", id=ids[-1])) as answer:
            for piece in answer.iter_raw():
                digest.update(piece)
        digests.append(digest.hexdigest())

    def through_an_action() -> None:
        ids.append(deployment.call("action", "copied", id=ids[0]))

    steps = {"up": up, "down": down, "through an action": through_an_action, "down again": down}
    # Imports, buffers and threads that come with the first file are not the file's.
    warm = deployment.call("mutation", "upload_url")
    small = httpx.post(warm, content=b"small").json()["storageId"]
    deployment.call("action", "copied", id=small)
    for name, step in steps.items():
        seconds, grown = deployment.peaks(step)
        server, *others = grown.values()
        print(
            f"  {mib} MiB {name:18} {mib / seconds:6.0f} MiB/s; at its peak the server has "
            f"{server:5.1f} MiB more than before, an executor at most {max(others):5.1f}"
        )
    assert len(set(digests)) == 1, "the copy is another"


def _status_mib(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024
