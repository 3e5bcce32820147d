"""Which searches of vectors a written vector could change.

A search is filed under the value that its filters ask of one field, so that a vector with another
value costs it nothing. Under one value, vectors are held against all searches at once: one product
of a matrix, whose rows are what was searched for, says of which they are nearer than the last hit, or
so near to it that they have to be looked at closely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from camber.occ.interval import IndexId
from camber.occ.write_set import EveryKey, IndexWrites
from camber.search.nearest import Nearest, error_max, matrix_of
from camber.search.vectors import parts_of

if TYPE_CHECKING:
    import numpy as np

K = TypeVar("K", bound=Hashable)

#: A filter field, and what it holds; None where a search takes any.
_Value: TypeAlias = tuple[int, bytes] | None
#: Searches up to which each is looked at closely: the product would take as long.
_FEW: Final = 8
_ROWS_MIN: Final = 64
#: How many times as many rows as searches there may be, free ones included.
_SPARSE: Final = 4
#: Vectors of one product: the matrix is read once for all of them, and there is a score for each row.
_AT_ONCE: Final = 64


class WatchedVectors(Generic[K]):
    """Searches of vectors under watch, by a key of the caller's."""

    def __init__(self) -> None:
        self._groups: dict[tuple[IndexId, _Value], _Group[K]] = {}
        #: How many groups of an index are about each filter field, or about none.
        self._places: dict[IndexId, Counter[int | None]] = {}

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._places)

    def add(self, key: K, index: IndexId, search: Nearest) -> None:
        """Watch a search."""
        for value in _values(search):
            group = self._groups.get((index, value))
            if group is None:
                group = self._groups[index, value] = _Group()
                self._places.setdefault(index, Counter())[_place(value)] += 1
            group.add(key, search)

    def remove(self, key: K, index: IndexId, search: Nearest) -> None:
        """Stop to watch a search."""
        for value in _values(search):
            group = self._groups[index, value]
            group.remove(key, search)
            if group:
                continue
            del self._groups[index, value]
            places = self._places[index]
            places[_place(value)] -= 1
            if not places[_place(value)]:
                del places[_place(value)]
            if not places:
                del self._places[index]

    def touched(self, writes: IndexWrites, found: dict[K, None]) -> None:
        """Add the keys of the searches that written vectors could change to `found`."""
        for index, keys in writes.items():
            if index not in self._places:
                continue
            if isinstance(keys, EveryKey):
                for (of, _), members in self._groups.items():
                    if of == index:
                        found.update(dict.fromkeys(members.everybody()))
                continue
            written: dict[_Value, list[bytes]] = {}
            # In order: equal histories give equal results.
            for key in sorted(keys):
                filters = parts_of(key).filters
                for place in self._places[index]:
                    value = None if place is None else (place, filters[place])
                    if (index, value) in self._groups:
                        written.setdefault(value, []).append(key)
            for value, of_value in written.items():
                self._groups[index, value].touched(of_value, found)


def _values(search: Nearest) -> list[_Value]:
    """Return the values under which a search is filed: whatever it admits has one of them."""
    values: dict[_Value, None] = {}
    for clause in search.query.clauses:
        if not clause:
            return [None]
        place, digests = clause[0]
        values.update(dict.fromkeys((place, digest) for digest in digests))
    return list(values) if search.query.clauses else [None]


def _place(value: _Value) -> int | None:
    return None if value is None else value[0]


class _Group(Generic[K]):
    """The searches of one index that ask for one value, by the rows of a matrix."""

    def __init__(self) -> None:
        self._rows: dict[tuple[K, Nearest], int] = {}
        self._members: list[tuple[K, Nearest] | None] = []
        self._free: list[int] = []
        #: What is searched for, and how near a vector has to be; made when there are many.
        self._matrix: np.ndarray[Any, np.dtype[np.float32]] | None = None
        self._least: np.ndarray[Any, np.dtype[np.float32]] | None = None

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, key: K, search: Nearest) -> None:
        member = (key, search)
        if member in self._rows:
            return
        if self._free:
            row = self._free.pop()
            self._members[row] = member
        else:
            row = len(self._members)
            self._members.append(member)
        self._rows[member] = row
        self._set(row, search)

    def remove(self, key: K, search: Nearest) -> None:
        row = self._rows.pop((key, search), None)
        # A read set that searches twice for the same is there once.
        if row is None:
            return
        self._members[row] = None
        self._free.append(row)
        if self._least is not None and row < len(self._least):
            self._least[row] = 2.0
        if len(self._members) > _ROWS_MIN and len(self._rows) * _SPARSE < len(self._members):
            self._close_up()

    def _close_up(self) -> None:
        """Put the searches that are left side by side: most who were here have gone."""
        self._members = [*self._rows]
        self._rows = {member: row for row, member in enumerate(self._rows)}
        self._free = []
        self._matrix = self._least = None

    def everybody(self) -> Iterator[K]:
        """Yield who watches anything here."""
        for key, _ in self._rows:
            yield key

    def touched(self, written: Sequence[bytes], found: dict[K, None]) -> None:
        """Add who watches a search that a written vector could change to `found`.

        Who is there already is not looked at.
        """
        if len(self._rows) <= _FEW:
            for key, search in self._rows:
                if key not in found and any(map(search.matches, written)):
                    found[key] = None
            return
        for begin in range(0, len(written), _AT_ONCE):
            self._touched_by(written[begin : begin + _AT_ONCE], found)

    def _touched_by(self, written: Sequence[bytes], found: dict[K, None]) -> None:
        import numpy as np

        if self._matrix is None or len(self._matrix) < len(self._members):
            self._make()
        assert self._matrix is not None
        assert self._least is not None
        directions = matrix_of([parts_of(key).direction for key in written])
        rows = len(self._members)
        near = self._matrix[:rows] @ directions.T >= self._least[:rows, np.newaxis]
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            member = self._members[row]
            if member is None or member[0] in found:
                continue
            key, search = member
            if any(search.matches(written[at]) for at in np.flatnonzero(near[row]).tolist()):
                found[key] = None

    def _make(self) -> None:
        """Make the matrix anew, with room for as many again."""
        import numpy as np

        (_, any_search), *_ = self._rows
        dimensions = len(matrix_of([any_search.query.direction])[0])
        rows = max(_ROWS_MIN, 2 * len(self._members))
        self._matrix = np.zeros((rows, dimensions), dtype=np.float32)
        # No cosine is as much.
        self._least = np.full(rows, 2.0, dtype=np.float32)
        for (_, search), row in self._rows.items():
            self._set(row, search)

    def _set(self, row: int, search: Nearest) -> None:
        if self._matrix is None or self._least is None or row >= len(self._matrix):
            return
        (direction,) = matrix_of([search.query.direction])
        self._matrix[row] = direction
        least = -2.0 if search.last is None else search.last.score
        self._least[row] = least - 2 * error_max(len(direction))
