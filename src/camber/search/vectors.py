"""Keys of vector indexes, and what a search looks for in them.

A document has one key in a vector index. As the key of a text does (`camber.search.texts`), it says
all that a search asks, so whoever keeps keys in order keeps vectors without knowing what they are.

    time (9 bytes) · number of filter fields · their digests · direction · id

Of a vector its direction is kept: it is divided by its length, and each component is a float32.
Cosines ask no more, and two vectors of one direction are one.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from camber.search.texts import DIGEST_BYTES
from camber.values.keys import NUMBER_BYTES, decode_number

_ID_TAG: Final = b"\x10"
#: Where the digests of filter fields begin, as in the keys of texts.
DIGESTS_AT: Final = NUMBER_BYTES + 1
#: What an array of float64 is when it is read: integral ones are `int`.
_NUMBERS: Final = frozenset({int, float})
#: Takes the largest float64 to where no sum of squares is too large, and the smallest to where all
#: of its bits count. Powers of two: no bit is lost.
_SMALLER: Final = 2.0**-600
_LARGER: Final = 2.0**600
#: Lengths below may have lost bits.
_LENGTH_MIN: Final = 2.0**-900


def direction(values: object, dimensions: int) -> bytes | None:
    """Return the direction of a vector as float32, little-endian.

    None of what has none: no list of so many numbers, or one of zeros, or one with NaN or infinity.
    """
    if not isinstance(values, list) or len(values) != dimensions:
        return None
    if not _NUMBERS.issuperset(map(type, values)):
        return None
    length = math.hypot(*values)
    if length == math.inf and all(map(math.isfinite, values)):
        values = [value * _SMALLER for value in values]
        length = math.hypot(*values)
    elif length < _LENGTH_MIN:
        values = [value * _LARGER for value in values]
        length = math.hypot(*values)
    if not length or not math.isfinite(length):
        return None
    components = array("f", [value / length for value in values])
    if sys.byteorder == "big":
        components.byteswap()
    return components.tobytes()


def vector_key(
    time_key: bytes, filters: Sequence[bytes], direction_: bytes, id_key: bytes
) -> bytes:
    """Return the key of a vector: `time_key` and `id_key` are parts as in other keys."""
    return b"".join((time_key, bytes((len(filters),)), *filters, direction_, id_key))


class VectorParts(NamedTuple):
    """A key in three: what is before the direction, the direction, and the key of the id."""

    head: bytes
    direction: bytes
    id_key: bytes

    @property
    def place(self) -> bytes:
        """Return the key without its direction, which no other document of the index has."""
        return self.head + self.id_key

    @property
    def id(self) -> str:
        """Return the id of the document."""
        return self.id_key[1:-1].decode()

    @property
    def time(self) -> float:
        """Return when the document was created."""
        return decode_number(self.head[:NUMBER_BYTES])

    @property
    def filters(self) -> tuple[bytes, ...]:
        """Return the digests of the filter fields."""
        return tuple(
            self.head[at : at + DIGEST_BYTES]
            for at in range(DIGESTS_AT, len(self.head), DIGEST_BYTES)
        )


def parts_of(key: bytes) -> VectorParts:
    """Return the parts of a key."""
    start = DIGESTS_AT + key[NUMBER_BYTES] * DIGEST_BYTES
    end = key.rindex(_ID_TAG)
    return VectorParts(key[:start], key[start:end], key[end:])


#: What each of some filter fields may hold: places of fields, and digests.
Clause: TypeAlias = tuple[tuple[int, tuple[bytes, ...]], ...]


class VectorQuery(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a search looks for: the vectors whose directions are nearest to `direction`.

    Those that one of `clauses` admits; all of them if there are none.
    """

    direction: bytes
    clauses: tuple[Clause, ...] = ()

    def admits(self, key: bytes) -> bool:
        """Return whether the filters let a vector in."""
        return not self.clauses or any(_admits(clause, key) for clause in self.clauses)


def _admits(clause: Clause, key: bytes) -> bool:
    for place, digests in clause:
        at = DIGESTS_AT + place * DIGEST_BYTES
        if key[at : at + DIGEST_BYTES] not in digests:
            return False
    return True
