"""The example of searches with its script: the official client in Node."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.servers import REPOSITORY, Server

_EXAMPLE = REPOSITORY / "examples" / "search"
_LIMIT_S = 60


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
