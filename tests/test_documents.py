"""What the documents name exists."""

from __future__ import annotations

import importlib.util
import re
import tomllib

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


def test_the_picture_of_the_rooms_has_all_of_them():
    picture = (
        (REPOSITORY / "ARCHITECTURE.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    )
    (drawn,) = [part for part in picture.split("\n\n") if part.startswith("    ")]
    rooms = [line.strip().split("   ")[0] for line in drawn.splitlines()]
    layers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [each for each in layers["contracts"] if each["type"] == "layers"]
    built = [re.sub(r" \| \(\w+\)|\(\w+\) \| ", "", layer) for layer in contract["layers"]]
    assert [room.replace("*", "") for room in rooms] == built


def test_decision_records_are_short():
    for record in (REPOSITORY / "docs" / "decisions").glob("*.md"):
        assert len(record.read_text().splitlines()) <= 40, record.name
