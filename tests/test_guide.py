"""The code in docs/guide.md and README.md runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from camber import PaginationOpts
from camber.testing import TestApp
from tests.servers import REPOSITORY

_BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


def write(root, page):
    """Write the files of a page's code into a project; return their names."""
    (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    names = []
    for name, text in _BLOCK.findall((REPOSITORY / page).read_text()):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        names.append(name)
    return names


def test_the_guide_runs(tmp_path):
    names = write(tmp_path, "docs/guide.md")
    assert {*names} == {
        "backend/schema.py",
        "backend/messages.py",
        "backend/events.py",
        "backend/summaries.py",
        "tests/test_messages.py",
    }
    # The page has no code that is left out here.
    pages = (REPOSITORY / "docs/guide.md").read_text()
    assert pages.count("```python") == len(names)
    tests = tmp_path / "tests" / "test_more.py"
    tests.write_text(
        "from backend.events import record, since\n"
        "from backend.messages import create, recent\n"
        "from backend.summaries import summarize\n"
        "def test_more(camber_app):\n"
        "    channel = camber_app.mutation(create, name='general')\n"
        "    assert camber_app.action(summarize, channel=channel) == '0 messages'\n"
        "    assert camber_app.query(recent, channel=channel)[0].author == 'summary'\n"
        "    first = camber_app.mutation(record, kind='a')\n"
        "    camber_app.mutation(record, kind='b')\n"
        "    assert [e.kind for e in camber_app.query(since, at=first)] == ['b']\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests.parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_what_the_readme_shows_runs(tmp_path):
    assert write(tmp_path, "README.md") == ["backend/schema.py", "backend/messages.py"]
    (tmp_path / "backend/channels.py").write_text(
        "from typing import Any\n"
        "from camber import MutationCtx, mutation\n"
        "@mutation\n"
        "def create(ctx: MutationCtx) -> Any:\n"
        "    return ctx.db.insert('channels', {'name': 'general'})\n"
    )
    (tmp_path / "backend").rename(tmp_path / "shown")
    (tmp_path / "pyproject.toml").write_text('[tool.camber]\nfunctions = "shown"\n')
    with TestApp(tmp_path) as app:
        channel: Any = app.mutation("channels:create")
        for body in ("one", "two"):
            app.mutation("messages:send", channel=channel, author="Ada", body=body)
        page: Any = app.query("messages:history", channel=channel, opts=PaginationOpts(num_items=5))
        assert [message.body for message in page.page] == ["two", "one"]
