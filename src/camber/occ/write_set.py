"""What a commit wrote, as index keys: those that it removed and those that it added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from camber.occ.interval import IndexId

#: Old and new keys of the written documents, by index.
IndexWrites: TypeAlias = Mapping[IndexId, Collection[bytes]]
