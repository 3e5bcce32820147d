"""Bounds of HTTP actions that would take minutes to reach, made small, on the real engine in process."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import contextmanager

import pytest

from camber import limits
from camber.server.application import site_application
from tests.functions.projects import project_app

_MODULE = """
    import asyncio
    import pathlib

    from starlette.responses import StreamingResponse

    import camber
    from camber import ActionCtx, HttpRouter, Request, Response

    http = HttpRouter()

    @http.post("/size")
    async def size(ctx: ActionCtx, request: Request) -> Response:
        return Response(str(len(await request.body())))

    @http.get("/who")
    async def who(ctx: ActionCtx, request: Request) -> Response:
        user = ctx.auth.get_user_identity()
        return Response("nobody" if user is None else user.name)

    @http.get("/waits")
    async def waits(ctx: ActionCtx, request: Request) -> Response:
        await asyncio.sleep(60)
        return Response("never")

    @http.get("/streams")
    async def streams(ctx: ActionCtx, request: Request) -> Response:
        async def pieces():
            for _ in range(100):
                yield b"x" * 100_000
        return StreamingResponse(pieces())

    @http.get("/waits/streaming")
    async def waits_streaming(ctx: ActionCtx, request: Request) -> Response:
        async def pieces():
            yield b"begun"
            await asyncio.sleep(60)
        return StreamingResponse(pieces())

    async def sockets(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                note(message["type"])
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await asyncio.sleep(60)

    def note(text):
        with (pathlib.Path(__file__).parent / "lifespans").open("a") as file:
            file.write(text + "\\n")

    async def broken(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def silent(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await asyncio.sleep(60)

    http.mount("/sockets", sockets)
    http.mount("/broken", broken)
    http.mount("/silent", silent)
"""


class Client:
    """One request, spoken to the application without a socket."""

    def __init__(self, app, path, *, method="GET", type="http"):
        self._app = app
        self.sent = []
        self.has_sent = asyncio.Event()
        self.messages = []
        self._scope = {
            "type": type,
            "asgi": {"version": "3.0"},
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "root_path": "",
            "subprotocols": [],
        }

    async def receive(self):
        """Return what there is to receive; then nothing comes any more."""
        if self.messages:
            return self.messages.pop(0)
        return await asyncio.Event().wait()

    async def send(self, message):
        self.sent.append(message)
        self.has_sent.set()

    async def answered(self):
        await site_application(self._app._core.deployment)(self._scope, self.receive, self.send)
        return self

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


@contextmanager
def limit(name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, name, value)
        yield


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("site") / "project", http=_MODULE) as app:
        yield app


async def answered(app, path, *, method="GET", messages=()):
    client = Client(app, path, method=method)
    client.messages = list(messages)
    return await client.answered()


def get(app, path):
    return app._core.wait(answered(app, path, messages=[{"type": "http.request"}]))


def test_a_body_of_which_nothing_comes_any_more_is_given_up(app):
    begun = {"type": "http.request", "body": b"slow", "more_body": True}
    with limit("http_body_idle_s_max", 0.05):
        client = app._core.wait(answered(app, "/size", method="POST", messages=[begun]))
    assert client.status == 408
    assert b"RequestTimeout" in client.body
    assert (b"connection", b"close") in client.sent[0]["headers"]


def test_a_request_that_takes_too_long_is_ended(app):
    with limit("action_s_max", 0.05):
        client = get(app, "/waits")
        late = get(app, "/waits/streaming")
    assert client.status == 500
    assert b"ActionTimeout" in client.body
    # It had begun: what comes is the beginning, and never the end.
    assert (late.status, late.body) == (200, b"begun")
    assert all(message.get("more_body", True) for message in late.sent)


def test_a_websocket_is_closed_when_its_time_is_up(app):
    async def both():
        client = Client(app, "/sockets", type="websocket")
        client.messages = [{"type": "websocket.connect"}]
        return await client.answered()

    with limit("action_s_max", 0.05):
        client = app._core.wait(both())
    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.close"]
    assert client.sent[1]["code"] == 1012


def test_a_client_that_takes_nothing_in_has_gone(app):
    class Stuck(Client):
        async def send(self, message):
            self.sent.append(message)
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

    async def ask():
        client = Stuck(app, "/streams")
        client.messages = [{"type": "http.request"}]
        return await client.answered()

    with limit("http_send_idle_s_max", 0.05):
        client = app._core.wait(ask())
    # Of ten megabytes the first piece was tried, and the action has ended.
    assert len(client.sent) == 2


def test_too_many_requests_at_once_are_refused(app):
    async def ask():
        clients = [Client(app, "/waits") for _ in range(3)]
        for client in clients:
            client.messages = [{"type": "http.request"}]
        asking = [asyncio.ensure_future(client.answered()) for client in clients]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return [task.result() for task in done]

    with limit("http_actions_in_flight_max", 2):
        (refused,) = app._core.wait(ask())
    assert refused.status == 503
    assert b"TooManyConcurrentRequests" in refused.body


def test_an_application_that_does_not_start_answers_nothing_and_says_why(app):
    for _ in range(2):
        client = get(app, "/broken")
        assert client.status == 500
        assert b"LifespanFailed" in client.body
        assert b"no database" in client.body
    with limit("lifespan_start_s_max", 0.05):
        assert b"has not started within" in get(app, "/silent").body
    # It has started, and answers nothing to HTTP.
    assert b"ended without a response" in get(app, "/sockets/x").body


def test_whoever_fetches_in_a_test_may_be_a_user(app):
    assert app.fetch("/who").text == "nobody"
    ada = app.with_identity(subject="ada", name="Ada")
    assert ada.fetch("/who").text == "Ada"
    # A header of its own is the application's, and does not verify here.
    refused = ada.fetch("/who", headers={"Authorization": "Bearer nonsense"})
    assert refused.status_code == 500
    assert app.fetch("/size", method="POST", json={"a": 1}).text == "7"


def test_a_lifespan_ends_with_its_release(tmp_path):
    with project_app(tmp_path / "project", http=_MODULE) as app:
        get(app, "/sockets/x")
        (noted,) = (tmp_path / "project").rglob("lifespans")
        assert noted.read_text().split() == ["lifespan.startup"]
    assert noted.read_text().split() == ["lifespan.startup", "lifespan.shutdown"]


def test_a_client_that_was_cut_off_leaves_nothing_behind(app):
    """As at the end of a server's grace: the request is cancelled, and its action is told."""

    async def ask():
        client = Client(app, "/waits/streaming")
        client.messages = [{"type": "http.request"}]
        asking = asyncio.ensure_future(client.answered())
        while len(client.sent) < 2:
            client.has_sent.clear()
            await client.has_sent.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    app._core.wait(ask())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(get, app, "/sockets/y").result().status == 500
