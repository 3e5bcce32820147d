"""Tables and values on a terminal, and as plain text where there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their columns: ruled on a terminal, aligned in a pipe."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold")
        for column in columns:
            table.add_column(Text(column), overflow="ellipsis", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        RichConsole().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def print_json(value: Any) -> None:
    """Print encoded JSON for people: indented, integral numbers without a point."""
    print(json.dumps(without_points(value), indent=2, ensure_ascii=False), flush=True)


def without_points(value: Any) -> Any:
    """Return decoded JSON in which an integral number is an int: `3`, as JavaScript writes it."""
    match value:
        case float() if value.is_integer() and abs(value) <= 2**53 and str(value) != "-0.0":
            return int(value)
        case list():
            return [without_points(item) for item in value]
        case dict():
            return {name: without_points(item) for name, item in value.items()}
        case _:
            return value


def printable(text: str) -> str:
    """Return a text in which nothing moves the cursor or colours the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def moment(ms: float) -> str:
    """Return a moment, given in milliseconds since the Unix epoch, in UTC."""
    return datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S")
