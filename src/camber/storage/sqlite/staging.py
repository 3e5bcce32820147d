"""Rows that wait to enter a table, and how a commit lets them in.

They stand in the tables of everything else, under negative ids, so letting them in moves rows
within the file, in the one transaction of the commit: readers see the old contents or the new ones,
and nothing of it passes through Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from camber.occ.interval import IndexId
from camber.storage.store import Placement, StagedRow, StagedTable, StagedTwice, StagingLost
from camber.values.timestamp import Timestamp

_DOCUMENTS: Final = "documents"
_ENTRIES: Final = "entries"


class Staging:
    """The staged rows of one store, on its writer's connection."""

    def __init__(self, connection: apsw.Connection, sql: dict[str, str]) -> None:
        self._connection = connection
        self._sql = sql
        #: Rows that the last part of a table had.
        self._moved = 0

    def add(self, table: int, rows: Sequence[StagedRow]) -> None:
        """Stage rows, within a transaction of the caller's.

        Raises:
            StagedTwice: two rows have one key.
        """
        for row in rows:
            try:
                self._run("stage_document", table, row.key, row.packed)
            except apsw.ConstraintError:
                raise StagedTwice(row.key) from None
        self._connection.executemany(
            self._sql["stage_entry"], (entry for row in rows for entry in row.entries)
        )

    def document_keys(self, table: int, after: bytes, limit: int) -> list[bytes]:
        """Return the next staged keys of documents, in order."""
        return self._keys("staged_document_keys", table, after, limit)

    def entry_keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the next staged keys of an index, in order."""
        return self._keys("staged_entry_keys", index, after, limit)

    def there_already(self, table: int) -> bytes | None:
        """Return the key of a staged document that the table has, or None."""
        return next(iter(self._keys("staged_and_there", table)), None)

    def clear(self) -> None:
        """Remove all that is staged, within a transaction of the caller's."""
        self._run("unstage_documents")
        self._run("unstage_entries")

    def let_in(self, staged: StagedTable, ts: Timestamp) -> int:
        """Move staged rows into their table; return the bytes of history that this makes.

        Raises:
            StagingLost: they are not there.
        """
        size = self._let_in(_DOCUMENTS, staged.table, staged.placement, ts)
        found = self._moved
        if found != staged.documents:
            raise StagingLost(f"{found} rows are staged, not {staged.documents}")
        for index in staged.indexes:
            size += self._let_in(_ENTRIES, index, staged.placement, ts)
        return size

    def _let_in(self, kind: str, place: int, placement: Placement, ts: Timestamp) -> int:
        if placement is Placement.REPLACE:
            self._run(f"supersede_{kind}", place, ts)
        self._run(f"let_in_{kind}_history", place, ts)
        if placement is Placement.REPLACE:
            self._run(f"clear_{kind}", place)
        self._run(f"let_in_{kind}", place)
        self._moved = self._connection.changes()
        self._run(f"clear_{kind}", -place)
        (size,) = next(self._connection.execute(self._sql[f"let_in_{kind}_bytes"], (place, ts)))
        assert isinstance(size, int)
        return size

    def _run(self, query: str, *parameters: int | bytes) -> None:
        self._connection.execute(self._sql[query], parameters)

    def _keys(self, query: str, *parameters: int | bytes) -> list[bytes]:
        return [key for (key,) in self._connection.execute(self._sql[query], parameters)]
