"""Which searches a written text could change, found by its words.

A search is filed under each word and the prefix that it looks for, beside the filters that it sets.
A text probes once for each of its words and each set of filter fields in use in its index, and for
prefixes once more for each length in use: searches for other words, or with other filters, cost it
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Generic, TypeAlias, TypeVar

from camber.occ.interval import IndexId
from camber.occ.write_set import EveryKey, IndexWrites
from camber.search.texts import TextQuery, text_of_key

K = TypeVar("K", bound=Hashable)

#: Places of filter fields, and what they hold.
_Filters: TypeAlias = tuple[tuple[int, bytes], ...]
#: A word, or the length of a prefix and the prefix; 0 is no prefix.
_Wanted: TypeAlias = tuple[int, str]


class WatchedSearches(Generic[K]):
    """Searches under watch, by a key of the caller's."""

    def __init__(self) -> None:
        self._members: dict[tuple[IndexId, _Filters, _Wanted], dict[K, None]] = {}
        #: How many places above have each set of filter fields and length of a prefix.
        self._shapes: dict[IndexId, Counter[tuple[tuple[int, ...], int]]] = {}

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._shapes)

    def add(self, key: K, index: IndexId, query: TextQuery) -> None:
        """Watch a search."""
        for wanted in _wanted(query):
            place = (index, query.filters, wanted)
            members = self._members.get(place)
            if members is None:
                members = self._members[place] = {}
                self._shapes.setdefault(index, Counter())[_shape(query, wanted)] += 1
            members[key] = None

    def remove(self, key: K, index: IndexId, query: TextQuery) -> None:
        """Stop to watch a search."""
        for wanted in _wanted(query):
            place = (index, query.filters, wanted)
            # One that holds two searches may have left a place that they share.
            members = self._members.get(place, {})
            if key not in members:
                continue
            del members[key]
            if members:
                continue
            del self._members[place]
            shapes = self._shapes[index]
            shapes[_shape(query, wanted)] -= 1
            if not shapes[_shape(query, wanted)]:
                del shapes[_shape(query, wanted)]
            if not shapes:
                del self._shapes[index]

    def touched(self, writes: IndexWrites, found: dict[K, None]) -> None:
        """Add the keys of the searches that written texts match to `found`."""
        for index, keys in writes.items():
            if index not in self._shapes:
                continue
            if isinstance(keys, EveryKey):
                for (of, _, _), members in self._members.items():
                    if of == index:
                        found.update(members)
                continue
            for key in sorted(keys):
                self._touched_by(index, key, found)

    def _touched_by(self, index: IndexId, key: bytes, found: dict[K, None]) -> None:
        text = text_of_key(key)
        # In order and each once: equal histories give equal results.
        words = dict.fromkeys(text.words)
        for places, length in self._shapes[index]:
            filters = tuple((place, text.filters[place]) for place in places)
            cut = words if not length else dict.fromkeys(word[:length] for word in words)
            for word in cut:
                members = self._members.get((index, filters, (length, word)))
                if members is not None:
                    found.update(members)


def _wanted(query: TextQuery) -> Iterator[_Wanted]:
    for term in query.terms:
        yield 0, term
    if query.prefix is not None:
        yield len(query.prefix), query.prefix


def _shape(query: TextQuery, wanted: _Wanted) -> tuple[tuple[int, ...], int]:
    return tuple(place for place, _ in query.filters), wanted[0]
