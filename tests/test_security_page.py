"""Each line of docs/security.md has a test that exists, or says that it is not built."""

from __future__ import annotations

import ast
import re

import pytest

from tests.servers import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and line != "| what | test |"
]
_TEST = re.compile(r"^`(tests/[\w/]+\.py)::(test_\w+)`$")
#: Whoever the threat model is about; each has a part of the page.
_WHO = ("anonymous client", "signed-in user", "key", "admin", "component", "release author")


def test_everybody_has_a_part():
    parts = [line.lower() for line in PAGE.splitlines() if line.startswith("## ")]
    for who in _WHO:
        assert any(who in part for part in parts), who
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_a_line_has_its_test(row):
    what, proof = row
    assert what
    named = _TEST.match(proof)
    if named is None:
        assert proof.startswith(("not yet", "never: ")), f"{what}: no test, and no word of that"
        return
    path, name = named.groups()
    module = ast.parse((REPOSITORY / path).read_text())
    tests = {
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in tests, f"{path} has no {name}"
