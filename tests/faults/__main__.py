"""Plants faults, one in a process of its own after another, and writes docs/faults.md."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.catalog import ALL
from tests.faults.planted import DoesNotFit, Fault
from tests.faults.report import Caught, read, write
from tests.servers import REPOSITORY

#: Seeds that a proof may try, each for as many histories as the profile `faults` allows.
SEEDS_MAX = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="part of the names of the faults")
    parser.add_argument("--missing", action="store_true", help="those that the page lacks")
    told = parser.parse_args()
    known = {name: caught for name, caught in read().items() if name in _names()}
    missed: list[str] = []
    for fault in ALL:
        if told.only not in fault.name or (told.missing and fault.name in known):
            continue
        try:
            caught, why = _plant(fault), "MISSED "
        except DoesNotFit as changed:
            caught, why = None, str(changed)
        if caught is None:
            missed.append(fault.name)
            known.pop(fault.name, None)
            print(f"{why} {fault.name}", flush=True)
        else:
            known[fault.name] = caught
            print(f"caught  {fault.name}: seed {caught.seed}, {caught.seconds} s", flush=True)
        write(known)
    return 1 if missed else 0


def _names() -> set[str]:
    return {fault.name for fault in ALL}


def _plant(fault: Fault) -> Caught | None:
    """Run the proof on sources with the fault, seed after seed, until it fails."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "src"
        shutil.copytree(REPOSITORY / "src", sources)
        changed = fault.text(sources)
        (sources / "camber" / fault.file).write_text(changed)
        for seed in range(1, SEEDS_MAX + 1):
            began = time.monotonic()
            found = _proof(fault, sources, seed)
            if found is not None:
                return Caught(seed=seed, seconds=round(time.monotonic() - began), proof=found)
    return None


def _proof(fault: Fault, sources: Path, seed: int) -> str | None:
    """Return the name of the test that failed, or None if all have passed."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
            *("--hypothesis-profile=faults", f"--hypothesis-seed={seed}"),
            # A seed that finds nothing tries everything, which a busy machine takes long for.
            *("-o", "faulthandler_timeout=900"),
            *fault.caught_by,
        ],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHONPATH": str(sources),
            "CRASH_SEEDS": "5",
            # The same ones for each seed of the others.
            "SIMULATED_SEEDS": "60",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        return None
    failed = re.search(r"^FAILED (\S+)", run.stdout, re.MULTILINE)
    # What cannot even be imported is no catch.
    assert run.returncode == 1, run.stdout + run.stderr
    assert failed is not None, run.stdout + run.stderr
    return failed[1].partition("[")[0]


if __name__ == "__main__":
    sys.exit(main())
