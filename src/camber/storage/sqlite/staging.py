"""Rows that wait to enter a table, and how a commit lets them in.

They stand where everything else stands, their entries and texts under negative ids. Letting them in
gives those other ids, in the one transaction of the commit: readers see the old contents or the new
ones, documents stay where they are, and nothing of it passes through Python but the words of texts, and the
vectors, that enter an index beside others, and vectors that leave one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import apsw

from camber.occ.interval import IndexId
from camber.storage.index_ids import by_id_index, is_text_index, is_vector_index
from camber.storage.sqlite.reading import SQL
from camber.storage.sqlite.statements import RowsStatement
from camber.storage.sqlite.texts import TextRow, TextWriter
from camber.storage.sqlite.vectors import VectorRow, VectorWriter, stored_key
from camber.storage.sqlite.writing import (
    ADD_ENTRIES_HISTORY,
    PUT_DOCUMENTS,
    PUT_ENTRIES,
    Numbers,
)
from camber.storage.store import Placement, StagedRow, StagedTable, StagedTwice, StagingLost
from camber.values.timestamp import Timestamp

_STAGED_AMONG: Final = RowsStatement(SQL["staged_among"])
#: Vectors that leave an index together.
_ROWS_AT_ONCE: Final = 1024


class Staging:
    """The staged rows of one store, on its writer's connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._texts = TextWriter(connection)
        self._vectors = VectorWriter(connection)

    def add(self, table: int, rows: Sequence[StagedRow], numbers: Numbers) -> Numbers:
        """Stage rows, within a transaction of the caller's; return the newest numbers.

        Raises:
            StagedTwice: two rows have one key.
        """
        by_id = -by_id_index(table)
        among = _STAGED_AMONG.run(self._connection, [(by_id, row.key) for row in rows])
        taken = {key for (key,) in among}
        for row in rows:
            if row.key in taken:
                raise StagedTwice(row.key)
            taken.add(row.key)
        first = numbers.document + 1
        numbered = list(enumerate(rows, first))
        PUT_DOCUMENTS.run(self._connection, [(number, 0, row.packed) for number, row in numbered])
        entries = [(by_id, row.key, number, 0) for number, row in numbered]
        entries += [
            (-index, stored_key(index, key), number, 0)
            for number, row in numbered
            for index, key in row.entries
        ]
        PUT_ENTRIES.run(self._connection, sorted(entries))
        self._vectors.stage(
            VectorRow(index, number, 0, key)
            for number, row in numbered
            for index, key in row.entries
            if is_vector_index(index)
        )
        self._texts.stage(
            TextRow(index, number, 0, key)
            for number, row in numbered
            for index, key in row.entries
            if is_text_index(index)
        )
        return numbers._replace(document=numbers.document + len(rows))

    def keys(self, index: IndexId, after: bytes, limit: int) -> list[bytes]:
        """Return the next staged keys of an index, in order."""
        return [key for (key,) in self._run("staged_keys", index, after, limit)]

    def there_already(self, table: int) -> bytes | None:
        """Return the key of a staged document that the table has, or None."""
        for (key,) in self._run("staged_and_there", by_id_index(table)):
            assert isinstance(key, bytes)
            return key
        return None

    def clear(self) -> None:
        """Remove all that is staged, within a transaction of the caller's."""
        self._run("unstage_documents")
        self._run("unstage_entries")
        self._texts.unstage()
        self._vectors.unstage()

    def let_in(self, staged: StagedTable, ts: Timestamp, numbers: Numbers) -> Numbers:
        """Let staged rows into their table; return the newest numbers.

        Raises:
            StagingLost: they are not there.
        """
        before = numbers
        by_id = by_id_index(staged.table)
        if staged.placement is Placement.REPLACE:
            self._run("supersede_documents", by_id, ts, numbers.superseded)
            superseded = numbers.superseded + self._connection.changes()
            self._run("delete_superseded_documents", by_id)
            numbers = numbers._replace(superseded=superseded)
            for index in (by_id, *staged.indexes):
                if is_vector_index(index):
                    removed = self._remove_vectors(index, ts, numbers.removed)
                else:
                    self._run("remove_entries", index, ts, numbers.removed)
                    removed = self._connection.changes()
                numbers = numbers._replace(removed=numbers.removed + removed)
                self._run("clear", index)
                if is_text_index(index):
                    self._texts.clear(index)
        for index in (by_id, *staged.indexes):
            self._run("let_in", index, ts)
            found = self._connection.changes()
            if index == by_id and found != staged.documents:
                raise StagingLost(f"{found} rows are staged, not {staged.documents}")
            if is_text_index(index):
                self._texts.let_in(index, ts)
            if is_vector_index(index):
                self._vectors.let_in(index, ts)
            self._run("clear", -index)
        (of_documents,) = next(self._run("size_of_documents", before.superseded))
        (of_entries,) = next(self._run("size_of_entries", before.removed))
        written = numbers.history_bytes + of_documents + of_entries
        return numbers._replace(history_bytes=written)

    def _remove_vectors(self, index: IndexId, ts: Timestamp, removed: int) -> int:
        """Put the vectors of an index into history; return how many there were."""
        gone = enumerate(self._vectors.clear(index), removed + 1)
        rows = (
            (number, index, vector.key, vector.document, vector.since, ts)
            for number, vector in gone
        )
        count = 0
        # Some at a time: all of their keys may be more than there is memory for.
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            ADD_ENTRIES_HISTORY.run(self._connection, part)
            count += len(part)
        return count

    def _run(self, query: str, *parameters: int | bytes) -> apsw.Cursor:
        return self._connection.execute(SQL[query], parameters)
