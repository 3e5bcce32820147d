"""Scores, and the order of what a search finds.

BM25 as Robertson and Zaragoza have it ("The Probabilistic Relevance Framework: BM25 and Beyond",
2009), with the inverse document frequency of Lucene, which is never negative:

    score = sum over clauses of  idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / average))
    idf   = ln(1 + (N - df + 0.5) / (df + 0.5))

`tf` is how often a clause is in a text, `df` in how many texts of the index it is, `N` how many
there are. Each term is a clause, and the prefix is one: whatever begins so counts as one word.
Since the last term of a search is both, a text that has the very word comes before one that has
a longer one. Equal scores: newest first, then by id.

Every store and every overlay scores here, in this order of additions, so that they agree to the
last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from math import log
from typing import Final, NamedTuple

import msgspec

from camber.search.texts import (
    Text,
    TextQuery,
    id_of_text_key,
    text_of_key,
    words_of_text_key,
)

_K1: Final = 1.2
_B: Final = 0.75


class Statistics(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What scores are made of beside the text itself, of an index at one moment.

    `frequencies` says of each clause of a search in how many texts it is.
    """

    documents: int
    words: int
    frequencies: tuple[int, ...]


class Hit(NamedTuple):
    """A document that was found."""

    score: float
    time: float
    id: str

    @property
    def rank(self) -> tuple[float, float, str]:
        """Return what hits are ordered by."""
        return (-self.score, -self.time, self.id)


class Window(NamedTuple):
    """The part of an order after one hit, and up to and including another; None is no bound."""

    after: Hit | None = None
    upto: Hit | None = None

    def holds(self, hit: Hit) -> bool:
        """Return whether a hit lies in it."""
        if self.after is not None and hit.rank <= self.after.rank:
            return False
        return self.upto is None or hit.rank <= self.upto.rank


#: All hits.
EVERYTHING: Final = Window()


class Ranking:
    """Gives scores by statistics."""

    __slots__ = ("_bare", "_per_word", "_weights")

    def __init__(self, statistics: Statistics) -> None:
        number = statistics.documents
        self._weights = [
            log(1 + (number - frequency + 0.5) / (frequency + 0.5)) * (_K1 + 1)
            for frequency in statistics.frequencies
        ]
        average = statistics.words / number if statistics.words else 1.0
        self._bare = _K1 * (1 - _B)
        self._per_word = _K1 * _B / average

    def score(self, counts: Sequence[int], length: int) -> float:
        """Return the score of a text of `length` words that has each clause so often."""
        normal = self._bare + self._per_word * length
        score = 0.0
        for weight, count in zip(self._weights, counts, strict=True):
            if count:
                score += weight * count / (count + normal)
        return score


class TextChange(NamedTuple):
    """The key of a document in a text index before something, and after it."""

    before: bytes | None
    after: bytes | None


def statistics_of(keys: Iterable[bytes], query: TextQuery) -> Statistics:
    """Return the statistics of an index that has these keys and no others."""
    empty = Statistics(documents=0, words=0, frequencies=(0,) * query.clauses)
    return overlaid_statistics(empty, query, (TextChange(None, key) for key in keys))


def hits_of(
    keys: Iterable[bytes], query: TextQuery, statistics: Statistics, window: Window, limit: int
) -> list[Hit]:
    """Return the first hits among keys, in order."""
    return overlaid_hits(
        [], query, statistics, window, limit, (TextChange(None, key) for key in keys)
    )


def overlaid_statistics(
    statistics: Statistics, query: TextQuery, changes: Iterable[TextChange]
) -> Statistics:
    """Return the statistics after changes."""
    documents, words = statistics.documents, statistics.words
    frequencies = list(statistics.frequencies)
    needles = list(enumerate(query.needles))
    for change in changes:
        for key, step in ((change.before, -1), (change.after, 1)):
            if key is None:
                continue
            # Looked at as it stands: there may be very many.
            text = words_of_text_key(key)
            documents += step
            words += step * (text.count(b" ") - 1)
            for at, needle in needles:
                if needle in text:
                    frequencies[at] += step
    return Statistics(documents=documents, words=words, frequencies=tuple(frequencies))


def overlaid_hits(
    hits: Iterable[Hit],
    query: TextQuery,
    statistics: Statistics,
    window: Window,
    limit: int,
    changes: Iterable[TextChange],
) -> list[Hit]:
    """Return the first hits after changes.

    `hits` are the first ones without them, as many more as documents were there before.
    """
    ranking = Ranking(statistics)
    matches = query.matcher()
    hidden: set[str] = set()
    found: list[Hit] = []
    for change in changes:
        if change.before is not None:
            hidden.add(id_of_text_key(change.before))
        if change.after is not None and matches(change.after):
            found.append(_hit(text_of_key(change.after), query, ranking))
    kept = [hit for hit in hits if hit.id not in hidden]
    kept += [hit for hit in found if window.holds(hit)]
    return nsmallest(limit, kept, key=_rank)


def _hit(text: Text, query: TextQuery, ranking: Ranking) -> Hit:
    score = ranking.score(query.counts(text.words), len(text.words))
    return Hit(score, text.time, text.id)


def _rank(hit: Hit) -> tuple[float, float, str]:
    return hit.rank
