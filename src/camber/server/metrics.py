"""What operators watch, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from camber.deployment.deployment import Deployment
from camber.functions.definition import FunctionKind


class Metrics:
    """The metrics of one server."""

    def __init__(self, deployment: Deployment) -> None:
        self._registry = CollectorRegistry()
        self.sockets = Gauge(
            "camber_sync_sockets", "Open WebSockets of clients.", registry=self._registry
        )
        self._functions = Counter(
            "camber_functions",
            "Functions run over HTTP and for clients' requests.",
            ["kind", "outcome"],
            registry=self._registry,
        )
        newest = Gauge(
            "camber_newest_timestamp_seconds",
            "The newest commit's timestamp.",
            registry=self._registry,
        )
        newest.set_function(lambda: deployment.engine.newest_ts / 1e9)

    def function_ran(self, kind: FunctionKind, *, failed: bool) -> None:
        """Count one function that ended."""
        self._functions.labels(kind.value, "failure" if failed else "success").inc()

    @property
    def clients_connected(self) -> int:
        """Return how many sockets of clients are open."""
        return int(self._registry.get_sample_value("camber_sync_sockets") or 0)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)
