"""Where the processor's time of an operation goes: the server's loop, its writer, the executors.

What `bench.simulate` is calibrated with. Steadier than rates while others use the machine.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import loads
from bench.loads import Load, message
from bench.scale import Scale
from bench.series import fanout_load
from bench.servers import Http, Server, alone, camber

_SCALE = Scale(pairs=1, seconds=4.0, warmup_s=0.5, shrink=1)
#: Beside the server's own thread: that of its writer, and its children.
_LOOP, _THREADS, _EXECUTORS, _GENERATOR = "loop", "other threads", "executors", "generator"


def main() -> None:
    """Measure and print microseconds for each operation."""
    loads.build()
    for name, load in _LOADS.items():
        with alone(), camber() as server, Http(server) as http:
            bodies = [f"{number:06} {'x' * 193}" for number in range(2000)]
            http.call("mutation", "messages:seed", bodies=bodies, channels=20)
            made = load(http)
            before = _used_us(server)
            report = made.run(server, _SCALE)
            after = _used_us(server)
        operations = _operations(report)
        share = report["generator_cpu"] * _SCALE.seconds * 1e6 / (operations * _measured_share())
        stages = {stage: (after[stage] - before[stage]) / operations for stage in after}
        shown = ", ".join(
            f"{stage} {us:.1f}" for stage, us in {**stages, _GENERATOR: share}.items()
        )
        rate = report.get("rate") or report["deliveries_per_s"]
        print(f"  {name}: {rate:,.0f} a second; µs each: {shown}")


def _fan_out(http: Http) -> Load:
    return fanout_load(http, 1000)


_LOADS: dict[str, Callable[[Http], Load]] = {
    "mutations": lambda http: Load(
        "mutate", clients=64, path="messages:send", args=message("c1", 200)
    ),
    "queries": lambda http: Load(
        "query", clients=64, path="messages:list", args='{"channel":"c1","fresh":{i}}'
    ),
    "cached_queries": lambda http: Load(
        "wsquery", clients=64, path="messages:newest", args='{"channel":"c1"}'
    ),
    "deliveries": _fan_out,
}


def _operations(report: dict[str, Any]) -> float:
    """Return about how many there were, those of the warm-up included."""
    if "answered" in report:
        return float(report["answered"])
    counted = float(report.get("deliveries") or report["successes"])
    return counted / _measured_share()


def _measured_share() -> float:
    return _SCALE.seconds / (_SCALE.seconds + _SCALE.warmup_s)


def _used_us(server: Server) -> Counter[str]:
    """Return the processor time that each stage has used so far."""
    used: Counter[str] = Counter({_LOOP: 0, _THREADS: 0, _EXECUTORS: 0})
    children = subprocess.run(
        ["pgrep", "-P", str(server.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    for pid in (str(server.pid), *children):
        for task in Path(f"/proc/{pid}/task").iterdir():
            stage = _EXECUTORS if pid in children else _LOOP if task.name == pid else _THREADS
            used[stage] += int((task / "schedstat").read_text().split()[0]) // 1000
    return used
