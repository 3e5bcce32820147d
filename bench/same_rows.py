"""The bare limit of writing: the rows that Camber wrote, committed again by nothing but a loop.

The rows are read from a store's file, every table of it, and inserted in the order in which they
came, so many mutations to a commit, into a new file with the same tables and settings. What is
left is SQLite and the disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

#: How many mutations share a commit.
GROUP = 64


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a store: how it is made, and its rows in the order in which they came."""

    name: str
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Rows:
    """All that a store holds."""

    schema: Sequence[str]
    tables: Sequence[Table]
    page_bytes: int

    @property
    def count(self) -> int:
        """How many rows there are in all."""
        return sum(len(table.rows) for table in self.tables)


def read_rows(store: Path) -> Rows:
    """Return what is in the file of a store that nobody has open."""
    connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        kept = "name NOT LIKE 'sqlite_%' AND sql IS NOT NULL"
        schema = connection.execute(f"SELECT type, name, sql FROM sqlite_schema WHERE {kept}")
        made = list(schema)
        names = [name for kind, name, _ in made if kind == "table"]
        tables = [
            Table(name, list(connection.execute(_in_order(connection, name)))) for name in names
        ]
        return Rows([sql for _, _, sql in made], tables, connection.pragma("page_size"))
    finally:
        connection.close()


def _in_order(connection: apsw.Connection, name: str) -> str:
    """Return the query for a table's rows in the order in which they came.

    A row says since when it is there, or until when it was; else its number says it.
    """
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
    came = next((column for column in ("ts", "since", "until") if column in columns), None)
    return f'SELECT * FROM "{name}"' + (f' ORDER BY "{came}"' if came else "")


def commits_per_s(rows: Rows, mutations: int, folder: Path, *, synchronous: str) -> float:
    """Return how many mutations a second a bare loop commits, GROUP of them at a time."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        connection = apsw.Connection(str(Path(fresh) / "rows.db"))
        run = connection.execute
        run(f"PRAGMA page_size = {rows.page_bytes}")
        run("PRAGMA journal_mode = wal")
        run(f"PRAGMA synchronous = {synchronous}")
        for sql in rows.schema:
            run(sql)
        groups = -(-mutations // GROUP)
        statements = [
            (f'INSERT INTO "{table.name}" VALUES ({_places(table)})', _shares(table, groups))
            for table in rows.tables
            if table.rows
        ]
        began = time.perf_counter()
        for _ in range(groups):
            run("BEGIN IMMEDIATE")
            for sql, shares in statements:
                connection.executemany(sql, next(shares))
            run("COMMIT")
        seconds = time.perf_counter() - began
        connection.close()
    return mutations / seconds


def _places(table: Table) -> str:
    return ", ".join("?" * len(table.rows[0]))


def _shares(table: Table, groups: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield the part of a table's rows that belongs to each group: they came evenly."""
    count = len(table.rows)
    for group in range(groups):
        yield table.rows[count * group // groups : count * (group + 1) // groups]
