"""The statements of the SQLite store, which stand in files beside this one."""

from __future__ import annotations

import re
from importlib import resources


def sql_of(file: str) -> str:
    """Return what a file beside this one holds."""
    return resources.files("camber.storage.sqlite").joinpath(file).read_text()


def named_statements(text: str) -> dict[str, str]:
    """Return the statements of a file, by the names that stand before them."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
