"""Text indexes in a SQLite store: FTS5 finds the texts, the scores are `camber.search.ranking`'s.

FTS5 gets words that are cut already, so that its tokenizer has nothing to decide, and filters as
words of a column of their own. What is asked of it is which texts have a word and how often: its own
scores would be those of the newest moment alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import inf
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from camber import limits
from camber.occ.interval import IndexId
from camber.search.ranking import EVERYTHING, Hit, Ranking, Statistics, TextChange, Window
from camber.search.texts import TextQuery, id_of_text_key, text_of_key, time_key_of
from camber.storage.sqlite.statements import RowsStatement, named_statements, sql_of
from camber.values.timestamp import Timestamp

_SQL: Final = named_statements(sql_of("text_queries.sql"))
#: In no word, so no filter is taken for one.
_MARK: Final = "\ue000"
#: The columns of an FTS5 table.
_WORDS: Final = 1

#: How many texts are looked at in the time that it takes to look one up.
_LOOK_UP_COST: Final = 20

#: More than differ in most searches; each takes some 150 bytes.
_SCORES_KEPT: Final = 10_000

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


class _Scores(dict[tuple[int, ...], float]):
    """Scores of one search, by the length of a text and how often it has each clause.

    Most texts are like others in that: a score that is known takes a third of one that is made.
    """

    def __init__(self, ranking: Ranking) -> None:
        super().__init__()
        self._ranking = ranking

    def __missing__(self, found: tuple[int, ...]) -> float:
        length, *counts = found
        score = self._ranking.score(counts, length)
        if len(self) < _SCORES_KEPT:
            self[found] = score
        return score


def _score(api: apsw.FTS5ExtensionApi, *parameters: Any) -> float:
    length, packed = parameters
    prepared = api.aux_data
    if prepared is None:
        scoring = _SCORING.decode(packed)
        clauses = range(scoring.filters, api.phrase_count)
        prepared = api.aux_data = (_Scores(Ranking(scoring.statistics)), clauses)
    scores, clauses = prepared
    offsets = api.phrase_column_offsets
    found = (length, *[len(offsets(clause, _WORDS)) for clause in clauses])
    return scores[found]  # type: ignore[no-any-return]


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
    parameters = (index, msgspec.msgpack.encode(scoring), match, limit)
    if window == EVERYTHING:
        return [Hit(*row) for row in connection.execute(_of("first_hits", index), parameters)]
    bounds = (*(window.after or _AFTER_NOTHING), *(window.upto or _UPTO_THE_END))
    return [Hit(*row) for row in connection.execute(_of("hits", index), parameters + bounds)]


def changes_since(
    connection: apsw.Connection,
    index: IndexId,
    ts: Timestamp,
    gone: Iterable[bytes],
) -> list[TextChange]:
    """Return how to come from what is current to what was there at `ts`, by document.

    `gone` are the keys that were there and are no more, or are there again.
    """
    now = {id_of_text_key(key): key for key in _younger_keys(connection, index, ts)}
    then = {id_of_text_key(key): key for key in gone}
    return [TextChange(now.get(id_), then.get(id_)) for id_ in {**now, **then}]


def _younger_keys(connection: apsw.Connection, index: IndexId, ts: Timestamp) -> Iterator[bytes]:
    """Yield the keys that are there since later than a timestamp."""
    younger = list(connection.execute(_SQL["younger"], (index, ts)))
    documents, _ = next(connection.execute(_SQL["totals"], (index,)), (0, 0))
    if len(younger) * _LOOK_UP_COST > documents:
        for (key,) in connection.execute(_SQL["younger_keys"], (index, ts)):
            yield key
        return
    for created, document in younger:
        start = time_key_of(created)
        for (key,) in connection.execute(_SQL["key"], (index, start, start + b"\xff", document)):
            yield key


def _clauses(query: TextQuery) -> list[str]:
    """Return the clauses of a search as FTS5 writes them, in the order of statistics."""
    clauses = [f'"{term}"' for term in query.terms]
    if query.prefix is not None:
        clauses.append(f'"{query.prefix}" *')
    return clauses


def _filter(place: int, digest: bytes) -> str:
    return f"{_MARK}{place}{_MARK}{digest.hex()}"


@lru_cache(maxsize=limits.search_statements_kept)
def _of(name: str, index: IndexId) -> str:
    """Return a statement about an index; a negative one is what is staged for it."""
    table = f"text_staged_{-index}" if index < 0 else f"text_{index}"
    text = _SQL[name].replace("text_staged_N", f"text_staged_{index}")
    return text.replace("text_N", table)


@lru_cache(maxsize=limits.search_statements_kept)
def _rows_of(name: str, index: IndexId) -> RowsStatement:
    return RowsStatement(_of(name, index))


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
        for index, changed in _by_index(rows):
            self._remove(index, changed)
            self._put(index, changed)

    def add_missing(self, rows: Iterable[TextRow]) -> None:
        """Add texts of documents that have none yet."""
        for index, found in _by_index(rows):
            there = self._there(index, found)
            self._put(index, [row for row in found if row.document not in there])

    def stage(self, rows: Iterable[TextRow]) -> None:
        """Put texts aside for their indexes."""
        for index, staged in _by_index(rows):
            self._put(-index, staged)

    def unstage(self) -> None:
        """Forget all texts that are staged."""
        for (index,) in list(self._run("staged_indexes")):
            self._forget(index)

    def clear(self, index: IndexId) -> None:
        """Remove all texts of an index."""
        if self._totals(index) is not None:
            self._connection.execute(_of("clear_words", index))
            self._run("clear", index)
            self._run("reset_totals", index)

    def let_in(self, index: IndexId, ts: Timestamp) -> None:
        """Add all texts that are staged for an index: at once, if it has no others."""
        if self._totals(-index) is None:
            return
        if self._totals(index) in {None, (0, 0)}:
            self._forget(index)
            self._connection.execute(_of("take_over", index))
            self._run("take_over_texts", index, ts)
            self._run("take_over_totals", index)
            self._run("clear", -index)
            return
        staged = list(self._run("staged_keys", index))
        self._put(index, [TextRow(index, document, ts, key) for document, key in staged])
        self._forget(-index)

    def drop(self, index: IndexId, texts_max: int) -> int:
        """Remove what is kept of an index, its words first; return how many texts went."""
        self._connection.execute(_of("drop", index))
        self._run("drop_totals", index)
        self._run("drop_texts", index, texts_max)
        return self._connection.changes()

    def _forget(self, index: IndexId) -> None:
        self._connection.execute(_of("drop", index))
        self._run("drop_totals", index)
        self._run("clear", index)

    def _put(self, index: IndexId, rows: Iterable[TextRow]) -> None:
        of_words: list[tuple[int, str, str]] = []
        of_texts: list[tuple[Any, ...]] = []
        total = 0
        for row in rows:
            if row.key is None:
                continue
            text = text_of_key(row.key)
            filters = " ".join([_filter(*each) for each in enumerate(text.filters)])
            of_words.append((row.document, filters, " ".join(text.words)))
            words = len(text.words)
            of_texts.append((index, row.document, row.since, text.time, text.id, words))
            total += words
        if not of_words:
            return
        if self._totals(index) is None:
            self._connection.execute(_of("create", index))
            self._run("add_totals", index)
        # In the order of their numbers: neighbours share pages.
        _rows_of("put_words", index).run(self._connection, sorted(of_words))
        _PUT.run(self._connection, sorted(of_texts))
        self._run("count", index, len(of_words), total)

    def _remove(self, index: IndexId, rows: Iterable[TextRow]) -> None:
        there = self._there(index, rows)
        if there:
            gone = sorted(there)
            _rows_of("delete_words", index).run(self._connection, [(each,) for each in gone])
            _DELETE.run(self._connection, [(index, each) for each in gone])
            self._run("count", index, -len(there), -sum(there.values()))

    def _there(self, index: IndexId, rows: Iterable[TextRow]) -> dict[int, int]:
        """Return how many words the texts have that there are, by document."""
        return dict(_THERE.run(self._connection, [(index, row.document) for row in rows]))

    def _totals(self, index: IndexId) -> tuple[int, int] | None:
        """Return how many texts and words an index has; None if nothing is kept of it."""
        for documents, words in self._run("totals", index):
            return documents, words
        return None

    def _run(self, name: str, *parameters: int) -> apsw.Cursor:
        return self._connection.execute(_SQL[name], parameters)


def _by_index(rows: Iterable[TextRow]) -> Iterable[tuple[IndexId, list[TextRow]]]:
    found: dict[IndexId, list[TextRow]] = {}
    for row in rows:
        found.setdefault(row.of, []).append(row)
    return found.items()


_THERE: Final = RowsStatement(_SQL["there"])
_PUT: Final = RowsStatement(_SQL["put"])
_DELETE: Final = RowsStatement(_SQL["delete"])
