"""What a search finds, in the order of its ranking.

What it finds is settled when the first is taken: a document that the transaction itself changes
after that is given as it is by then, and one that it deletes is passed over.

It is a scan of keys that are made for it: statistics, score, time and id, in which bytes sort as the
ranking does. So pages of a search are intervals of keys, as those of any other query are. The
statistics in a key are those that its score was made with. A scan that goes on from a key, or up to
one, takes over its statistics: whatever is written meanwhile, no text changes places with another
but by being written itself, and pages neither lose nor repeat one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Final, Protocol

from camber import limits
from camber.engine.catalog import IndexEntry, TableEntry
from camber.errors import DeveloperError
from camber.occ.interval import Interval
from camber.search.ranking import Hit, Statistics, Window
from camber.search.texts import TextQuery
from camber.storage.store import Row
from camber.values.keys import NUMBER_BYTES, decode_number, encode_part

_U64: Final = struct.Struct(">Q")


class Searched(Protocol):
    """The transaction that a search is of."""

    def text_statistics(self, index: IndexEntry, query: TextQuery) -> Statistics:
        """Return what scores are made of."""

    def text_hits(
        self,
        index: IndexEntry,
        query: TextQuery,
        statistics: Statistics,
        window: Window,
        limit: int,
    ) -> list[Hit]:
        """Return the first documents that are found."""

    def found(self, table: TableEntry, id: str) -> bytes | None:
        """Return a document that was found; None if it was deleted since."""


class SearchScan:
    """The documents that a search finds within an interval of keys, best first."""

    __slots__ = (
        "_given",
        "_hits",
        "_index",
        "_interval",
        "_is_over",
        "_last",
        "_query",
        "_rows",
        "_statistics",
        "_table",
        "_transaction",
    )

    def __init__(
        self,
        transaction: Searched,
        table: TableEntry,
        index: IndexEntry,
        query: TextQuery,
        interval: Interval,
        *,
        rows: int,
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._index = index
        self._query = query
        self._interval = interval
        #: How many to look for at once.
        self._rows = rows
        self._statistics: Statistics | None = None
        #: What was found and is still to be given, and how much was given.
        self._hits: Iterator[Hit] = iter(())
        self._last: Hit | None = None
        self._given = 0
        #: Whether nothing more is to be found.
        self._is_over = interval.is_empty

    def take(self, most: int) -> list[Row]:
        """Return the next `most` rows; fewer at the end.

        Raises:
            DeveloperError: the search has found too much.
        """
        return list(islice(self, most))

    def __iter__(self) -> SearchScan:
        return self

    def __next__(self) -> Row:
        while True:
            for hit in self._hits:
                # It may have been deleted since the scan began.
                packed = self._transaction.found(self._table, hit.id)
                if packed is not None:
                    self._count()
                    assert self._statistics is not None
                    return Row(_key(self._statistics, hit), packed)
            if self._is_over:
                raise StopIteration
            self._look()

    def close(self) -> None:
        """Take nothing more. All of the search was read, however much of it was taken."""
        self._hits = iter(())
        self._is_over = True

    def _count(self) -> None:
        self._given += 1
        if self._given > limits.search_results_max:
            msg = (
                f"the search of {self._table.name}.{self._index.name} found more than "
                f"{limits.search_results_max} documents, the most that one may give. Take fewer, "
                "read it in pages, or narrow it by filter fields"
            )
            raise DeveloperError(msg, code="SearchQueryScannedTooManyDocumentsError")

    def _look(self) -> None:
        """Look for the hits after those that were found."""
        start, end = _bound(self._interval.start), _bound(self._interval.end)
        if self._statistics is None:
            bound = start or end
            self._statistics = (
                self._transaction.text_statistics(self._index, self._query)
                if bound is None
                else bound[0]
            )
        after = self._last or (None if start is None else start[1])
        window = Window(after, None if end is None else end[1])
        found = self._transaction.text_hits(
            self._index, self._query, self._statistics, window, self._rows
        )
        self._hits = iter(found)
        self._is_over = len(found) < self._rows
        self._last = found[-1] if found else None


def _key(statistics: Statistics, hit: Hit) -> bytes:
    numbers = (statistics.documents, statistics.words, *statistics.frequencies)
    rank = (encode_part(-hit.score), encode_part(-hit.time), encode_part(hit.id))
    return b"".join((bytes((len(numbers),)), *map(_U64.pack, numbers), *rank))


def _bound(key: bytes | None) -> tuple[Statistics, Hit] | None:
    """Return what a bound of an interval says; None if it is no bound.

    Intervals of pages begin after a key, and end with one.
    """
    if not key:
        return None
    at = 1 + key[0] * _U64.size
    documents, words, *frequencies = (number for (number,) in _U64.iter_unpack(key[1:at]))
    statistics = Statistics(documents=documents, words=words, frequencies=tuple(frequencies))
    score, time = (decode_number(key[at + n * NUMBER_BYTES :][:NUMBER_BYTES]) for n in range(2))
    id_ = key[at + 2 * NUMBER_BYTES + 1 :].rstrip(b"\0").decode()
    return statistics, Hit(-score, -time, id_)
