"""Tables of the test application: one of each kind of field."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from camber import Id, Index, Int64, SearchIndex, Table, VectorIndex, field


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float = 0.0


class Options(TypedDict):
    size: int
    label: NotRequired[str]


class Note(Table, table="notes"):
    """A note on a board."""

    board: str
    rank: float
    text: str = ""

    by_board = Index("board", "rank")


class Counter(Table, table="counters"):
    name: str
    value: int = 0

    by_name = Index("name", unique=True)


class Everything(Table, table="everything"):
    """One field of each kind."""

    text: str
    whole: int
    real: float
    flag: bool
    nothing: None
    raw: bytes
    big: Int64
    anything: Any
    names: list[str]
    scores: dict[str, float]
    mood: Literal["calm", "wild"]
    note: Id[Note] | None = None
    color: Color = Color.RED
    at: datetime | None = None
    point: Point = Point(x=0.0)
    options: Options | None = None
    ext_id: str = field(name="id", default="")

    by_place = Index("point.x", "whole")


class Article(Table, table="articles"):
    title: str
    body: str
    embedding: list[float] | None = None

    search_body = SearchIndex("body", filter_fields=["title"])
    by_embedding = VectorIndex("embedding", dimensions=3)
