"""The example of searches: its script, with the official client in Node, and its page in Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.acceptance.test_node_clients import run_script
from tests.servers import ADMIN_KEY, REPOSITORY, Server

_EXAMPLE = REPOSITORY / "examples" / "search"
_LIMIT_S = 60


@pytest.mark.browser
def test_a_page_finds_recipes_as_they_come_and_go(tmp_path, built_page, chromium):
    project = tmp_path / "search"
    ignored = shutil.ignore_patterns("__pycache__", ".camber", "web", "node_modules")
    shutil.copytree(_EXAMPLE, project, ignore=ignored)
    page = built_page(_EXAMPLE / "web")
    with Server(project, tmp_path / "data", "--static", str(page)) as server:
        key = {"Authorization": f"Convex {ADMIN_KEY}"}
        server.value("function", "recipes:fill", {}, **key)
        screenshots = os.environ.get("SCREENSHOTS", "")
        run_script("recipes.mjs", server, CHROMIUM=chromium, SCREENSHOTS=screenshots)


@pytest.mark.node
def test_a_script_finds_recipes_while_it_types(tmp_path):
    project = tmp_path / "search"
    shutil.copytree(_EXAMPLE, project)
    with Server(project, tmp_path / "data") as server:
        ran = subprocess.run(
            ["node", _EXAMPLE / "type.mjs", server.url],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "c: Crêpes, Crème brûlée",
        "cre: Crêpes, Crème brûlée",
        "crem: Crème brûlée",
        "豆腐: 麻婆豆腐",
        "creme car: Crème caramel, Crème brûlée",
    ]
