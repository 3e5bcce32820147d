"""`make simulate`: run many seeds, and say which fail and how to replay one."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.planted import PLANTED
from tests.simulation.server import releases
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
    with tempfile.TemporaryDirectory() as folder:
        first = arguments.first if arguments.seed is None else arguments.seed
        work = _Work(first, arguments.plant, releases(Path(folder)), arguments.trace)
        return _many(arguments, work) if arguments.seed is None else _one(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--stop", action="store_true", help="stop at the first that fails")
    parser.add_argument("--seed", type=int, help="replay this one alone")
    parser.add_argument("--trace", type=Path, help="where to write all that happens in it")
    parser.add_argument(
        "--plant", choices=sorted(PLANTED), help="plant a bug, and stop when it is found"
    )
    return parser


@dataclass(frozen=True)
class _Work:
    """What one process is asked for."""

    seed: int
    plant: str | None
    releases: tuple[Path, ...]
    trace: Path | None

    def outcome(self) -> Outcome:
        """Run it."""
        planted = contextlib.nullcontext() if self.plant is None else PLANTED[self.plant]()
        with planted:
            outcome = simulate(self.seed, self.releases, keep_trace=self.trace is not None)
        if self.trace is not None:
            assert outcome.lines is not None
            self.trace.write_text("".join(outcome.lines))
        return outcome


def _one(work: _Work) -> int:
    outcome = work.outcome()
    print(outcome.plan)
    print(outcome.counts)
    print(f"trace {outcome.digest}")
    for failure in outcome.failures:
        print(f"FAILED: {failure}")
    return 1 if outcome.failures else 0


def _many(arguments: argparse.Namespace, pattern: _Work) -> int:
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    work = [dataclasses.replace(pattern, seed=seed, trace=None) for seed in seeds]
    failed: list[int] = []
    totals: Counter[str] = Counter()
    digest = hashlib.blake2b(digest_size=16)
    with multiprocessing.Pool(arguments.jobs) as pool:
        for outcome in pool.imap(_Work.outcome, work):
            totals.update(outcome.counts)
            digest.update(outcome.digest.encode())
            if outcome.failures:
                failed.append(outcome.seed)
                print(f"seed {outcome.seed} failed: {outcome.failures[0][:600]}", flush=True)
                print(f"    make simulate SEED={outcome.seed}", flush=True)
                if arguments.stop or arguments.plant is not None:
                    # It is found: that is all there is to know.
                    break
    told = ", ".join(f"{count} {what}" for what, count in totals.items())
    print(f"{len(seeds)} seeds, {len(failed)} failed; {told}; traces {digest.hexdigest()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
