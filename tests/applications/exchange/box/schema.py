"""A table that is called as the application's is, and is another one."""

from __future__ import annotations

from camber import Index, Table


class Note(Table, table="notes"):
    """A note that was put here."""

    board: str
    text: str

    by_board = Index("board", "text")
