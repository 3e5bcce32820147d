"""What a commit wrote, as index keys: those that it removed and those that it added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import Final, TypeAlias

from camber.occ.interval import IndexId


class EveryKey(Enum):
    """All keys of an index, named by one word: for commits that replace whole tables."""

    IN_INDEX = "every key"


EVERY_KEY: Final = EveryKey.IN_INDEX

#: Old and new keys of the written documents, by index.
IndexWrites: TypeAlias = Mapping[IndexId, Collection[bytes] | EveryKey]
