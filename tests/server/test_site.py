"""HTTP actions and mounted applications, on the site port of a real server."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import socket
import threading
import time

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.servers import ADMIN_KEY, REPOSITORY, Server

WEB = REPOSITORY / "tests" / "applications" / "web"
_MIB = 1024 * 1024
_LIMIT_S = 15


class Web(Server):
    """A server of the web application."""

    def notes(self):
        return self.value("query", "notes:texts", {})

    def __enter__(self):
        return self

    def add(self, text):
        self.value("mutation", "notes:add", {"text": text})

    def until(self, holds):
        """Wait until the notes are such that it holds; return what it says."""
        deadline = time.monotonic() + _LIMIT_S
        while not (found := holds(self.notes())):
            assert time.monotonic() < deadline, self.notes()
        return found


@pytest.fixture(scope="module")
def progress(tmp_path_factory):
    """A file in which the application says how far it has got with a stream."""
    return tmp_path_factory.mktemp("progress") / "sent"


@pytest.fixture(scope="module", params=["1", "0"], ids=["processes", "in-process"])
def web(request, tmp_path_factory, progress):
    os.environ["WEB_PROGRESS"] = str(progress)
    options = ("--executors", request.param, "--allow-hosts", "example.test")
    with Web(WEB, tmp_path_factory.mktemp("web"), *options) as server:
        yield server


@pytest.fixture
def own_web(tmp_path):
    with Web(WEB, tmp_path / "data", "--executors", "1") as server:
        yield server


class Raw:
    """A connection to the site, of which nothing is hidden."""

    def __init__(self, web, *, buffer=None):
        host, port = web.site_url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(_LIMIT_S)
        self.socket.connect((host, int(port)))
        self.held = b""

    def begin(self, method, path, *headers):
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers])
        self.socket.sendall(head.encode() + b"\r\n\r\n")

    def chunk(self, data):
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def until(self, end):
        """Return what comes up to `end`."""
        while end not in self.held:
            more = self.socket.recv(65536)
            assert more, f"ended after {self.held!r}"
            self.held += more
        found, _, self.held = self.held.partition(end)
        return found

    def next_chunk(self):
        size = int(self.until(b"\r\n"), 16)
        while len(self.held) < size + 2:
            self.held += self.socket.recv(65536)
        chunk, self.held = self.held[:size], self.held[size + 2 :]
        return chunk

    def to_end(self):
        found = self.held
        while more := self.socket.recv(65536):
            found += more
        return found

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()


_client = httpx.Client(timeout=_LIMIT_S, limits=httpx.Limits(max_keepalive_connections=0))


def get(web, path, **more):
    return _client.get(f"{web.site_url}{path}", **more)


def post(web, path, **more):
    return _client.post(f"{web.site_url}{path}", **more)


# Requests and responses.


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_has_its_handler(web, method):
    headers = [("X-One", "1"), ("X-Many", "a"), ("X-Many", "b")]
    answer = httpx.request(method, f"{web.site_url}/seen?a=b%20c", headers=headers, content=b"body")
    assert answer.status_code == 200
    assert answer.headers["x-answer"] == "yes"
    seen = answer.json()
    assert seen["method"] == method
    assert seen["url"] == f"{web.site_url}/seen?a=b%20c"
    assert (seen["query"], seen["header"]) == ({"a": "b c"}, "1")
    assert seen["headers"] == ["a", "b"]
    # A handler of these sees no body, whatever is sent.
    assert seen["size"] == (0 if method in {"GET", "OPTIONS"} else 4)
    # Nobody but the handler says what other origins may do.
    assert "access-control-allow-origin" not in answer.headers


def test_head_is_what_get_answers_without_its_body(web):
    head = httpx.head(f"{web.site_url}/pets/cats")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "5"
    # A stream of which nobody hears is not made.
    before = web.notes().count("stopped counting")
    streamed = httpx.head(f"{web.site_url}/count")
    assert (streamed.status_code, streamed.content) == (200, b"")
    web.until(lambda notes: notes.count("stopped counting") > before)
    assert not [line for line in web.output if "GET /count" in line and "failed" in line]


def test_headers_that_come_twice_go_twice(web):
    cookies = get(web, "/cookies").headers.get_list("set-cookie")
    assert [each.partition(";")[0] for each in cookies] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("TRACE", "/"), ("PROPFIND", "/"), ("PROPFIND", "/nowhere"), ("TRACE", "/sockets/x")],
)
def test_methods_that_no_route_has_are_refused(web, method, path):
    answer = httpx.request(method, f"{web.site_url}{path}")
    assert (answer.status_code, answer.content) == (405, b"")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


def test_what_is_mounted_takes_methods_of_its_own(web):
    assert httpx.request("PROPFIND", f"{web.site_url}/sockets/x").text == "/sockets/x"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", "home"),
        ("/pets/cats", "exact"),
        ("/pets/dogs", "kind dogs"),
        ("/pets/a%2Fb", "kind a/b"),
        ("/pets/cats/tom", "cat tom"),
        ("/pets/cats/old/tom/9", "old /pets/cats/old/tom/9"),
        ("/pets/", "below /pets/"),
        ("/pets/a/b/c", "below /pets/a/b/c"),
        ("/pets/dogs/rex", '{"kind":"dogs","name":"rex"}'),
    ],
)
def test_the_most_particular_route_answers(web, path, answer):
    assert get(web, path).text == answer


@pytest.mark.parametrize("path", ["/pets", "/seen/", "//", "/Seen", "/.files", "/post"])
def test_no_route_is_404(web, path):
    answer = get(web, path)
    assert (answer.status_code, answer.text) == (404, "No matching routes found")
    # A method that a path does not have is another route (semantics 6.2).
    assert post(web, "/pets/cats").status_code == 404


def test_without_a_router_http_is_not_enabled(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.camber]\n")
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "a.py").write_text("")
    with Server(tmp_path, tmp_path / "data", "--executors", "0") as server:
        answer = httpx.get(f"{server.site_url}/")
        assert answer.status_code == 404
        assert "does not have HTTP actions enabled" in answer.text


def test_the_api_port_has_the_site_below_http(web):
    answer = httpx.get(f"{web.url}/http/seen?a=b", headers={"Origin": "https://other.test"})
    assert answer.json()["url"] == f"{web.url}/http/seen?a=b"
    assert "access-control-allow-origin" not in answer.headers
    assert httpx.get(f"{web.url}/http/api/state").json() == {"started": "yes", "root": "/http/api"}


def test_what_stands_before_the_server_says_the_scheme(web):
    for headers in ({"X-Forwarded-Proto": "https"}, {"Forwarded": 'for=x;proto="https", for=y'}):
        assert get(web, "/seen", headers=headers).json()["url"].startswith("https://")
    assert (
        get(web, "/seen", headers={"X-Forwarded-Proto": "gopher"}).json()["url"].startswith("http:")
    )


def test_an_http_action_calls_functions_and_reads_the_environment(web):
    answer = post(web, "/notes", content="from the web")
    assert answer.status_code == 201
    assert answer.json()[-1] == "from the web"
    assert get(web, "/env").text == web.site_url


def test_an_http_action_stores_files_and_schedules(web):
    content = os.urandom(3 * _MIB)
    stored = post(web, "/files", content=content, headers={"Content-Type": "application/x-own"})
    assert stored.status_code == 200, stored.text
    loaded = get(web, f"/files/{stored.text}")
    assert loaded.content == content
    assert loaded.headers["content-type"] == "application/x-own"
    web.until(lambda notes: f"stored {stored.text}" in notes)


# Who calls.


def test_a_token_that_does_not_verify_fails_only_who_asks(web):
    for header in ("Bearer nonsense", "Basic dXNlcjpwYXNz", "short", "Convex web|00"):
        headers = {"Authorization": header}
        assert get(web, "/token", headers=headers).text == header
        for path in ("/me", "/me/query"):
            answer = get(web, path, headers=headers)
            assert answer.status_code == 500
            assert answer.json()["code"].startswith("[Request ID: ")
    assert get(web, "/me").text == "nobody"
    assert get(web, "/me/query").text == "None"


def test_an_admin_acts_as_a_user(web):
    user = base64.b64encode(b'{"issuer":"i","subject":"s","name":"Ada"}').decode()
    headers = {"Authorization": f"Convex {ADMIN_KEY}:{user}"}
    assert get(web, "/me", headers=headers).text == "Ada"
    assert get(web, "/me/query", headers=headers).text == "Ada"


# Streams.


def test_a_response_arrives_piece_by_piece_while_the_request_still_comes(web):
    with Raw(web) as raw:
        raw.begin("POST", "/echo", "Transfer-Encoding: chunked")
        raw.chunk(b"one")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert raw.next_chunk() == b"ONE"
        for number in range(20):
            raw.chunk(b"more %d" % number)
            assert raw.next_chunk() == b"MORE %d" % number
        raw.socket.sendall(b"0\r\n\r\n")
        assert raw.next_chunk() == b""


def test_a_client_that_goes_away_ends_the_stream(web):
    before = web.notes().count("stopped counting")
    with Raw(web) as raw:
        raw.begin("GET", "/count")
        raw.until(b"\r\n3\n")
    web.until(lambda notes: notes.count("stopped counting") > before)
    assert not [line for line in web.output if "GET /count" in line and "failed" in line]


def test_a_slow_reader_makes_the_action_wait(web, progress):
    pieces = 300
    progress.unlink(missing_ok=True)
    with Raw(web, buffer=65536) as raw:
        raw.begin("GET", f"/flood?pieces={pieces}")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        # Others are answered, in which time it would be done many times over.
        for _ in range(200):
            assert get(web, "/").text == "home"
        assert int(progress.read_text()) < 12 * _MIB
        size = len(raw.held)
        while size < pieces * 65536:
            size += len(raw.socket.recv(1_000_000))
        assert int(progress.read_text()) == pieces * 65536


def test_an_action_that_reads_slowly_makes_the_client_wait(web):
    with Raw(web) as raw:
        size = 19 * _MIB
        raw.begin("POST", "/slow-reader", f"Content-Length: {size}")
        raw.socket.setblocking(False)
        sent = 0
        while sent < size and select.select([], [raw.socket], [], 0.5)[1]:
            sent += raw.socket.send(bytes(min(65536, size - sent)))
        assert sent < 14 * _MIB
        web.add("go")
        raw.socket.setblocking(True)
        raw.socket.settimeout(_LIMIT_S)
        raw.socket.sendall(bytes(size - sent))
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert raw.until(b"}") == b'{"size":%d' % size


# Bounds.


def test_bodies_have_a_largest_size(web):
    most = 20 * _MIB
    assert post(web, "/seen", content=bytes(most)).json()["size"] == most
    declared = post(web, "/seen", content=bytes(most + 1))
    assert declared.status_code == 413
    assert declared.json()["code"] == "RequestTooLarge"


def test_a_chunked_body_that_grows_too_large_is_refused(web):
    with Raw(web) as raw:
        raw.begin("POST", "/seen", "Transfer-Encoding: chunked")
        for _ in range(320):
            raw.chunk(bytes(65536))
        raw.chunk(b"x")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 413")
        assert json.loads(raw.to_end())["code"] == "RequestTooLarge"


def test_responses_have_a_largest_size(web):
    most = 20 * _MIB
    assert len(get(web, f"/large?size={most}").content) == most
    answer = get(web, f"/large?size={most + 1}")
    assert answer.status_code == 500
    assert "ResponseTooLarge" in answer.json()["code"]
    assert len(get(web, f"/large/streamed?size={most}").content) == most
    # Its head has gone: it ends without its end, so that nobody takes it for whole.
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        get(web, f"/large/streamed?size={most + 65536}")


def test_a_body_that_is_not_read_does_not_matter(web):
    with httpx.Client(base_url=web.site_url) as client:
        for _ in range(3):
            assert client.post("/ignores-body", content=bytes(3 * _MIB)).text == "early"


# What goes wrong.


def test_what_a_handler_raises_is_a_500_that_says_what_in_development(web):
    answer = get(web, "/raises", headers={"Convex-Request-Id": "cafe"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body["code"] == "[Request ID: cafe] Server Error: no such thing"
    first, at, end = body["trace"].split("\n")
    assert (first, end) == ("Uncaught ValueError: no such thing", "")
    assert re.fullmatch(r"    at backend/http\.py:\d+ in raises", at)
    with_data = get(web, "/raises/app").json()
    assert with_data["data"] == {"code": "FULL", "seats": 3}
    assert get(web, "/raises/nested").json()["data"] == {"code": "NO", "cents": 3}
    assert get(web, "/raises/exit").status_code == 500
    assert "returned str" in get(web, "/returns/text").json()["code"]
    with pytest.raises(httpx.RemoteProtocolError):
        get(web, "/raises/late")
    assert get(web, "/").text == "home"


def test_responses_that_cannot_be_are_their_authors_failure(web):
    split = get(web, "/header/split")
    assert split.status_code == 500
    assert "set-cookie" not in split.headers
    assert (get(web, "/status/204").status_code, get(web, "/status/204").content) == (204, b"")
    assert get(web, "/status/304").status_code == 304
    for status in (101, 700, -1):
        assert "no status of a response" in get(web, f"/status/{status}").json()["code"]


def test_with_redaction_only_data_is_told(tmp_path):
    with Web(WEB, tmp_path / "data", "--executors", "1", command="start") as web:
        answer = get(web, "/raises", headers={"Convex-Request-Id": "cafe"})
        assert answer.json() == {"code": "[Request ID: cafe] Server Error"}
        told = get(web, "/raises/app").json()
        assert told.keys() == {"code", "data"}
        assert told["data"] == {"code": "FULL", "seats": 3}
        # What has begun is finished when the server ends.
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(post(web, "/goes-on")))
        asking.start()
        web.until(lambda notes: "began" in notes)
        with connect(f"{web.site_url.replace('http', 'ws')}/api/echo") as ws:
            ws.send("before the end")
            assert str(ws.recv(_LIMIT_S)).startswith("before the end")
            web.add("go")
            web.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                ws.recv(_LIMIT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        asking.join()
        assert answers[0].text == "done"
        web.wait()
        assert web.status == 0


def test_an_action_whose_process_is_killed_is_lost_and_not_run_again(own_web):
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(post(own_web, "/lost")))
    asking.start()
    (note,) = own_web.until(lambda notes: [each for each in notes if each.startswith("pid ")])
    os.kill(int(note.removeprefix("pid ")), signal.SIGKILL)
    asking.join()
    assert answers[0].status_code == 500
    assert "ActionLost" in answers[0].json()["code"]
    with Raw(own_web) as raw:
        raw.begin("POST", "/lost/late", "Content-Length: 0")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        pid = int(raw.next_chunk().removeprefix(b"pid "))
        os.kill(pid, signal.SIGKILL)
        # Cut off: the last chunk never comes.
        assert raw.to_end() == b""
    assert get(own_web, "/").text == "home"
    assert [each for each in own_web.notes() if each.startswith("pid ")] == [note]


def test_an_action_goes_on_when_its_client_has_gone(own_web):
    with Raw(own_web) as raw:
        raw.begin("POST", "/goes-on", "Content-Length: 0")
        own_web.until(lambda notes: "began" in notes)
    own_web.add("go")
    own_web.until(lambda notes: "went on" in notes)
    assert post(own_web, "/background").text == "now"
    own_web.until(lambda notes: "later" in notes)


# Webhooks (vectors of the senders' own libraries).


def test_webhooks_verify_signatures_over_the_raw_body(web):
    body = '{"id":"evt_1","object":"event","type":"customer.created"}'
    signature = "7401f12dfbd370e571f0ed15746eb48bff16d798a9b8f1fc8c91034db4bb4698"
    headers = {"Stripe-Signature": f"t=1700000000,v1={signature}"}
    assert post(web, "/webhooks/stripe", content=body, headers=headers).json() == {"received": True}
    # The same JSON in other bytes is another body.
    other = post(web, "/webhooks/stripe", content=body.replace(":", ": "), headers=headers)
    assert other.status_code == 400

    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": "1700000000",
        "svix-signature": "v1,wrong v1,p/E39zZ8qTZeFSDUtrHngyUuSs9FC64q3QwDSYeUPz0=",
    }
    body = '{"type":"email.delivered"}'
    assert post(web, "/webhooks/svix", content=body, headers=headers).text == "ok"
    assert post(web, "/webhooks/svix", content=body + " ", headers=headers).status_code == 401

    form = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+15550001111"}
    headers = {
        "Host": "example.test",
        "X-Forwarded-Proto": "https",
        "X-Twilio-Signature": "nr4XvCEgJeUPhtqVdBOVwOo2Sl0=",
    }
    answer = post(web, "/twilio/message-status", data=form, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/xml")
    forged = post(web, "/twilio/message-status", data={**form, "To": "+1"}, headers=headers)
    assert forged.status_code == 403


# Mounted applications.


def test_a_mounted_application_has_the_deployments_context(web):
    assert get(web, "/api/state").json() == {"started": "yes", "root": "/api"}
    assert post(web, "/api/notes", json={"text": "by FastAPI"}).json()[-1] == "by FastAPI"
    assert post(web, "/api/notes", json={"stars": "x"}).status_code == 422
    assert "by FastAPI" in get(web, "/api/blocking").json()
    assert get(web, "/api/stream").text == "0\n1\n2\n"
    assert get(web, "/api/docs").status_code == 200
    assert get(web, "/api/raises").status_code == 500
    assert get(web, "/api/wrong-blocking").status_code == 500
    assert get(web, "/api/state").status_code == 200
    assert get(web, "/sockets/a/b").text == "/sockets/a/b"
    assert get(web, "/sockets").text == "/sockets"
    started = [line for line in web.output if "the mounted application starts" in line]
    assert len(started) == 1
    web.wait_for(re.compile(r"H\(GET /api/\*\) Uncaught ValueError: in FastAPI"))


def test_a_mounted_application_serves_websockets(web):
    url = f"{web.site_url.replace('http', 'ws')}/api"
    with connect(f"{url}/echo?protocol=chat", subprotocols=[Subprotocol("chat")]) as ws:
        assert ws.subprotocol == "chat"
        for text in ("one", "two"):
            ws.send(text)
            assert str(ws.recv(_LIMIT_S)).startswith(f"{text} of ")
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{url}/refuses")
    assert refused.value.response.status_code == 403
    with connect(f"{url}/fails") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(_LIMIT_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    # Routes take no WebSockets, and neither does what is not there.
    for path in ("/seen", "/nowhere"):
        with pytest.raises(InvalidStatus):
            connect(f"{web.site_url.replace('http', 'ws')}{path}")


# What operators see.


def test_the_log_the_metrics_and_the_listing_have_http_actions(web):
    admin = {"Authorization": f"Convex {ADMIN_KEY}", "Convex-Client": "npm-cli-1.48.0"}
    get(web, "/seen", headers={"Convex-Request-Id": "looked-for"})
    get(web, "/raises", headers={"Convex-Request-Id": "looked-for-too"})
    answer = httpx.get(f"{web.url}/api/stream_function_logs?cursor=0&hold=0", headers=admin)
    entries = [each for each in answer.json()["entries"] if "looked-for" in each["requestId"]]
    line, done, failed = entries
    assert line["kind"] == "Progress"
    assert line["logLines"][0]["messages"] == ["'seen'", "'GET'"]
    assert {each["udfType"] for each in entries} == {"HttpAction"}
    assert (done["identifier"], done["success"]) == ("GET /seen", {"status": "200"})
    assert (done["caller"], done["error"]) == ("HttpEndpoint", None)
    assert (failed["identifier"], failed["success"]) == ("GET /raises", None)
    assert failed["error"].startswith("Uncaught ValueError: no such thing")

    metrics = httpx.get(f"{web.url}/metrics", headers=admin).text
    assert 'camber_function_runs_total{kind="httpAction",outcome="success"}' in metrics
    assert 'camber_function_seconds_count{kind="httpAction"}' in metrics

    spec = web.value(
        "query", "_system/cli/modules:apiSpec", {}, Authorization=admin["Authorization"]
    )
    routes = [each for each in spec if each["functionType"] == "HttpAction"]
    assert {"functionType": "HttpAction", "method": "GET", "path": "/pets/*"} in routes
    paths = httpx.get(f"{web.url}/api/openapi.json").json()["paths"]
    assert paths["/http/seen"]["post"]["summary"] == "Say what came."
    assert paths["/http/pets/{kind}/{name}"]["get"]["parameters"][1]["name"] == "name"
