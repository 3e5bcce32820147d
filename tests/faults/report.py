"""docs/faults.md: which fault was caught by which test, with which seed and in which time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers import REPOSITORY

PATH = REPOSITORY / "docs" / "faults.md"

_HEAD = """# Planted faults

Written by `make faults`, which plants each of these in a copy of the sources and runs a proof on that until it fails: at most
three seeds, of some hundred to a thousand histories each. How the proofs work is in [proofs.md](proofs.md); the faults themselves are in
`tests/faults/planted.py`. Those of `tests/faults/attacks.py`, in the second half, are defences of signing in, of tokens and of rules of
access: each is named by what an attacker could do without it, and is caught by the test that does so.

| fault | caught by | seed | seconds |
|---|---|---|---|
"""
_ROW = re.compile(r"^\| (?P<name>.+) \| `(?P<proof>.+)` \| (?P<seed>\d+) \| (?P<seconds>\d+) \|$")


@dataclass(frozen=True, kw_only=True)
class Caught:
    """How a fault was found."""

    proof: str
    seed: int
    seconds: int


def read() -> dict[str, Caught]:
    """Return what the page says."""
    if not PATH.exists():
        return {}
    rows = [_ROW.match(line) for line in PATH.read_text().splitlines()]
    return {
        row["name"]: Caught(proof=row["proof"], seed=int(row["seed"]), seconds=int(row["seconds"]))
        for row in rows
        if row
    }


def write(caught: Mapping[str, Caught]) -> None:
    """Write the page, in the order of the faults."""
    from tests.faults.catalog import ALL

    rows = [
        f"| {fault.name} | `{each.proof}` | {each.seed} | {each.seconds} |\n"
        for fault in ALL
        if (each := caught.get(fault.name)) is not None
    ]
    PATH.write_text(_HEAD + "".join(rows))
