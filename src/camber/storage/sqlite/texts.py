"""Text indexes in a SQLite store: FTS5 finds the texts, the scores are `camber.search.ranking`'s.

FTS5 gets words that are cut already, so that its tokenizer has nothing to decide, and filters as
words of a column of their own. What is asked of it is which texts have a word and how often: its own
scores would be those of the newest moment alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from math import inf
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from camber.occ.interval import IndexId
from camber.search.ranking import Hit, Ranking, Statistics, TextChange, Window
from camber.search.texts import TextQuery, id_of_text_key, text_of_key, time_key_of
from camber.storage.sqlite.statements import named_statements, sql_of
from camber.values.timestamp import Timestamp

_SQL: Final = named_statements(sql_of("text_queries.sql"))
#: In no word, so no filter is taken for one.
_MARK: Final = "\ue000"
#: The columns of an FTS5 table.
_WORDS: Final = 1

_AFTER_NOTHING: Final = Hit(inf, inf, "")
_UPTO_THE_END: Final = Hit(-1.0, 0.0, "")


class _Scoring(msgspec.Struct, frozen=True, array_like=True):
    """What the function needs that gives scores within SQLite."""

    #: How many phrases of the search come before its clauses.
    filters: int
    statistics: Statistics


_SCORING: Final = msgspec.msgpack.Decoder(_Scoring)


def prepare(connection: apsw.Connection) -> None:
    """Make a connection able to search."""
    connection.register_fts5_function("camber_score", _score)


def _score(api: apsw.FTS5ExtensionApi, *parameters: Any) -> float:
    length, packed = parameters
    prepared = api.aux_data
    if prepared is None:
        scoring = _SCORING.decode(packed)
        clauses = range(scoring.filters, api.phrase_count)
        prepared = api.aux_data = (Ranking(scoring.statistics), clauses)
    ranking, clauses = prepared
    offsets = api.phrase_column_offsets
    return ranking.score([len(offsets(clause, _WORDS)) for clause in clauses], length)  # type: ignore[no-any-return]


def text_statistics(connection: apsw.Connection, index: IndexId, query: TextQuery) -> Statistics:
    """Return the statistics of what is current."""
    clauses = _clauses(query)
    for documents, words in connection.execute(_SQL["totals"], (index,)):
        frequencies = [
            next(connection.execute(_of("frequency", index), (f"words : {clause}",)))[0]
            for clause in clauses
        ]
        return Statistics(documents=documents, words=words, frequencies=tuple(frequencies))
    return Statistics(documents=0, words=0, frequencies=(0,) * len(clauses))


def text_hits(
    connection: apsw.Connection,
    index: IndexId,
    query: TextQuery,
    statistics: Statistics,
    window: Window,
    limit: int,
) -> list[Hit]:
    """Return the first hits among what is current."""
    if not any(connection.execute(_SQL["totals"], (index,))):
        return []
    scoring = _Scoring(filters=len(query.filters), statistics=statistics)
    match = f"words : ({' OR '.join(_clauses(query))})"
    if query.filters:
        filters = " AND ".join(f'"{_filter(*each)}"' for each in query.filters)
        match = f"(filters : ({filters})) AND ({match})"
    parameters = (
        index,
        msgspec.msgpack.encode(scoring),
        match,
        *(window.after or _AFTER_NOTHING),
        *(window.upto or _UPTO_THE_END),
        limit,
    )
    return [Hit(*row) for row in connection.execute(_of("hits", index), parameters)]


def changes_since(
    connection: apsw.Connection,
    index: IndexId,
    ts: Timestamp,
    *,
    removed_then: int,
    is_recent: bool,
) -> list[TextChange]:
    """Return how to come from what is current to what was there at `ts`, by document.

    `removed_then` is how many entries had been removed by then; `is_recent` says that only few were
    since.
    """
    now: dict[str, bytes] = {}
    for created, document in list(connection.execute(_SQL["younger"], (index, ts))):
        start = time_key_of(created)
        asked = (index, start, start + b"\xff", document)
        for (key,) in connection.execute(_SQL["key"], asked):
            now[id_of_text_key(key)] = key
    if is_recent:
        gone = connection.execute(_SQL["removed_recently"], (index, ts, removed_then))
    else:
        gone = connection.execute(_SQL["removed"], (index, ts))
    then = {id_of_text_key(key): key for (key,) in gone}
    return [TextChange(now.get(id_), then.get(id_)) for id_ in {**now, **then}]


def _clauses(query: TextQuery) -> list[str]:
    """Return the clauses of a search as FTS5 writes them, in the order of statistics."""
    clauses = [f'"{term}"' for term in query.terms]
    if query.prefix is not None:
        clauses.append(f'"{query.prefix}" *')
    return clauses


def _filter(place: int, digest: bytes) -> str:
    return f"{_MARK}{place}{_MARK}{digest.hex()}"


@cache
def _of(name: str, index: IndexId) -> str:
    """Return a statement about an index."""
    return _SQL[name].replace("text_N", f"text_{index}")


class TextRow(NamedTuple):
    """What becomes of a document's text: a key since a timestamp, or none."""

    of: IndexId
    document: int
    since: Timestamp
    key: bytes | None


class TextWriter:
    """The text indexes of one store, on its writer's connection, within its transactions."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def write(self, rows: Iterable[TextRow]) -> None:
        """Give documents other texts."""
        for row in rows:
            self._remove(row.of, row.document)
            if row.key is not None:
                self._put(row.of, row.document, row.since, row.key)

    def add_missing(self, rows: Iterable[TextRow]) -> None:
        """Add texts of documents that have none yet."""
        for row in rows:
            if row.key is not None and not self._has(row.of, row.document):
                self._put(row.of, row.document, row.since, row.key)

    def clear(self, index: IndexId) -> None:
        """Remove all texts of an index."""
        self._make(index)
        self._connection.execute(_of("delete_all_words", index))
        self._connection.execute(_SQL["delete_all"], (index,))
        self._connection.execute(_SQL["reset_totals"], (index,))

    def let_in(self, index: IndexId, ts: Timestamp) -> None:
        """Add all texts that are staged for an index."""
        for document, key in list(self._connection.execute(_SQL["staged"], (index,))):
            self._put(index, document, ts, key)

    def drop(self, index: IndexId, texts_max: int) -> int:
        """Remove what is kept of an index, its words first; return how many texts went."""
        self._connection.execute(_of("drop", index))
        self._connection.execute(_SQL["drop_totals"], (index,))
        self._connection.execute(_SQL["drop_texts"], (index, texts_max))
        return self._connection.changes()

    def _put(self, index: IndexId, document: int, since: Timestamp, key: bytes) -> None:
        self._make(index)
        text = text_of_key(key)
        filters = " ".join(_filter(*each) for each in enumerate(text.filters))
        words = len(text.words)
        run = self._connection.execute
        run(_of("put_words", index), (document, filters, " ".join(text.words)))
        run(_SQL["put"], (index, document, since, text.time, text.id, words))
        run(_SQL["count"], (index, 1, words))

    def _remove(self, index: IndexId, document: int) -> None:
        for words in self._there(index, document):
            self._connection.execute(_of("delete_words", index), (document,))
            self._connection.execute(_SQL["delete"], (index, document))
            self._connection.execute(_SQL["count"], (index, -1, -words))

    def _has(self, index: IndexId, document: int) -> bool:
        return any(True for _ in self._there(index, document))

    def _there(self, index: IndexId, document: int) -> Iterator[int]:
        for (words,) in list(self._connection.execute(_SQL["there"], (index, document))):
            yield words

    def _make(self, index: IndexId) -> None:
        if not any(self._connection.execute(_SQL["totals"], (index,))):
            self._connection.execute(_of("create", index))
            self._connection.execute(_SQL["add_totals"], (index,))
