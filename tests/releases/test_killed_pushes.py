"""Kill -9 in the middle of a push: nothing of it is left, and what served before serves on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.releases.harness import deployed, schema
from tests.servers import REPOSITORY

OLD = schema("name: str", "by_name = Index('name')")
NEW = schema("name: str\n        rank: int = 0", "by_name = Index('name', 'rank')")


def push_until_killed(root, steps):
    """Push what is in the folder in a process of its own; kill it as far as `steps`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.releases.killed", str(root), str(steps)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    return said


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
def test_a_killed_push_leaves_nothing(tmp_path, steps):
    """Killed before an index is built, while it is, and while documents are checked."""

    @deployed
    async def test(it):
        await it.push(schema=OLD)
        await it.put("a", "b", "c", "d", "e")
        await it.deployment.close()

        it.write(schema=NEW)
        assert push_until_killed(it.root, steps) == "begun"

        await it.__aenter__()
        assert it.indexes() == [("by_name", "enabled")]
        assert [record.number for record in it.history()] == [1]
        await it.push(schema=OLD)
        assert len(await it.run("query", "code:by", index="by_name", value="a")) == 1
        report = await it.push(schema=NEW)
        assert report.indexes_built == ("things.by_name",)
        assert it.names_in("by_name") == list("abcde")

    test(tmp_path)
