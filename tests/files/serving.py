"""What tests of files have in common: the application, and a look at what lies on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.servers import REPOSITORY, Server

PHOTOS = REPOSITORY / "tests" / "applications" / "photos"
_PATIENCE_S = 20


def content_files(data: Path) -> list[Path]:
    """Return the files on disk that hold content, whole or not."""
    return [path for path in (data / "files").rglob("*") if path.is_file()]


def upload(server: Server, content: bytes, content_type: str | None = None) -> str:
    """Upload a file and return its id."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    url = str(server.value("mutation", "files:upload_url", {}))
    answer = httpx.post(url, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["storageId"])


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds that is done in the background."""
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.01)
