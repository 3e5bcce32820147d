"""Sending spans to a collector, where the standard `OTEL_…` variables ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from camber.cli.console import Console
from camber.tracing import installed_tracing
from camber.version import VERSION

#: Each asks for spans to be sent.
_ASKING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"


@contextmanager
def telemetry(environment: Mapping[str, str], console: Console) -> Iterator[None]:
    """Send spans within the block, if the environment asks for it; say why if they cannot be.

    A provider that is installed already, as by `opentelemetry-instrument`, is left alone.
    """
    if not _is_asked_for(environment) or installed_tracing() is not None:
        yield
        return
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _HTTP)
    if protocol != _HTTP:
        console.complain(f"No spans are sent: the protocol {protocol!r} is not {_HTTP!r}")
        yield
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        console.complain("No spans are sent: OpenTelemetry is missing; pip install 'camber[otel]'")
        yield
        return
    name = environment.get("OTEL_SERVICE_NAME", "camber")
    # What OTEL_RESOURCE_ATTRIBUTES says is added by the SDK, and so are its sampler's variables.
    resource = Resource.create({SERVICE_NAME: name, SERVICE_VERSION: VERSION})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _is_asked_for(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(environment.get(name) for name in _ASKING)
