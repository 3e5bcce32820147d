"""Camber inside a host application, under another way of starting uvicorn."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest

import camber
from camber.deployment.project import ProjectError
from tests.acceptance.sockets import raw_client
from tests.servers import KITCHEN

HOST = """
from starlette.applications import Starlette
from starlette.routing import Mount
import camber

app = Starlette(routes=[Mount("/backend", camber.asgi("project"))])
"""


class _Hosted:
    def __init__(self, url):
        self.url = url


@pytest.fixture
def hosted(tmp_path):
    shutil.copytree(KITCHEN, tmp_path / "project")
    (tmp_path / "host.py").write_text(HOST)
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "host:app", "--port", "0", "--ws", "websockets-sansio"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"running on (http://\S+)", line)
        if found:
            break
    else:
        raise AssertionError("uvicorn did not start")
    yield _Hosted(f"{found[1]}/backend")
    process.terminate()
    process.stderr.close()
    process.wait()


def test_a_host_serves_a_project(hosted):
    body = {"path": "values:echo", "args": {"value": 1}}
    answer = httpx.post(f"{hosted.url}/api/query", json=body)
    assert answer.json() == {"status": "success", "value": 1.0}
    with raw_client(hosted) as client:
        client.connect()
        client.subscribe((0, "values:echo", {"value": 2}, {}))
        client.until(lambda: client.results.get(0) == 2)


def test_a_folder_that_is_no_project_is_told_at_once(tmp_path):
    with pytest.raises(ProjectError, match=r"pyproject\.toml"):
        camber.asgi(tmp_path)
