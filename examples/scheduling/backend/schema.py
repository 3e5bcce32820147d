from camber import Table


class Message(Table, table="messages"):
    author: str
    body: str
