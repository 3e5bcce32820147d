from typing import Literal

from camber import Table


class Message(Table, table="messages"):
    author: str
    #: The text, or the id of the image's file.
    body: str
    format: Literal["text", "image"]
