"""Which vectors are nearest, in what order, and which writes could change that.

A score is the cosine of the angle between two directions, computed here in float64 and nowhere
else, so that stores and overlays agree to the last bit. Equal scores: by id. A store may look for
candidates by cheaper arithmetic, if it takes in whatever that could be wrong about: `error_max`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from camber.search.vectors import VectorQuery, parts_of

if TYPE_CHECKING:
    import numpy as np

#: Directions by row.
Matrix: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

#: Half the distance from 1 to the next float32.
_FLOAT32_EPSILON: Final = 2.0**-24


class VectorHit(NamedTuple):
    """A document that was found."""

    score: float
    id: str

    @property
    def rank(self) -> tuple[float, str]:
        """Return what hits are ordered by."""
        return (-self.score, self.id)


class Nearest(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="nearest"):
    """A search that was made, and the last hit that was looked at.

    There is no last one if all were looked at that there were: whatever the filters admit could be
    one more.
    """

    query: VectorQuery
    last: VectorHit | None

    @property
    def is_empty(self) -> bool:
        """Return False: any vector has its nearest ones."""
        return False

    def matcher(self) -> Callable[[bytes], bool]:
        """Return what tells of keys whether their vectors could change the answer."""
        return self.matches

    def matches(self, key: bytes) -> bool:
        """Return whether a vector that is written, or was there before, could change the answer."""
        if not self.query.admits(key):
            return False
        return self.last is None or _hits([key], self.query)[0].rank <= self.last.rank


class VectorChange(NamedTuple):
    """The key of a document in a vector index before something, and after it."""

    before: bytes | None
    after: bytes | None


def prepare_to_search() -> None:
    """Import what searches compute with, so that the first one does not wait for it."""
    import numpy as np

    del np


def matrix_of(directions: Sequence[bytes]) -> Matrix:
    """Return directions of one length as rows."""
    # Here and not above: who searches no vectors does not wait for it.
    import numpy as np

    joined = np.frombuffer(b"".join(directions), dtype="<f4")
    return joined.reshape(len(directions), -1)


def scores_of(matrix: Matrix, direction: bytes) -> list[float]:
    """Return the cosine of each row with a direction."""
    import numpy as np

    rows = matrix.astype(np.float64)
    wanted = np.frombuffer(direction, dtype="<f4").astype(np.float64)
    # Row by row, in an order of additions that does not depend on the other rows: products of
    # matrices may be computed in any.
    dots = (rows * wanted).sum(axis=1)
    lengths = np.sqrt((rows * rows).sum(axis=1) * (wanted * wanted).sum())
    found: list[float] = np.clip(dots / lengths, -1.0, 1.0).tolist()
    return found


def error_max(dimensions: int) -> float:
    """Return how far a cosine may be off that was computed in float32, in any order of additions."""
    # Directions are rounded, so are products and each sum (Higham, "Accuracy and Stability of
    # Numerical Algorithms", 3.1); all terms together are at most 1.
    return (dimensions + 8) * _FLOAT32_EPSILON


def nearest_of(keys: Iterable[bytes], query: VectorQuery, limit: int) -> list[VectorHit]:
    """Return the first hits of an index that has these keys and no others."""
    return overlaid([], query, limit, (VectorChange(None, key) for key in keys))


def overlaid(
    hits: Iterable[VectorHit], query: VectorQuery, limit: int, changes: Iterable[VectorChange]
) -> list[VectorHit]:
    """Return the first hits after changes.

    `hits` are the first ones without them, as many more as documents were there before.
    """
    hidden: set[str] = set()
    found: list[bytes] = []
    for change in changes:
        if change.before is not None:
            hidden.add(parts_of(change.before).id)
        if change.after is not None and query.admits(change.after):
            found.append(change.after)
    kept = [hit for hit in hits if hit.id not in hidden]
    return nsmallest(limit, [*kept, *_hits(found, query)], key=_rank)


def _hits(keys: Sequence[bytes], query: VectorQuery) -> list[VectorHit]:
    if not keys:
        return []
    parts = [parts_of(key) for key in keys]
    scores = scores_of(matrix_of([each.direction for each in parts]), query.direction)
    return [VectorHit(score, each.id) for score, each in zip(scores, parts, strict=True)]


def _rank(hit: VectorHit) -> tuple[float, str]:
    return hit.rank
