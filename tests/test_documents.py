"""What the documents name exists."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.servers import REPOSITORY

DOCUMENTS = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_file_and_link_exists(document):
    text = document.read_text()
    for name in re.findall(r"`(camber(?:\.[a-z_]+)+)`", text):
        parent, _, last = name.rpartition(".")
        module = importlib.import_module(parent) if parent else None
        found = hasattr(module, last) or importlib.util.find_spec(name) is not None
        assert found, f"{document.name} names {name}"
    for path in re.findall(r"`((?:tests|docs|examples|requirements)/[\w./]+)`", text):
        assert (REPOSITORY / path).exists(), f"{document.name} names {path}"
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_decision_records_are_short():
    for record in (REPOSITORY / "docs" / "decisions").glob("*.md"):
        assert len(record.read_text().splitlines()) <= 40, record.name
