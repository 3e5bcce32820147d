import os
import shutil
import signal
import subprocess
import sys

import pytest

from bench import loads
from bench.keys import KEYS
from bench.loads import Load
from bench.same_rows import commits_per_s, read_rows
from bench.scale import QUICK
from bench.series import SERIES
from bench.servers import PEERS, CouldNotMeasure, Http, camber
from bench.summary import value_of
from bench.turns import Turns, yardstick


@pytest.fixture(scope="session", autouse=True)
def built():
    """The load generator, built as `make bench` builds it, beside the servers to compare with."""
    missing = None if (PEERS / ".installed").exists() else "make .venv-bench/.installed"
    missing = missing or (None if shutil.which("cc") else "a C compiler")
    if missing and os.environ.get("CI"):
        pytest.fail(f"the benchmarks need {missing}, and CI must run them")
    if missing:
        pytest.skip(f"the benchmarks need {missing}")
    loads.build()


@pytest.mark.parametrize("name", sorted(SERIES))
def test_each_series_measures_its_keys(name):
    series = SERIES[name](Turns(QUICK, print))
    for key in KEYS:
        if key.series == name:
            assert value_of(key, series.keys[key.name]) > 0
    for side in series.sides.values():
        assert side.durability
        assert side.command
        assert "/tmp" not in side.command
        assert all(len(values) > 0 for values in side.figures.values())


def test_the_yardstick_shows_a_rate():
    assert yardstick(QUICK) > 0


def test_a_load_that_a_client_sees_fail_is_not_a_figure():
    with camber() as server:
        load = Load("mutate", clients=2, path="accounts:transfer", args='{"source":"nobody"}')
        with pytest.raises(CouldNotMeasure, match="calls failed"):
            load.run(server, QUICK)


def test_a_server_is_gone_when_its_block_ends():
    with camber() as server, Http(server) as http:
        pid = server.pid
        assert http.call("query", "messages:newest", channel="none") is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not server.data.exists()


def test_the_rows_of_a_store_are_read_in_the_order_in_which_they_came(tmp_path):
    bodies = [f"body {number}" for number in range(300)]
    with camber(data=tmp_path) as server, Http(server) as http:
        for body in bodies:
            http.call("mutation", "messages:send", channel="c", author="a", body=body)
    rows = read_rows(tmp_path / "camber.sqlite")
    documents = next(table for table in rows.tables if table.name == "documents")
    stored = b"".join(bytes(value) for row in documents.rows for value in row if _is_bytes(value))
    places = [stored.index(body.encode()) for body in bodies]
    assert places == sorted(places)
    assert commits_per_s(rows, len(bodies), tmp_path, synchronous="FULL") > 0


def _is_bytes(value):
    return isinstance(value, bytes)


_MEASURES_FOR_LONG = """
import signal, time
from bench.__main__ import interrupted
from bench.servers import camber
signal.signal(signal.SIGTERM, interrupted)
with camber() as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_an_interrupted_bench_leaves_no_server():
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURES_FOR_LONG],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PEERS.parent,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
