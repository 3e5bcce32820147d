"""The tables that are measured."""

from camber import Index, Table, VectorIndex


class Message(Table, table="messages"):
    channel: str
    author: str
    body: str

    #: PocketBase's collection has the same one: by channel, then by time.
    by_channel = Index("channel")


class Account(Table, table="accounts"):
    name: str
    balance: float

    by_name = Index("name", unique=True)


class Point(Table, table="points"):
    number: int
    vector: list[float]

    by_vector = VectorIndex("vector", dimensions=384)
