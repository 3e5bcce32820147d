"""Spans, from a client's message to the push: in the server's process, and at a collector."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import json
import sys
import threading
import uuid
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.asyncio.client import connect

from camber.deployment import deployment as deployment_module
from camber.deployment.deployment import Deployment
from camber.deployment.settings import MEMORY, DeploymentSettings
from camber.server.ports import bind_pair
from camber.server.serving import serving
from camber.tracing import Tracing
from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.servers import KITCHEN, Server
from tests.sync.client import Books

_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """The spans that a server has ended."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider.get_tracer("test"))

    def named(self, name):
        (span,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return span

    def path_to(self, name):
        """Return the names from the root down to a span."""
        by_id = {span.context.span_id: span for span in self.exporter.get_finished_spans()}
        span, names = self.named(name), []
        while span is not None:
            names.append(span.name)
            span = None if span.parent is None else by_id.get(span.parent.span_id)
        return names[::-1]


@pytest.fixture
def spans(monkeypatch):
    found = Spans()
    monkeypatch.setattr(deployment_module, "installed_tracing", lambda: found.tracing)
    return found


class _Origin(str):
    """Where the API is, and beside it the site."""

    site: str

    def __new__(cls, api: str, site_port: int):
        origin = super().__new__(cls, api)
        origin.site = f"127.0.0.1:{site_port}"
        return origin


@asynccontextmanager
async def _served(tmp_path):
    """Serve the test application here; yields its origin."""
    settings = DeploymentSettings(root=KITCHEN, functions="backend", data=tmp_path, store=MEMORY)
    deployment = await Deployment.open(settings)
    api, site = bind_pair("127.0.0.1", 0, 0)
    try:
        with api, site:
            await deployment.push()
            async with serving(deployment, api=api, site=site):
                yield _Origin(f"127.0.0.1:{api.getsockname()[1]}", site.getsockname()[1])
    finally:
        await deployment.close()


class _Client(Books):
    def __init__(self, socket):
        super().__init__()
        self.socket = socket

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def until(self, condition):
        while not condition(self):
            self.receive(await self.socket.recv())


async def _subscribe_and_change(origin):
    """Subscribe to a query, change what it reads, and see it change."""
    async with connect(f"ws://{origin}/api/1.48.0/sync") as socket:
        client = _Client(socket)
        await client.send(
            type="Connect",
            sessionId=str(uuid.uuid4()),
            connectionCount=0,
            lastCloseReason=None,
            maxObservedTimestamp=None,
            clientTs=0,
        )
        add = {
            "type": "Add",
            "queryId": 0,
            "udfPath": "notes:count",
            "args": [{"board": "b"}],
        }
        await client.send(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
        await client.until(lambda it: it.results)
        note = {"board": "b", "rank": 1}
        await client.send(type="Mutation", requestId=0, udfPath="notes:add", args=[note])
        await client.until(lambda it: it.responses and it.results[0] == 1)


def test_a_mutation_leads_to_the_transition_that_shows_it(spans, tmp_path):
    async def main():
        async with _served(tmp_path) as origin:
            await _subscribe_and_change(origin)

    asyncio.run(main())
    names = [span.name for span in spans.exporter.get_finished_spans()]
    assert sorted(names) == [
        "attempt",
        "commit",
        "invalidate",
        "mutation notes:add",
        "query notes:count",
        "query notes:count",
        "sync notes:add",
        "transition",
        "transition",
    ]
    assert spans.path_to("attempt") == ["sync notes:add", "mutation notes:add", "attempt"]
    pushed = ["sync notes:add", "mutation notes:add", "commit", "invalidate"]
    assert spans.path_to("invalidate") == pushed
    first, second = [
        span for span in spans.exporter.get_finished_spans() if span.name == "transition"
    ]
    assert first.parent is None
    assert first.attributes["camber.cause"] == "client"
    assert second.parent.span_id == spans.named("invalidate").context.span_id
    assert second.attributes["camber.cause"] == "commit"
    queries = [
        span for span in spans.exporter.get_finished_spans() if span.name == "query notes:count"
    ]
    assert [span.parent.span_id for span in queries] == [
        first.context.span_id,
        second.context.span_id,
    ]
    received = spans.named("sync notes:add")
    assert len({span.context.trace_id for span in (received, second, queries[1])}) == 1
    assert received.kind.name == "SERVER"
    assert received.start_time <= spans.named("mutation notes:add").start_time
    assert spans.named("commit").attributes["camber.documents"] >= 1
    ran = spans.named("mutation notes:add").attributes
    assert ran["camber.documents_written"] == 1
    assert ran["camber.queue_wait_ms"] >= 0
    assert ran["camber.caller"] == "SyncWorker"


def test_a_request_is_part_of_the_trace_that_its_header_names(spans, tmp_path):
    async def main():
        async with _served(tmp_path) as origin, httpx.AsyncClient() as client:
            for path, args in (("notes:count", {"board": "b"}), ("errors:value_error", {})):
                await client.post(
                    f"http://{origin}/api/query?secret=hush",
                    json={"path": path, "args": args},
                    headers={"traceparent": _PARENT},
                )
            await client.post(
                f"http://{origin}/api/action",
                json={"path": "actions:increment_twice", "args": {"name": "n"}},
                headers={"traceparent": "nonsense"},
            )

    asyncio.run(main())
    found = spans.exporter.get_finished_spans()
    requests = [span for span in found if span.name == "POST /api/query"]
    assert [f"{span.context.trace_id:032x}" for span in requests] == [_PARENT[3:35]] * 2
    assert [f"{span.parent.span_id:016x}" for span in requests] == [_PARENT[36:52]] * 2
    assert requests[0].attributes["http.response.status_code"] == 200
    assert "hush" not in str([dict(span.attributes) for span in found])
    failed = spans.named("query errors:value_error")
    assert failed.parent.span_id == requests[1].context.span_id
    assert failed.attributes["error.type"] == "failure"
    assert failed.status.description.startswith("Uncaught ValueError: not that\n")
    # What an action runs is below it, and nonsense in a header begins a trace of its own.
    assert spans.named("POST /api/action").parent is None
    assert spans.path_to("query counters:read") == [
        "POST /api/action",
        "action actions:increment_twice",
        "query counters:read",
    ]
    plain = "action actions:increment_plain"
    assert spans.path_to(plain) == ["POST /api/action", "action actions:increment_twice", plain]


def test_an_http_action_has_its_route_and_is_part_of_the_trace(spans, tmp_path):
    async def main():
        async with _served(tmp_path) as origin, httpx.AsyncClient() as client:
            await client.post(f"http://{origin.site}/hook", headers={"traceparent": _PARENT})
            await client.get(f"http://{origin}/http/nowhere")

    asyncio.run(main())
    request = spans.named("POST /hook")
    assert f"{request.context.trace_id:032x}" == _PARENT[3:35]
    assert request.attributes["http.route"] == "/hook"
    assert request.attributes["http.response.status_code"] == 200
    assert spans.path_to("httpAction POST /hook") == ["POST /hook", "httpAction POST /hook"]
    assert spans.named("GET /http/{path:path}").attributes["http.response.status_code"] == 404


def test_system_queries_and_answers_from_the_cache_are_no_spans(spans, tmp_path):
    async def main():
        async with _served(tmp_path) as origin, httpx.AsyncClient() as client:
            for _ in range(3):
                body = {"path": "notes:count", "args": {"board": "b"}}
                await client.post(f"http://{origin}/api/query", json=body)

    asyncio.run(main())
    spans.named("query notes:count")


# In a process of its own.


class _Collector(http.server.BaseHTTPRequestHandler):
    """An OTLP/HTTP receiver."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        self.server.received.append((self.path, request))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format, *args):
        """Say nothing."""


@contextmanager
def _collector():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        server.received = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_server_sends_its_spans_where_it_is_told_to(tmp_path, monkeypatch):
    with _collector() as collector:
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "kitchen")
        with Server(KITCHEN, tmp_path, command="start") as server, raw_client(server) as client:
            client.connect()
            client.subscribe((0, "notes:count", {"board": "b"}, {}))
            client.until(lambda: client.results)
            client.mutate(0, "notes:add", {"board": "b", "rank": 1})
            client.until(lambda: client.responses and client.results[0] == 1)
            server.stop()
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    resources = [group for _, request in collector.received for group in request.resource_spans]
    services = {
        attribute.value.string_value
        for group in resources
        for attribute in group.resource.attributes
        if attribute.key == "service.name"
    }
    assert services == {"kitchen"}
    sent = [span for group in resources for scope in group.scope_spans for span in scope.spans]
    by_id = {span.span_id: span for span in sent}
    (invalidate,) = [span for span in sent if span.name == "invalidate"]
    names = []
    span = invalidate
    while span is not None:
        names.append(span.name)
        span = by_id.get(span.parent_span_id)
    assert names == ["invalidate", "commit", "mutation notes:add", "sync notes:add"]
    assert any(
        span.name == "transition" and span.parent_span_id == invalidate.span_id for span in sent
    )


def test_a_server_says_why_it_sends_no_spans(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    project = write_project(tmp_path / "project", empty="")
    with Server(project, tmp_path / "data") as server:
        server.stop()
    assert "No spans are sent: the protocol 'grpc' is not 'http/protobuf'\n" in server.output


def test_nothing_of_it_is_loaded_where_nobody_asks():
    import subprocess

    text = (
        "import sys, camber.cli.main, camber.server.serving;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
