"""What a group of commits writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import apsw

from camber.occ.interval import IndexId
from camber.storage.index_ids import by_id_index, is_text_index, is_vector_index
from camber.storage.sqlite.reading import SQL
from camber.storage.sqlite.statements import RowsStatement
from camber.storage.sqlite.texts import TextRow, TextWriter
from camber.storage.sqlite.vectors import VectorRow, VectorWriter, stored_key
from camber.storage.store import Commit, EntryChange, id_key
from camber.values.timestamp import Timestamp

#: An index and a key in it.
_Place = tuple[IndexId, bytes]


class Numbers(NamedTuple):
    """The newest numbers that documents and rows of history were given."""

    document: int
    superseded: int
    removed: int
    #: About how many bytes of history were written in all.
    history_bytes: int


ENTRIES_THERE: Final = RowsStatement(SQL["entries_there"])
PUT_DOCUMENTS: Final = RowsStatement(SQL["put_documents"])
DELETE_DOCUMENTS: Final = RowsStatement(SQL["delete_documents"])
PUT_ENTRIES: Final = RowsStatement(SQL["put_entries"])
DELETE_ENTRIES: Final = RowsStatement(SQL["delete_entries"])
ADD_DOCUMENTS_HISTORY: Final = RowsStatement(SQL["add_documents_history"])
ADD_ENTRIES_HISTORY: Final = RowsStatement(SQL["add_entries_history"])


class GroupRows:
    """The rows of commits in their order: of each key what it ends as, and what they supersede."""

    def __init__(
        self, connection: apsw.Connection, commits: Iterable[Commit], numbers: Numbers
    ) -> None:
        self._connection = connection
        self._document, self._superseded, self._removed, self._history_bytes = numbers
        self._documents: dict[int, tuple[int, Timestamp, bytes] | None] = {}
        #: Document and since, by place.
        self._entries: dict[_Place, tuple[int, Timestamp] | None] = {}
        self._documents_history: list[tuple[int, int, Timestamp, bytes]] = []
        self._entries_history: list[tuple[int, IndexId, bytes, int, Timestamp, Timestamp]] = []
        #: Where they were.
        self._taken: set[_Place] = set()
        #: By text index and document.
        self._texts: dict[tuple[IndexId, int], TextRow] = {}
        #: By vector index and document.
        self._vectors: dict[tuple[IndexId, int], VectorRow] = {}
        commits = list(commits)
        self._there = self._read(commits)
        for commit in commits:
            self._add(commit)

    def _read(self, commits: Sequence[Commit]) -> dict[_Place, tuple[int, Timestamp]]:
        """Return the entries that the commits take away, and those of the documents they change."""
        places: set[_Place] = set()
        for commit in commits:
            for change in commit.changes:
                if change.before is None:
                    continue
                places.add((by_id_index(change.table), id_key(change.id)))
                places.update(
                    (entry.index, stored_key(entry.index, entry.removed))
                    for entry in change.entries
                    if entry.removed is not None and entry.removed != entry.added
                )
        rows = ENTRIES_THERE.run(self._connection, sorted(places))
        return {(index, key): (document, since) for index, key, document, since in rows}

    def _add(self, commit: Commit) -> None:
        ts = commit.ts
        self._history_bytes += commit.history_bytes()
        for change in commit.changes:
            place = (by_id_index(change.table), id_key(change.id))
            if change.before is None:
                self._document += 1
                document = self._document
                self._entries[place] = (document, ts)
            else:
                document = self._entry(place)[0]
                self._superseded += 1
                self._documents_history.append((self._superseded, document, ts, change.before))
            if change.after is None:
                self._documents[document] = None
                self._remove(place, ts)
            else:
                self._documents[document] = (document, ts, change.after)
            for entry in change.entries:
                if entry.removed == entry.added:
                    continue
                if is_vector_index(entry.index):
                    self._add_vector(entry, document, ts)
                    continue
                if entry.removed is not None:
                    self._remove((entry.index, entry.removed), ts)
                if entry.added is not None:
                    self._entries[entry.index, entry.added] = (document, ts)
                if is_text_index(entry.index):
                    row = TextRow(entry.index, document, ts, entry.added)
                    self._texts[entry.index, document] = row

    def _add_vector(self, entry: EntryChange, document: int, ts: Timestamp) -> None:
        index = entry.index
        if entry.removed is not None:
            self._remove((index, stored_key(index, entry.removed)), ts, key=entry.removed)
        if entry.added is not None:
            self._entries[index, stored_key(index, entry.added)] = (document, ts)
        self._vectors[index, document] = VectorRow(index, document, ts, entry.added)

    def _entry(self, place: _Place) -> tuple[int, Timestamp]:
        entry = self._entries.get(place) or self._there.get(place)
        assert entry is not None, f"a document that is changed is not there: {place}"
        return entry

    def _remove(self, place: _Place, ts: Timestamp, *, key: bytes | None = None) -> None:
        """Remove an entry; history has it by `key`, which is the place's own if it is not given."""
        found = self._entries[place] if place in self._entries else self._there.get(place)
        # An index that is being built may not have it yet, and must not get it any more.
        if found is not None:
            self._removed += 1
            index, own = place
            row = (self._removed, index, own if key is None else key, *found, ts)
            self._entries_history.append(row)
            self._taken.add(place)
        self._entries[place] = None

    def write(self) -> Numbers:
        """Write them, within a transaction; return the newest numbers."""
        connection = self._connection
        documents, entries = self._documents, self._entries
        if self._documents_history or self._entries_history:
            ADD_DOCUMENTS_HISTORY.run(connection, self._documents_history)
            ADD_ENTRIES_HISTORY.run(connection, self._entries_history)
            gone = [(number,) for number, row in documents.items() if row is None]
            DELETE_DOCUMENTS.run(connection, gone)
            # Also those that are there again in the end, under another document or since another time.
            DELETE_ENTRIES.run(connection, sorted(self._taken & self._there.keys()))
        PUT_DOCUMENTS.run(connection, [row for row in documents.values() if row is not None])
        # In the order of their places: neighbours share pages.
        PUT_ENTRIES.run(
            connection,
            sorted([(*place, *entry) for place, entry in entries.items() if entry is not None]),
        )
        if self._texts:
            TextWriter(connection).write(self._texts.values())
        if self._vectors:
            VectorWriter(connection).write(self._vectors.values())
        return Numbers(self._document, self._superseded, self._removed, self._history_bytes)
