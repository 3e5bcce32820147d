"""What operators watch, in Prometheus' format.

Rooms count for themselves, with what costs an addition (`camber.measures`); it is all gathered when
somebody asks. Labels are kinds and outcomes, never names of functions or of whom they ran for:
their number is bounded, and the log of functions has the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.responses import Response

from camber.deployment.deployment import Deployment
from camber.functions.definition import FunctionKind
from camber.jobs.scheduler import Outcome as ScheduledOutcome
from camber.measures import Histogram
from camber.runtime.function_log import Outcome
from camber.server.metrics import Metrics
from camber.version import VERSION


class Exposition:
    """Everything that rooms and sockets have counted, gathered whenever it is asked for."""

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gathered(deployment, metrics))
        ProcessCollector(registry=self._registry)

    def response(self) -> Response:
        """Return the response to who asks."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class _Gathered(Collector):
    """Reads what the rooms have counted."""

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self._deployment = deployment
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield everything, as Prometheus' client wants it."""
        yield InfoMetricFamily("camber", "What serves.", value={"version": VERSION})
        yield from self._functions()
        yield from self._queries()
        yield from self._commits()
        yield from self._clients()
        yield from self._scheduled()
        yield from self._process()

    def _functions(self) -> Iterator[Metric]:
        log = self._deployment.runtime.log
        runs = CounterMetricFamily(
            "camber_function_runs",
            "Functions that ran. failure: their own; error: the server could not run or commit.",
            labels=["kind", "outcome"],
        )
        for (kind, outcome), count in log.runs.items():
            runs.add_metric([kind.value, outcome.value], count)
        yield runs
        seconds = HistogramMetricFamily(
            "camber_function_seconds",
            "From the ask to the result, of functions that ran.",
            labels=["kind"],
        )
        for kind, histogram in log.durations.items():
            _add(seconds, [kind.value], histogram)
        yield seconds

    def _queries(self) -> Iterator[Metric]:
        log, queries = self._deployment.runtime.log, self._deployment.runtime.queries
        yield _counter(
            "camber_query_cache_hits",
            "Queries answered by a result that was there, or on its way.",
            log.hits,
        )
        ran = sum(log.runs[FunctionKind.QUERY, outcome] for outcome in Outcome)
        yield _counter("camber_query_cache_misses", "Queries that had to run.", ran)
        yield _gauge(
            "camber_query_cache_bytes", "Memory of cached results, about.", queries.cached_bytes
        )
        yield _gauge(
            "camber_query_results",
            "Results that hold and are under watch for commits.",
            queries.results_watched,
        )

    def _commits(self) -> Iterator[Metric]:
        engine = self._deployment.engine
        committer = engine.committer
        yield _counter(
            "camber_commit_conflicts",
            "Transactions that lost to another commit.",
            committer.conflicts,
        )
        yield _counter(
            "camber_mutation_attempts_lost",
            "Of these, attempts of mutations; all but the last that is allowed run again.",
            self._deployment.runtime.log.retries,
        )
        yield _counter("camber_commits", "Commits made durable.", committer.commit_s.count)
        yield _histogram(
            "camber_commit_seconds",
            "From a finished transaction until its commit is durable and visible.",
            committer.commit_s,
        )
        yield _histogram(
            "camber_commit_group_size", "Commits made durable together.", committer.group_sizes
        )
        yield _gauge(
            "camber_newest_timestamp_seconds",
            "The newest commit's timestamp.",
            engine.newest_ts / 1e9,
        )
        yield _gauge("camber_store_bytes", "The store on its disk.", engine.store.size_bytes())
        yield _gauge(
            "camber_history_bytes",
            "Superseded revisions kept, about.",
            engine.store.history_bytes(),
        )

    def _clients(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield _gauge(
            "camber_sync_sockets", "Open WebSockets of clients.", metrics.clients_connected
        )
        yield _gauge(
            "camber_sync_held_bytes",
            "Bytes that clients have not taken in, halves of messages and waiting arguments, about.",
            metrics.held_bytes,
        )
        refused = CounterMetricFamily(
            "camber_refused",
            "Connections, requests and sockets turned away or dropped since a bound was met.",
            labels=["code"],
        )
        for code, count in sorted(metrics.refused.items()):
            refused.add_metric([code], count)
        yield refused
        yield _counter("camber_transitions", "Transitions sent.", metrics.transitions)
        yield _histogram(
            "camber_transition_seconds",
            "From a commit that touches a client's queries until the Transition is sent.",
            metrics.transition_s,
        )

    def _scheduled(self) -> Iterator[Metric]:
        scheduler = self._deployment.scheduler
        runs = CounterMetricFamily(
            "camber_scheduled_runs",
            "Scheduled functions and cron jobs that ran. postponed: they are tried again.",
            labels=["outcome"],
        )
        for outcome in ScheduledOutcome:
            runs.add_metric([outcome.value], scheduler.outcomes[outcome])
        yield runs
        yield _histogram(
            "camber_scheduled_lateness_seconds",
            "How much later than due scheduled functions and cron jobs began.",
            scheduler.lateness_s,
        )

    def _process(self) -> Iterator[Metric]:
        yield _histogram(
            "camber_event_loop_lag_seconds",
            "How much later than due the server's loop came to a timer.",
            self._deployment.loop_lag_s,
        )
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in (*self._deployment.runtime.gauges, *self._deployment.scheduler.gauges):
            family = families.setdefault(
                gauge.name,
                GaugeMetricFamily(gauge.name, gauge.description, labels=list(gauge.labels)),
            )
            family.add_metric(list(gauge.labels.values()), gauge.read())
        yield from families.values()


def _counter(name: str, description: str, count: float) -> Metric:
    return CounterMetricFamily(name, description, value=count)


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)


def _histogram(name: str, description: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, description, labels=[])
    _add(family, [], histogram)
    return family


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), total))
    family.add_metric(labels, buckets, histogram.total)
