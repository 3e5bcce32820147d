"""A property test that fails says with what, however long its examples take to be made smaller."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from hypothesis import Phase, settings

from tests.servers import REPOSITORY

_NEVER_DONE = """
import time

from hypothesis import given, strategies as st


@given(st.lists(st.integers(), min_size=50, max_size=50))
def test_fails(numbers):
    time.sleep(0.02)  # each example is slow, and there are thousands on the way to the smallest
    assert sum(map(abs, numbers)) < 400
"""


def test_a_failing_property_tells_its_example_in_ci(tmp_path):
    test = tmp_path / "test_never_done.py"
    test.write_text(_NEVER_DONE)
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(REPOSITORY),
            "-c", str(REPOSITORY / "pyproject.toml"), "-p", "no:cacheprovider",
            "-o", "faulthandler_timeout=60", str(test),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "CI": "true", "SHRINKING_S": "2"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Failing test case: test_fails(" in run.stdout
    assert re.search(r"numbers=\[\d+(, \d+){49}\]", re.sub(r"\nE\s*", " ", run.stdout))
    assert "@reproduce_failure(" in run.stdout


def test_no_profile_explains():
    for name in ("ours", "soak", "faults"):
        assert Phase.explain not in settings.get_profile(name).phases
