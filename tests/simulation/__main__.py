"""`make simulate`: run many seeds, and say which fail and how to replay one."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import sys
from collections import Counter
from pathlib import Path

from tests.simulation.planted import PLANTED
from tests.simulation.simulation import Outcome, simulate

#: Strings order sets by it: the same one in every run, or no seed is replayed.
_HASH_SEED = "0"


def main() -> int:
    arguments = _parser().parse_args()
    if os.environ.get("PYTHONHASHSEED") != _HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": _HASH_SEED},
        )
    if arguments.seed is not None:
        return _one(arguments.seed, arguments.plant, arguments.trace)
    return _many(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--seed", type=int, help="replay this one alone")
    parser.add_argument("--trace", type=Path, help="where to write all that happens in it")
    parser.add_argument(
        "--plant", choices=sorted(PLANTED), help="plant a bug, and stop when it is found"
    )
    return parser


def _one(seed: int, plant: str | None, trace: Path | None) -> int:
    outcome = _run((seed, plant, trace is not None))
    if trace is not None:
        assert outcome.lines is not None
        trace.write_text("".join(outcome.lines))
    print(outcome.plan)
    print(outcome.counts)
    print(f"trace {outcome.digest}")
    for failure in outcome.failures:
        print(f"FAILED: {failure}")
    return 1 if outcome.failures else 0


def _many(arguments: argparse.Namespace) -> int:
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    work = [(seed, arguments.plant, False) for seed in seeds]
    failed: list[int] = []
    totals: Counter[str] = Counter()
    digest = hashlib.blake2b(digest_size=16)
    with multiprocessing.Pool(arguments.jobs) as pool:
        for outcome in pool.imap(_run, work):
            totals.update(outcome.counts)
            digest.update(outcome.digest.encode())
            if outcome.failures:
                failed.append(outcome.seed)
                print(f"seed {outcome.seed} failed: {outcome.failures[0][:600]}", flush=True)
                print(f"    make simulate SEED={outcome.seed}", flush=True)
                if arguments.plant is not None:
                    # It is found: that is all there is to know.
                    break
    told = ", ".join(f"{count} {what}" for what, count in totals.items())
    print(f"{len(seeds)} seeds, {len(failed)} failed; {told}; traces {digest.hexdigest()}")
    return 1 if failed else 0


def _run(work: tuple[int, str | None, bool]) -> Outcome:
    seed, plant, keep_trace = work
    planted = contextlib.nullcontext() if plant is None else PLANTED[plant]()
    with planted:
        return simulate(seed, keep_trace=keep_trace)


if __name__ == "__main__":
    sys.exit(main())
