"""The example of vector searches: its script, with the official client in Node, and its page."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.acceptance.test_node_clients import run_script
from tests.servers import REPOSITORY, Server

_EXAMPLE = REPOSITORY / "examples" / "vectors"
_LIMIT_S = 60


@pytest.mark.browser
def test_a_page_finds_questions_as_they_come_and_go(tmp_path, built_page, chromium):
    project = tmp_path / "vectors"
    ignored = shutil.ignore_patterns("__pycache__", ".camber", "web", "node_modules")
    shutil.copytree(_EXAMPLE, project, ignore=ignored)
    page = built_page(_EXAMPLE / "web")
    with Server(project, tmp_path / "data", "--static", str(page)) as server:
        screenshots = os.environ.get("SCREENSHOTS", "")
        run_script("questions.mjs", server, CHROMIUM=chromium, SCREENSHOTS=screenshots)


@pytest.mark.node
def test_a_script_finds_questions_while_it_types(tmp_path):
    project = tmp_path / "vectors"
    shutil.copytree(_EXAMPLE, project)
    with Server(project, tmp_path / "data") as server:
        ran = subprocess.run(
            ["node", _EXAMPLE / "ask.mjs", server.url],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "paying invoices: When are invoices sent? How do I pay an invoice?",
        "pasword: How do I reset my password?",
        "zebra: nothing",
        "refund: Is there a refund?",
        "related: nothing",
    ]
