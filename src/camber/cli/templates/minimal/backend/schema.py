"""The tables. Their annotations are the validators of what is stored."""

from camber import Table


class Task(Table, table="tasks"):
    """Something to do."""

    text: str
    done: bool = False
