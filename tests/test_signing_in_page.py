"""What docs/signing-in.md and docs/auth.md show is a project that loads, and whose tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from camber.functions.loading import load_application
from tests.servers import REPOSITORY

_PYPROJECT = """
[project]
name = "shown"
version = "0.1.0"

[tool.camber]
functions = "backend"

[tool.pytest.ini_options]
testpaths = ["tests"]
"""


def _write_shown(page, folder):
    """Write the files that a page shows, each in one piece of code or in several."""
    text = (REPOSITORY / "docs" / page).read_text()
    shown = re.findall(r"```python\n# ([\w/.]+)(, further down)?\n(.*?)```", text, re.DOTALL)
    assert len(shown) == text.count("```python")
    (folder / "pyproject.toml").write_text(_PYPROJECT)
    for name, more, code in shown:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        with file.open("a" if more else "x") as opened:
            opened.write(code)
    (folder / "backend" / "__init__.py").touch()


def test_the_application_that_signs_in_passes_its_tests(tmp_path):
    _write_shown("signing-in.md", tmp_path)
    # Without the plugins of this repository's own tests, which take longer to load than these to run.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "camber.testing.plugin"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout


def test_the_providers_whose_tokens_are_accepted_load(tmp_path):
    _write_shown("auth.md", tmp_path)
    assert len(load_application(tmp_path, "backend").providers) == 3
