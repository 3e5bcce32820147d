"""Pages: what a client asks for, what it gets, and the boundary that an execution pins."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeVar

import msgspec

from camber.schema.compiler import Compiler
from camber.schema.plan import (
    AnyPlan,
    ArrayPlan,
    BooleanPlan,
    FieldPlan,
    FloatPlan,
    IntegerPlan,
    LiteralPlan,
    NullPlan,
    ObjectPlan,
    Plan,
    StringPlan,
    UnionPlan,
)
from camber.values.value import UNSET

T = TypeVar("T")
U = TypeVar("U")

PageStatus = Literal["SplitRecommended", "SplitRequired"]

_TEXT_OR_NULL = UnionPlan((StringPlan(), NullPlan()))
_STATUS = UnionPlan((LiteralPlan("SplitRecommended"), LiteralPlan("SplitRequired"), NullPlan()))


class PaginationOpts(msgspec.Struct, frozen=True, kw_only=True):
    """Which page a client wants (protocol 3.14); `usePaginatedQuery` sends it.

    `cursor` is None for the first page. With `end_cursor` the page is everything up to it, however
    much that is. `id` tells apart the instances of a client's hook and means nothing here.
    """

    num_items: int
    cursor: str | None = None
    end_cursor: str | None = None
    maximum_rows_read: int | None = None
    maximum_bytes_read: int | None = None
    id: float | None = None

    #: Parameters so called have the wire name that clients send.
    __camber_argument_names__: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("opts", "pagination", "pagination_opts"), "paginationOpts"
    )

    @classmethod
    def __camber_plan__(cls, arguments: tuple[Any, ...], compiler: Compiler, where: str) -> Plan:
        """Return the plan of the wire form."""
        del arguments, compiler, where

        def optional(attribute: str, name: str, plan: Plan) -> FieldPlan:
            return FieldPlan(
                attribute=attribute, name=name, plan=plan, required=False, default=None
            )

        return ObjectPlan(
            "PaginationOpts",
            lambda fields: cls(**fields),
            _take_options,
            (
                FieldPlan(attribute="num_items", name="numItems", plan=IntegerPlan()),
                FieldPlan(attribute="cursor", name="cursor", plan=_TEXT_OR_NULL),
                optional("end_cursor", "endCursor", _TEXT_OR_NULL),
                optional("maximum_rows_read", "maximumRowsRead", IntegerPlan()),
                optional("maximum_bytes_read", "maximumBytesRead", IntegerPlan()),
                optional("id", "id", FloatPlan()),
            ),
            client_type="PaginationOptions",
        )


def _take_options(value: Any) -> Mapping[str, Any] | None:
    if not isinstance(value, PaginationOpts):
        return None
    given = {name: getattr(value, name) for name in value.__struct_fields__}
    # Left out rather than null: only the cursors may be null on the wire.
    return {k: UNSET if v is None and k != "cursor" else v for k, v in given.items()}


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a query's results; `usePaginatedQuery` reads it.

    `is_done` says that nothing follows. `split_cursor` and `page_status` tell a client that the
    page has grown so large that it should ask for its two halves instead.
    """

    page: list[T]
    is_done: bool
    continue_cursor: str
    split_cursor: str | None = None
    page_status: PageStatus | None = None

    if not TYPE_CHECKING:

        def __class_getitem__(cls, item: Any) -> Any:
            """Return the type of a page of `item`.

            Not typing's own, which is cached, and would keep the item's class and its release.
            """
            return types.GenericAlias(cls, item)

    def map(self, function: Callable[[T], U]) -> Page[U]:
        """Return the page with `function` applied to each item."""
        return Page(
            page=[function(item) for item in self.page],
            is_done=self.is_done,
            continue_cursor=self.continue_cursor,
            split_cursor=self.split_cursor,
            page_status=self.page_status,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "page": [_to_dict(item) for item in self.page],
            "isDone": self.is_done,
            "continueCursor": self.continue_cursor,
            "splitCursor": self.split_cursor,
            "pageStatus": self.page_status,
        }

    @classmethod
    def __camber_plan__(cls, arguments: tuple[Any, ...], compiler: Compiler, where: str) -> Plan:
        """Return the plan of `Page[T]`."""
        item = compiler.compile(arguments[0], where) if arguments else AnyPlan()
        return ObjectPlan(
            "Page",
            lambda fields: cls(**fields),
            _take_page,
            (
                FieldPlan(attribute="page", name="page", plan=ArrayPlan(item)),
                FieldPlan(attribute="is_done", name="isDone", plan=BooleanPlan()),
                FieldPlan(attribute="continue_cursor", name="continueCursor", plan=StringPlan()),
                FieldPlan(
                    attribute="split_cursor",
                    name="splitCursor",
                    plan=_TEXT_OR_NULL,
                    required=False,
                    default=None,
                ),
                FieldPlan(
                    attribute="page_status",
                    name="pageStatus",
                    plan=_STATUS,
                    required=False,
                    default=None,
                ),
            ),
            client_type="PaginationResult",
            client_item=item,
        )


def _take_page(value: Any) -> Mapping[str, Any] | None:
    if not isinstance(value, Page):
        return None
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _to_dict(item: Any) -> Any:
    to_dict = getattr(item, "to_dict", None)
    return item if to_dict is None else to_dict()


class PaginationState:
    """The one `paginate` of a function, among those of all functions that run with it.

    `journal_in` pins where the page ends, from an earlier execution of the same query;
    `journal_out` is what pins all pages in the next one, in their order (semantics 3.7).
    """

    __slots__ = ("_given", "_made", "is_nested", "used")

    def __init__(self, journal_in: str | None = None) -> None:
        self.used = False
        self.is_nested = False
        self._given = [] if journal_in is None else journal_in.split(_BETWEEN_JOURNALS)
        self._made: list[str] = []

    def of_nested_call(self) -> PaginationState:
        """Return the state of a function that is called: its page is pinned with the others."""
        state = PaginationState()
        state.is_nested = True
        state._given, state._made = self._given, self._made
        return state

    @property
    def journal_in(self) -> str | None:
        """Return what pins the page that is read next."""
        at = len(self._made)
        return self._given[at] if at < len(self._given) else None

    @property
    def journal_out(self) -> str | None:
        """Return what pins the pages that were read."""
        return _BETWEEN_JOURNALS.join(self._made) or None

    def pin(self, journal: str) -> None:
        """Note where the page that was read ends."""
        self._made.append(journal)


#: No journal has it in its text.
_BETWEEN_JOURNALS: Final = ","
