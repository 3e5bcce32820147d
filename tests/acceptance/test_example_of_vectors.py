"""The example of vector searches with its script: the official client in Node."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.servers import REPOSITORY, Server

_EXAMPLE = REPOSITORY / "examples" / "vectors"
_LIMIT_S = 60


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
