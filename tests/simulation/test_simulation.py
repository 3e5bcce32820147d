"""Some seeds of the simulation, their replay, and bugs that it has to find.

In processes of their own, which order strings by one hash seed: see `__main__`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.servers import REPOSITORY

#: Where worlds have the whole platform: files, actions and components.
_WHOLE = 100
#: How many of those are run; `make faults` runs more.
_WHOLE_SEEDS = int(os.environ.get("SIMULATED_SEEDS", "15"))
#: How many seeds have to be enough for each planted bug, what is then said of it, and the first of them.
_FOUND_WITHIN = {
    "lost-invalidation": (40, "shown as|in the end", 0),
    "no-conflicts": (20, "leaves|was answered|again at|two documents|removes", 0),
    "no-record": (15, "again at|answered otherwise", 0),
    "not-synced": (30, "was acknowledged|was shown as|was answered|removes|seen before", 0),
    "published-early": (3, "met a bug|not settled", 0),
    "short-index": (45, "texts", 0),
    "runs-again": (25, "pending", 0),
    "ends-apart": (5, "pending|has not run", 0),
    "acts-again": (15, "again at", _WHOLE),
    "wrong-mount": (5, "leaves|shown as|was answered", _WHOLE),
    "half-undone": (5, "leaves|was answered", _WHOLE),
    "lost-search": (5, "found|leaves|was answered", _WHOLE),
    "late-words": (5, "was answered|leaves", _WHOLE),
}


def simulate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_seed_fails():
    run = simulate("--seeds", 40, "--jobs", 1)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    counts = {what: int(count) for count, what in re.findall(r"(\d+) ([a-z]+)", run.stdout)}
    # A world in which nothing happens proves nothing.
    assert counts["commits"] > 1000
    assert counts["seen"] > 5000
    assert counts["kills"] > 10
    assert counts["refused"] > 5


def test_no_seed_with_the_whole_platform_fails():
    run = simulate("--seeds", _WHOLE_SEEDS, "--first", _WHOLE, "--jobs", 1, "--stop")
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    counts = {what: int(count) for count, what in re.findall(r"(\d+) ([a-z]+)", run.stdout)}
    assert counts["delivered"] > 50
    assert counts["lost"] > 5
    assert counts["stowed"] > 200
    assert counts["uploaded"] > 50


def test_seeds_replay_exactly():
    one, two = (simulate("--seeds", 8, "--jobs", 1) for _ in range(2))
    assert re.search(r"traces [0-9a-f]{32}", one.stdout)
    assert one.stdout == two.stdout


def test_a_seed_replays_alone_and_tells_all_that_happens(tmp_path):
    many = simulate("--seeds", 1, "--first", 5, "--jobs", 1)
    alone = simulate("--seed", 5, "--trace", tmp_path / "trace")
    events = (tmp_path / "trace").read_text().splitlines()
    assert f"; {len(events)} events" in many.stdout
    assert f"'events': {len(events)}" in alone.stdout
    # Chance is the seed's and nobody else's.
    other = simulate("--seed", 6)
    assert other.stdout != alone.stdout


@pytest.mark.parametrize("bug", _FOUND_WITHIN)
def test_a_planted_bug_is_found(bug):
    seeds, told, first = _FOUND_WITHIN[bug]
    run = simulate("--plant", bug, "--seeds", seeds, "--first", first, "--jobs", 1)
    assert run.returncode == 1, run.stdout + run.stderr[-2000:]
    assert re.search(f"failed: .*({told})", run.stdout), run.stdout
    assert "make simulate SEED=" in run.stdout


def test_every_planted_bug_has_a_bound():
    run = simulate("--plant", "none such")
    assert sorted(re.findall(r"'([a-z-]+)'", run.stderr.split("choose from")[1])) == sorted(
        _FOUND_WITHIN
    )
