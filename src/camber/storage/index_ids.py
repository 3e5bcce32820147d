"""The ids of the two indexes that every table has. Those of declared indexes lie above."""

from __future__ import annotations

from camber.occ.interval import IndexId


def by_id_index(table: int) -> IndexId:
    """Return the index of a table's documents by id."""
    return 2 * table


def by_creation_time_index(table: int) -> IndexId:
    """Return the index of a table's documents by creation time."""
    return 2 * table + 1
