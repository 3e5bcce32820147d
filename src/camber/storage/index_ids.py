"""The ids of indexes: the two that every table has, declared ones above, those of searches above.

An id says of what kind its index is, so that stores need no catalog.
"""

from __future__ import annotations

from typing import Final

from camber.occ.interval import IndexId

#: What the number of a declared index is in its id; what is above says the kind. JSON holds both.
_NUMBER_BITS: Final = 40
_TEXT: Final = 1
_VECTORS: Final = 2


def by_id_index(table: int) -> IndexId:
    """Return the index of a table's documents by id."""
    return 2 * table


def by_creation_time_index(table: int) -> IndexId:
    """Return the index of a table's documents by creation time."""
    return 2 * table + 1


def text_index(number: int) -> IndexId:
    """Return the id of a text index that has this number among declared indexes."""
    return _TEXT << _NUMBER_BITS | number


def is_text_index(index: IndexId) -> bool:
    """Return whether an index holds texts: its keys are those of `camber.search.texts`."""
    return index >> _NUMBER_BITS == _TEXT


def vector_index(number: int) -> IndexId:
    """Return the id of a vector index that has this number among declared indexes."""
    return _VECTORS << _NUMBER_BITS | number


def is_vector_index(index: IndexId) -> bool:
    """Return whether an index holds vectors: its keys are those of `camber.search.vectors`."""
    return index >> _NUMBER_BITS == _VECTORS


def is_searched(index: IndexId) -> bool:
    """Return whether an index holds texts or vectors."""
    return is_text_index(index) or is_vector_index(index)


def declared_number(index: IndexId) -> int:
    """Return the number of a declared index among those of all kinds."""
    return index & (1 << _NUMBER_BITS) - 1
