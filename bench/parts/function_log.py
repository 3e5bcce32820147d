"""What the log of functions costs: calls with it, and with one that does nothing, in turns."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from camber.deployment.deployment import Deployment
from camber.deployment.settings import MEMORY, DeploymentSettings
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.function_log import Execution, FunctionLog
from camber.values.packed import pack

_MODULE = """
from camber import MutationCtx, QueryCtx, mutation, query

@query
def nothing(ctx: QueryCtx, number: int = 0) -> None: ...

@mutation
def write(ctx: MutationCtx, number: int = 0) -> None:
    ctx.db.insert("things", {"number": number})
"""
_TIMES = 500
_ROUNDS = 15


class _SilentExecution(Execution):
    def __init__(self, log: FunctionLog, call: FunctionCall) -> None:
        # What the others keep, this one never has: only what a run needs is set.
        self._log, self.call, self._span, self.retries = log, call, None, 0

    def ended(self, *ignored: Any) -> None:
        """Do nothing."""


class _SilentLog(FunctionLog):
    """A log that notes nothing."""

    def hit(self, *ignored: Any) -> None:
        """Do nothing."""

    def begin(self, call: FunctionCall, kind: Any) -> Execution:
        """Return what does nothing."""
        del kind
        return _SilentExecution(self, call)


async def _measure(name: str, once: Callable[[int], Awaitable[object]], use: Any) -> None:
    seconds: dict[str, list[float]] = {"silent": [], "real": []}
    number = 0
    for _ in range(_ROUNDS):
        for which in seconds:
            use(which)
            began = time.perf_counter()
            for _ in range(_TIMES):
                number += 1
                await once(number)
            seconds[which].append((time.perf_counter() - began) / _TIMES)
    silent, real = (min(times) * 1e6 for times in seconds.values())
    print(f"  {name:24} {real:7.1f} µs, {real - silent:+.1f} µs for the log: {real / silent:.2f}")


async def _run(root: Path) -> None:
    (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (root / "backend").mkdir()
    (root / "backend" / "m.py").write_text(_MODULE)
    settings = DeploymentSettings(root=root, functions="backend", data=root, store=MEMORY)
    deployment = await Deployment.open(settings)
    await deployment.push()
    runtime: Any = deployment.runtime
    logs = {"real": runtime.log, "silent": _SilentLog(deployment.host)}

    def use(which: str) -> None:
        for part in (runtime.queries, runtime._mutations):  # noqa: SLF001
            part._log = logs[which]  # noqa: SLF001

    def call(path: str, number: int) -> FunctionCall:
        return FunctionCall(
            path=path,
            arguments=pack({"number": number}),
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id="0123456789abcdef",
        )

    await _measure("a query that is cached", lambda _: runtime.query(call("m:nothing", 0)), use)
    await _measure("a query that runs", lambda n: runtime.query(call("m:nothing", n)), use)
    await _measure("a mutation, in memory", lambda n: runtime.mutation(call("m:write", n)), use)
    await deployment.close()
    hit = _hit(logs["real"], call("m:nothing", 0))
    print(f"  an answer from the cache is noted in {hit * 1e6:.2f} µs")


def _hit(log: FunctionLog, call: FunctionCall) -> float:
    from camber.runtime.results import QueryResult

    result = QueryResult(ts=1, packed=b"x" * 100, failure=None, log_lines=(), journal=None)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(20_000):
            log.hit(call, result)
        times.append((time.perf_counter() - began) / 20_000)
    return min(times)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder)))
