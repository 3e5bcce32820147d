"""The examples of scheduled functions and cron jobs, each with its script: the official client in Node.

They run as they are, but for how long one waits.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.servers import REPOSITORY, Server

_EXAMPLES = REPOSITORY / "examples"
_LIMIT_S = 60


@pytest.mark.node
@pytest.mark.parametrize(
    ("example", "module", "waits", "shorter"),
    [
        ("scheduling", "messages.py", "timedelta(seconds=5)", "timedelta(seconds=1)"),
        ("cron_jobs", "crons.py", "clear_all, minutes=1", "clear_all, seconds=3"),
    ],
)
def test_a_script_sees_a_message_come_and_go(tmp_path, example, module, waits, shorter):
    project = tmp_path / example
    shutil.copytree(_EXAMPLES / example, project)
    file = project / "backend" / module
    assert waits in file.read_text()
    file.write_text(file.read_text().replace(waits, shorter))
    with Server(project, tmp_path / "data") as server:
        ran = subprocess.run(
            ["node", _EXAMPLES / example / "watch.mjs", server.url],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    first, *_, last = ran.stdout.splitlines()
    assert first == last == "no messages"
    assert "Ada: " in ran.stdout
