"""Many pushes into one server: of what came before, nothing stays but the last few releases."""

from __future__ import annotations

import gc
import linecache
import shutil
import sys
from collections import Counter
from types import ModuleType

from camber import limits
from camber.functions.application import Application
from camber.functions.definition import Function
from camber.runtime.release import InProcessRelease
from camber.schema.table import DeclaredTable
from tests.releases.harness import deployed
from tests.servers import KITCHEN

PUSHES = 50


@deployed
async def test_memory_stays_flat_over_many_pushes(it):
    shutil.copytree(KITCHEN / "backend", it.project.functions_path, dirs_exist_ok=True)
    # The component that it mounts is forgotten with the rest.
    shutil.copytree(KITCHEN / "ledger", it.root / "ledger")
    packages = (it.project.functions, "ledger")
    for _ in range(10):
        await it.push()
    before = alive(packages)
    for number in range(PUSHES):
        it.write(
            extra=f"from camber import *\n\n@query\ndef q(ctx: QueryCtx) -> int:\n    return {number}\n"
        )
        await it.push()
        # It serves: every release is used, not only loaded.
        assert await it.run("query", "extra:q") == number
    after = alive(packages)
    kept = 1 + limits.superseded_releases_max
    assert after["releases"] == after["applications"] == kept
    assert after["tables"] <= before["tables"]
    # One function and one module more in each release that is kept.
    assert after["functions"] <= before["functions"] + kept
    assert after["modules"] <= before["modules"] + kept
    assert after["imported"] <= before["imported"] + 1
    assert after["source lines"] <= before["source lines"] + kept


def alive(packages):
    """Count what there is of an application's releases in this process."""
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        if isinstance(each, InProcessRelease) and each.application.package == packages[0]:
            found["releases"] += 1
        elif isinstance(each, Application) and each.package == packages[0]:
            found["applications"] += 1
        elif isinstance(each, DeclaredTable) and each.cls.__module__.startswith(packages):
            found["tables"] += 1
        elif isinstance(each, Function) and each.module.startswith(packages):
            found["functions"] += 1
        elif isinstance(each, ModuleType) and each.__name__.startswith(packages):
            found["modules"] += 1
    found["imported"] = sum(name.startswith(packages) for name in sys.modules)
    found["source lines"] = len(linecache.cache)
    return found
