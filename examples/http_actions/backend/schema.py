from camber import Index, Table


class Message(Table, table="messages"):
    author: str
    body: str

    by_author = Index("author")
