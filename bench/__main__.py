"""`make bench` and `make bench ONLY=name`: measures, writes results.json and the plot, prints a table.

Its status is 0 if all that was asked for could be measured, whether targets are met or not.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from bench import loads, results
from bench.keys import KEYS
from bench.machine import environment
from bench.scale import QUICK, WHOLE, Scale
from bench.series import SERIES
from bench.servers import FOLDER, PEERS, REPOSITORY, CouldNotMeasure
from bench.summary import Series
from bench.turns import Say, Turns, yardstick

_PARTS = tuple(sorted(path.stem for path in (FOLDER / "parts").glob("[a-z]*.py")))


def main(names: list[str]) -> int:
    """Measure and print; return the process's status."""
    series = {key.name: key.series for key in KEYS} | {name: name for name in SERIES}
    unknown = [name for name in names if name not in series and name not in _PARTS]
    if unknown:
        known = ", ".join([*(key.name for key in KEYS), *_PARTS])
        print(f"there is no benchmark {unknown[0]!r}; there are {known}", file=sys.stderr)
        return 1
    for name in names:
        if name in _PARTS:
            print(f"{name}:")
            importlib.import_module(f"bench.parts.{name}").main()
    wanted = [each for each in SERIES if not names or each in {series.get(n) for n in names}]
    return _measure(wanted) if wanted else 0


def _measure(wanted: list[str]) -> int:
    is_quick = "BENCH_QUICK" in os.environ
    loads.build()
    measured: dict[str, Series] = {}
    failed: dict[str, str] = {}
    began = time.monotonic()
    for number, name in enumerate(wanted, 1):
        place = f"[{number}/{len(wanted)} {name}]"

        def say(text: str, place: str = place) -> None:
            print(f"{time.monotonic() - began:6.0f} s {place} {text}", flush=True)

        try:
            measured[name] = _one(name, QUICK if is_quick else WHOLE, say)
        except (CouldNotMeasure, OSError, subprocess.SubprocessError, ImportError) as error:
            failed[name] = str(error)
            say(f"could not be measured: {error}")
    kept = {} if is_quick else results.read(FOLDER / "results.json")
    found = results.joined(kept, measured, environment(REPOSITORY, PEERS / "bin" / "python"))
    if not is_quick and measured:
        results.write(found, FOLDER / "results.json", FOLDER / "results.svg")
    print(f"\n{results.table(found)}")
    for name, why in failed.items():
        print(f"\n{name} could not be measured: {why}", file=sys.stderr)
    return 1 if failed else 0


def _one(name: str, scale: Scale, say: Say) -> Series:
    before = yardstick(scale)
    say(f"a bare server echoes {before:,.0f} a second")
    series = SERIES[name](Turns(scale, say))
    after = yardstick(scale)
    say(f"a bare server echoes {after:,.0f} a second")
    return series.between(before, after)


def interrupted(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does: what was started is stopped on the way out."""
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        sys.exit(130)
