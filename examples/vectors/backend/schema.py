from camber import Table, VectorIndex

from ._embedding import DIMENSIONS


class Question(Table, table="questions"):
    text: str
    topic: str
    embedding: list[float]

    by_embedding = VectorIndex("embedding", dimensions=DIMENSIONS, filter_fields=["topic"])
