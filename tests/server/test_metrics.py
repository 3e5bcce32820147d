"""`/metrics`, read by Prometheus' own parser."""

from __future__ import annotations

import concurrent.futures

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from camber.version import VERSION
from tests.acceptance.sockets import raw_client
from tests.servers import ADMIN_KEY, KITCHEN, Server

_ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(KITCHEN, tmp_path_factory.mktemp("metrics"), command="start") as server:
        yield server


def _samples(server):
    response = httpx.get(f"{server.url}/metrics", headers=_ADMIN)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def _growth(server, happen):
    before = _samples(server)
    happen()
    after = _samples(server)
    return lambda name, **labels: (
        after[name, *sorted(labels.items())] - before[name, *sorted(labels.items())]
    )


def test_functions_are_counted_by_kind_and_outcome(server):
    def happen():
        server.call("query", "notes:count", {"board": "metrics"})
        for _ in range(3):
            server.call("query", "notes:count", {"board": "metrics"})
        server.call("query", "errors:value_error", {})
        server.call("mutation", "notes:add", {"board": "metrics", "rank": 1})
        server.call("action", "actions:double", {"value": 1})

    grown = _growth(server, happen)
    runs = "camber_function_runs_total"
    assert grown(runs, kind="query", outcome="success") == 1
    assert grown(runs, kind="query", outcome="failure") == 1
    assert grown(runs, kind="mutation", outcome="success") == 1
    assert grown(runs, kind="action", outcome="success") == 1
    assert grown(runs, kind="action", outcome="error") == 0
    assert grown("camber_query_cache_hits_total") == 3
    assert grown("camber_query_cache_misses_total") == 2
    assert grown("camber_function_seconds_count", kind="query") == 2
    assert 0 < grown("camber_function_seconds_sum", kind="query") < 60
    assert grown("camber_function_seconds_bucket", kind="query", le="+Inf") == 2
    assert grown("camber_commits_total") == grown("camber_commit_seconds_count") == 1
    assert grown("camber_commit_group_size_count") == 1
    assert grown("camber_newest_timestamp_seconds") > 0


def test_conflicts_are_counted(server):
    def increment(_):
        server.call("mutation", "counters:increment", {"name": "hot"})

    def happen():
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for _ in range(10):
                list(threads.map(increment, range(4)))

    grown = _growth(server, happen)
    assert grown("camber_commit_conflicts_total") > 0
    assert grown("camber_mutation_attempts_lost_total") == grown("camber_commit_conflicts_total")


def test_clients_are_counted_until_they_leave(server):
    sockets = ("camber_sync_sockets",)
    before = _samples(server)
    with raw_client(server) as client:
        client.connect()
        client.subscribe((0, "notes:count", {"board": "watched"}, {}))
        client.until(lambda: client.frames)
        assert _samples(server)[sockets] == before[sockets] + 1
        server.call("mutation", "notes:add", {"board": "watched", "rank": 1})
        client.until(lambda: len(client.frames) == 2)
        # The client has it before the server has counted it.
        while (after := _samples(server))["camber_transition_seconds_count",] == before[
            "camber_transition_seconds_count",
        ]:
            pass
        assert after["camber_transitions_total",] == before["camber_transitions_total",] + 2
        assert after["camber_query_results",] > 0
        assert after["camber_query_cache_bytes",] > 0
    while _samples(server)[sockets] != before[sockets]:
        pass


def test_the_store_and_the_process_are_measured(server):
    samples = _samples(server)
    assert samples["camber_store_bytes",] > 4096
    assert samples["camber_history_bytes",] >= 0
    assert samples["process_resident_memory_bytes",] > 10_000_000
    assert samples["camber_info", ("version", VERSION)] == 1
    while _samples(server)["camber_event_loop_lag_seconds_count",] == 0:
        pass


def test_executors_are_counted(server):
    def count(name, kind):
        return _samples(server)[name, ("kind", kind)]

    assert count("camber_executors", "transactions") >= 1
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(server.call, "action", "actions:slow", {"seconds": 2})
        while count("camber_executor_requests", "actions") == 0:
            assert not running.done()
        assert count("camber_executors", "actions") >= 1
        running.result()
    assert count("camber_executor_requests", "actions") == 0


def test_nothing_is_named_that_an_application_names(server):
    for number in range(3):
        server.call("query", f"nowhere{number}:nothing", {})
    text = httpx.get(f"{server.url}/metrics", headers=_ADMIN).text
    assert "notes" not in text
    assert "nowhere" not in text


def test_a_production_server_tells_holders_of_keys_only(server):
    assert httpx.get(f"{server.url}/metrics").status_code == 403
    wrong = {"Authorization": "Convex kitchen|00"}
    assert httpx.get(f"{server.url}/metrics", headers=wrong).status_code == 401


def test_it_can_be_open(tmp_path):
    with Server(KITCHEN, tmp_path, "--metrics", "open", command="start") as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 200
