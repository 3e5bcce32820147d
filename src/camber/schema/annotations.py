"""What an author may write in annotations beside the types of Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from camber.values.value import Int64

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IdOf:
    """Marks a string as the id of a document of whatever table `target` turns out to be."""

    target: Any


@dataclass(frozen=True, slots=True)
class IdOfTable:
    """Marks a string as the id of a document of the table so called.

    It does not hold the class: `typing` caches annotations, and would keep old releases alive.
    """

    table: str


@dataclass(frozen=True, slots=True)
class Int64LiteralOf:
    """Marks an int64 that is exactly one of `values`."""

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arg:
    """Gives a parameter another name on the wire: `sender: Annotated[str, Arg("from")]`."""

    name: str


if TYPE_CHECKING:

    class Id(str, Generic[T]):
        """The id of a document of table `T`: a string at run time."""

    class Int64Literal(Int64, Generic[T]):
        """An int64 of exactly these values."""

else:

    class Id:
        """The id of a document: `Id[Message]`, or `Id["messages"]`. A string at run time."""

        def __class_getitem__(cls, target: Any) -> Any:
            declared = getattr(target, "__camber__", None)
            return Annotated[str, IdOf(target) if declared is None else IdOfTable(declared.name)]

        def __new__(cls, text: str) -> str:
            """Return the text itself."""
            return str(text)

    class Int64Literal:
        """An int64 of exactly these values: `Int64Literal[1, 2]`."""

        def __class_getitem__(cls, values: Any) -> Any:
            values = values if isinstance(values, tuple) else (values,)
            return Annotated[Int64, Int64LiteralOf(tuple(int(value) for value in values))]
