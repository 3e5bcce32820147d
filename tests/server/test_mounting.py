"""Camber inside FastAPI, Starlette and Django, under another way of starting uvicorn."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import camber
from camber.deployment.project import ProjectError
from tests.acceptance.sockets import raw_client
from tests.servers import KITCHEN

_HOSTS = {
    "fastapi": """
        from fastapi import FastAPI
        import camber

        backend = camber.asgi("project", url="https://here.test/backend")
        app = FastAPI(lifespan=backend.lifespan)
        app.mount("/backend", backend)
        app.mount("/hooks", backend.site)

        @app.get("/own")
        async def own() -> str:
            return "own"
    """,
    "starlette": """
        from contextlib import asynccontextmanager
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Mount, Route
        import camber

        backend = camber.asgi("project", url="https://here.test/backend")

        @asynccontextmanager
        async def lifespan(app):
            async with backend.lifespan():
                yield

        async def own(request):
            return JSONResponse("own")

        app = Starlette(
            routes=[
                Mount("/backend", backend),
                Mount("/hooks", backend.site),
                Route("/own", own),
            ],
            lifespan=lifespan,
        )
    """,
    "django": """
        import django
        from django.conf import settings

        settings.configure(ROOT_URLCONF="host", ALLOWED_HOSTS=["*"], SECRET_KEY="none")
        django.setup()

        from django.core.asgi import get_asgi_application
        from django.http import JsonResponse
        from django.urls import path
        from starlette.applications import Starlette
        from starlette.routing import Mount
        import camber

        async def own(request):
            return JsonResponse("own", safe=False)

        urlpatterns = [path("own", own)]
        backend = camber.asgi("project", url="https://here.test/backend")
        app = Starlette(
            routes=[
                Mount("/backend", backend),
                Mount("/hooks", backend.site),
                Mount("/", get_asgi_application()),
            ],
            lifespan=backend.lifespan,
        )
    """,
    "bare": """
        from starlette.applications import Starlette
        from starlette.routing import Mount
        import camber

        app = Starlette(routes=[Mount("/backend", camber.asgi("project"))])
    """,
}


class Host:
    """A host application in a process of its own, as its users start it."""

    def __init__(self, folder: Path, kind: str, *options: str) -> None:
        shutil.copytree(KITCHEN, folder / "project", dirs_exist_ok=True)
        (folder / "host.py").write_text(textwrap.dedent(_HOSTS[kind]))
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "host:app", "--port", "0",
                "--ws", "websockets-sansio", *options,
            ],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self._process.stderr is not None
        self.output = ""
        for line in self._process.stderr:
            self.output += line
            found = re.search(r"running on (http://\S+)", line)
            if found:
                self.root = found[1]
                self.url = f"{found[1]}/backend"
                break
        else:
            self._process.stderr.close()
            self._process.wait()
            raise AssertionError(f"uvicorn did not start:\n{self.output}")

    def value(self, kind: str, path: str, args: object) -> object:
        body = {"path": path, "args": args}
        answer = httpx.post(f"{self.url}/api/{kind}", json=body, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["value"]

    @property
    def children(self) -> list[int]:
        """Return the processes that run its functions."""
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(each) for each in path.read_text().split()]

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.stderr is not None
        self.output += self._process.stderr.read()
        self._process.stderr.close()
        self._process.wait()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.returncode is None:
            self.stop()


@pytest.mark.parametrize("kind", ["fastapi", "starlette", "django"])
def test_a_host_serves_a_project_and_closes_it(tmp_path, kind):
    with Host(tmp_path, kind) as host:
        # It was opened with the host: its processes are there before the first request.
        assert host.children
        assert host.value("mutation", "counters:increment", {"name": "x"}) == 1
        with raw_client(host) as client:
            client.connect()
            client.subscribe((0, "counters:read", {"name": "x"}, {}))
            client.until(lambda: client.results.get(0) == 1)
            host.value("mutation", "counters:increment", {"name": "x"})
            client.until(lambda: client.results.get(0) == 2)
        assert httpx.get(f"{host.root}/own").json() == "own"
        assert httpx.post(f"{host.url}/http/hook").text == "ok"
        assert httpx.post(f"{host.root}/hooks/hook").text == "ok"
        assert httpx.get(f"{host.root}/hooks/nowhere").text == "No matching routes found"
        assert httpx.get(f"{host.url}/version").status_code == 200
        site = host.value("action", "actions:variable", {"name": "CONVEX_SITE_URL"})
        assert site == "https://here.test/backend/http"
        body = {"path": "errors:value_error", "args": {}}
        assert httpx.post(f"{host.url}/api/query", json=body).json()["status"] == "error"
        children = host.children
        host.stop()
    # Without a configuration of `logging` too.
    assert "query errors:value_error failed" in host.output
    assert "ValueError: not that" in host.output
    assert "Traceback" not in host.output, host.output
    # A store that was closed has put its log of writes into its file.
    assert not list((tmp_path / "project" / ".camber").glob("*-wal"))
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_without_the_lifespan_the_first_request_opens_it(tmp_path):
    with Host(tmp_path, "bare") as host:
        assert not host.children
        assert host.value("query", "values:echo", {"value": 1}) == 1
        assert host.children


def test_a_second_process_of_the_same_data_does_not_start_and_says_why(tmp_path):
    with Host(tmp_path, "starlette") as host:
        with pytest.raises(AssertionError, match="uvicorn did not start") as refused:
            Host(tmp_path, "starlette")
        assert "camber.sqlite is open in another server" in str(refused.value)
        assert "Start the host with one worker" in str(refused.value)
        assert host.value("query", "values:echo", {"value": 2}) == 2


def test_without_the_lifespan_a_second_process_answers_that_it_does_not_serve(tmp_path):
    with Host(tmp_path, "bare") as host:
        assert host.value("query", "values:echo", {"value": 1}) == 1
        with Host(tmp_path, "bare") as second:
            answer = httpx.get(f"{second.url}/version")
            assert answer.status_code == 503
            assert answer.json()["code"] == "BackendIsNotRunning"
            second.stop()
        assert "is not served" in second.output
        assert host.value("query", "values:echo", {"value": 2}) == 2


def _host(tmp_path):
    shutil.copytree(KITCHEN, tmp_path / "project")
    backend = camber.asgi(tmp_path / "project", executors=0)
    return Starlette(routes=[Mount("/backend", backend)], lifespan=backend.lifespan)


async def _ask(app, method, path, **more):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return await client.request(method, path, **more)


def test_a_host_may_begin_and_end_several_times(tmp_path):
    app = _host(tmp_path)

    async def live():
        async with app.router.lifespan_context(app):
            body = {"path": "counters:increment", "args": {"name": "x"}}
            counted = await _ask(app, "POST", "/backend/api/mutation", json=body)
            answer = await _ask(app, "POST", "/backend/http/hook")
            assert answer.text == "ok"
            return counted.json()["value"]

    assert [asyncio.run(live()) for _ in range(2)] == [1, 2]


def test_what_fails_is_in_the_hosts_log_whole_and_its_client_is_told_no_more_than_ever(
    tmp_path, caplog
):
    app = _host(tmp_path)
    caplog.set_level("INFO", logger="camber.functions")

    async def live():
        async with app.router.lifespan_context(app):
            body = {"path": "errors:value_error", "args": {}}
            headers = {b"Convex-Request-Id": b"asked\x9bfor"}
            return await _ask(app, "POST", "/backend/api/query", json=body, headers=headers)

    answer = asyncio.run(live())
    assert "not that" not in answer.text
    (record,) = [each for each in caplog.records if each.name == "camber.functions"]
    headline, *frames = record.getMessage().splitlines()
    assert headline == (
        "query errors:value_error failed, request asked\\x9bfor: Uncaught ValueError: not that"
    )
    assert frames
    assert all(frame.startswith("        at backend/errors.py:") for frame in frames)
    assert record.camber_function == "errors:value_error"


def test_another_event_loop_is_told_what_is_wrong(tmp_path):
    app = _host(tmp_path)

    async def live():
        async with app.router.lifespan_context(app):
            assert (await _ask(app, "GET", "/backend/version")).status_code == 200
            with pytest.raises(RuntimeError, match="opened on another event loop"):
                await asyncio.to_thread(lambda: asyncio.run(_ask(app, "GET", "/backend/version")))
            assert (await _ask(app, "GET", "/backend/version")).status_code == 200
        # What the host has ended stays so until it begins again.
        assert (await _ask(app, "GET", "/backend/version")).status_code == 503

    asyncio.run(live())


def test_served_by_itself_it_says_why_it_does_not_start(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.camber]\n")
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "broken.py").write_text("1 / 0")
    sent = []
    messages = iter([{"type": "lifespan.startup"}])

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    backend = camber.asgi(tmp_path, executors=0)
    asyncio.run(backend({"type": "lifespan"}, receive, send))
    (failed,) = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert "division by zero" in failed["message"]


def test_a_folder_that_is_no_project_is_told_at_once(tmp_path):
    with pytest.raises(ProjectError, match=r"pyproject\.toml"):
        camber.asgi(tmp_path)
