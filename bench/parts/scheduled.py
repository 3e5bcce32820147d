"""What 100,000 functions that wait cost, and how fast and how late scheduled functions run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings, Scheduling
from camber.engine import system_tables
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.storage.sqlite import reading
from camber.values.packed import pack

_MODULE = """
from camber import MutationCtx, mutation

@mutation
def note(ctx: MutationCtx, number: int) -> None:
    ctx.db.insert("notes", {"number": number})

@mutation
def schedule(ctx: MutationCtx, count: int, delay: float) -> None:
    for number in range(count):
        ctx.scheduler.run_after(delay + number / 1000, note, number)
"""
_PENDING = (0, 1_000, 10_000, 100_000)
_AT_ONCE = 500
_LOOKS = 200
_DUE = 2_000


async def _call(deployment: Deployment, path: str, **args: Any) -> None:
    call = FunctionCall(
        path=path,
        arguments=pack(args),
        identity=Anonymous(),
        caller=Caller.APPLICATION,
        request_id="bench",
    )
    result = await deployment.runtime.mutation(call)
    assert result.failure is None, result.failure


async def _looks(deployment: Deployment) -> tuple[float, float]:
    """Return what one look at what is due costs: seconds of a core, and rows that are read."""
    rows, snapshots = 0, cast("Any", reading.SqliteSnapshot)
    scan = snapshots.scan

    def counted(self: Any, *args: Any) -> Any:
        nonlocal rows
        found = scan(self, *args)
        rows += len(found) if args[0] == system_tables.JOBS_NUMBER else 0
        return found

    snapshots.scan = counted
    try:
        began = time.process_time()
        for _ in range(_LOOKS):
            await deployment.scheduler.start_due()
        return (time.process_time() - began) / _LOOKS, rows / _LOOKS
    finally:
        snapshots.scan = scan


async def _run(root: Path) -> None:
    (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (root / "backend").mkdir()
    (root / "backend" / "m.py").write_text(_MODULE)
    settings = DeploymentSettings(
        root=root, functions="backend", data=root / "data", scheduling=Scheduling.WHEN_ASKED
    )
    deployment = await Deployment.open(settings)
    await deployment.push()
    pending = 0
    for wanted in _PENDING:
        while pending < wanted:
            await _call(deployment, "m:schedule", count=_AT_ONCE, delay=1e6)
            pending += _AT_ONCE
        seconds, rows = await _looks(deployment)
        cost = f"{seconds * 1e6:.0f} µs and reads {rows:.0f} rows"
        print(f"  {pending:8,} wait: a look at what is due takes {cost}")
    for _ in range(_DUE // _AT_ONCE):
        await _call(deployment, "m:schedule", count=_AT_ONCE, delay=0.0)
    await deployment.host.sleep(_AT_ONCE / 1000)
    began, used = time.perf_counter(), time.process_time()
    scheduling = deployment.host.spawn("scheduler", deployment.scheduler.run())
    while sum(deployment.scheduler.outcomes.values()) < _DUE:
        await deployment.host.sleep(0.01)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    scheduling.cancel()
    print(
        f"  {_DUE:,} that are due while {pending:,} wait: {_DUE / seconds:,.0f} a second, "
        f"{used / _DUE * 1e6:,.0f} µs of a core each"
    )
    await deployment.close()


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder)))
