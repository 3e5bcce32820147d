"""Tables of the application under proof: one that takes anything, one whose fields are declared.

A third, `late`, is declared nowhere and made by whoever inserts first.
"""

from __future__ import annotations

from typing import Any

from camber import Index, SearchIndex, Table, VectorIndex


class Doc(Table, table="docs", strict=False):
    by_a = Index("a")
    by_ab = Index("a", "b")
    by_u = Index("u", unique=True)
    search_a = SearchIndex("a", filter_fields=["b"])
    by_v = VectorIndex("v", dimensions=2, filter_fields=["b"])


class Row(Table, table="rows"):
    a: Any
    b: Any
    u: Any
    n: float = 0

    by_ba = Index("b", "a")
    by_u = Index("u", unique=True)
