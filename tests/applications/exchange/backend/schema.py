"""Tables of the application that is simulated."""

from __future__ import annotations

from typing import Any

from camber import CommitTs, Id, Index, ScheduledFunction, SearchIndex, Table


class Account(Table, table="accounts"):
    """Money, which is moved and never made: an account that is first named holds 100."""

    name: str
    balance: int

    by_name = Index("name")


class Log(Table, table="logs"):
    """A list that is only appended to."""

    name: str
    items: list[str]

    by_name = Index("name")


class Note(Table, table="notes"):
    """A note on a board."""

    board: str
    text: str

    by_board = Index("board", "text")
    search_text = SearchIndex("text", filter_fields=["board"])


class Plan(Table, table="plans"):
    """A note that is scheduled for a board, and has neither come to it nor been called off."""

    board: str
    text: str
    job: Id[ScheduledFunction]

    by_board = Index("board", "text")


class Done(Table, table="done"):
    """One for each mutation that has committed: by whom it was asked for, and what it was."""

    client: str
    request: int
    operation: str
    arguments: dict[str, Any]
    #: When it has committed.
    at: CommitTs

    by_request = Index("client", "request")
