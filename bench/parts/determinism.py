"""What the frozen clock, seeded chance and the audit hook cost."""

from __future__ import annotations

import os
import random
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from camber import limits
from camber.functions.definition import FunctionKind
from camber.functions.determinism import doors
from camber.functions.determinism.conditions import Conditions
from camber.host import RealHost
from camber.testing import TestApp

_MODULE = """
from camber import QueryCtx, query

@query
def nothing(ctx: QueryCtx) -> None: ...
"""
_TIMES = 20_000


def _nanoseconds(function: Callable[[], Any]) -> float:
    return min(timeit.repeat(function, number=_TIMES, repeat=5)) / _TIMES * 1e9


def _conditions() -> None:
    conditions = Conditions(
        now_ns=0,
        seed=lambda: _host.random_bytes(limits.seed_bytes),
        kind=FunctionKind.QUERY,
    )
    # As a query does: once for its arguments, once for itself.
    with conditions:
        pass
    with conditions:
        pass


_host = RealHost()


def main() -> None:
    """Print the cost of a run's conditions beside an empty query, and of doors outside of runs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
        (root / "backend").mkdir()
        (root / "backend" / "m.py").write_text(_MODULE)
        with TestApp(root) as app:
            core = app._core  # noqa: SLF001
            runner: Any = core.deployment.runtime.executor
            _, call = core.call("m:nothing", (), {}, app._identity)  # noqa: SLF001

            def run() -> None:
                with closing(core.deployment.engine.begin("benchmark")) as transaction:
                    runner._transactions.query(call, transaction)  # noqa: SLF001

            query, conditions = _nanoseconds(run), _nanoseconds(_conditions)
    print(
        f"  conditions of a run: {conditions:6.0f} ns, {conditions / query:.1%} of an empty query"
    )
    pairs = {id(door): real for real, door in doors._replaced.values()}  # noqa: SLF001
    for name, door, args in (
        ("time.time()", time.time, ()),
        ("random.random()", random.random, ()),
        ("os.urandom(16)", os.urandom, (16,)),
    ):
        ratio = _nanoseconds(partial(door, *args)) / _nanoseconds(partial(pairs[id(door)], *args))
        print(f"  {name:16} outside of runs: {ratio:.1f} times the real one's")
