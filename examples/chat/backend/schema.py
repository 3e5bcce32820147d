"""The tables of the chat."""

from camber import Id, Index, Table


class Channel(Table, table="channels"):
    """A room in which people write messages."""

    name: str

    by_name = Index("name", unique=True)


class Message(Table, table="messages"):
    """One message in a channel."""

    channel: Id[Channel]
    author: str
    body: str
    likes: int = 0

    by_channel = Index("channel")
