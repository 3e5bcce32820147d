"""The statements of the SQLite store, which stand in files beside this one.

Between the steps of a statement apsw lets go of the interpreter's lock, and getting it back from a
busy event loop takes longer than writing a row. So all rows of a table are one statement, but for
what is left over: its text has as many rows as a power of two, and few texts make any number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from itertools import chain
from typing import Any, Final

import apsw

#: Rows of the largest statement: larger ones gain nothing.
_ROWS_MAX: Final = 256
_ROW: Final = re.compile(r"VALUES (\([?, ]+\))")


def sql_of(file: str) -> str:
    """Return what a file beside this one holds."""
    return resources.files("camber.storage.sqlite").joinpath(file).read_text()


def named_statements(text: str) -> dict[str, str]:
    """Return the statements of a file, by the names that stand before them."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return {name: sql.strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}


class RowsStatement:
    """A statement that takes any number of rows: `VALUES (?, ?)` stands for them."""

    def __init__(self, text: str) -> None:
        sizes = [1 << power for power in reversed(range(_ROWS_MAX.bit_length()))]
        self._texts = [
            (size, _ROW.sub(lambda row: "VALUES " + ", ".join([row[1]] * size), text))  # noqa: B023
            for size in sizes
        ]

    def run(self, connection: apsw.Connection, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Run it with all rows; return what it finds."""
        found: list[Any] = []
        at = 0
        for size, text in self._texts:
            while len(rows) - at >= size:
                parameters = tuple(chain.from_iterable(rows[at : at + size]))
                found += connection.execute(text, parameters)
                at += size
        return found
