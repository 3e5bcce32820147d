"""What names a function in a call, and who carries the call out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from camber.functions.definition import Function
from camber.functions.metadata import Facts, TransactionFacts
from camber.functions.transaction_limits import TransactionLimits
from camber.functions.vector_search import VectorHit
from camber.values.paths import HANDLE_PREFIX

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


#: The type of arguments and fields that are handles: a path, which would name a function of whoever runs
#: it, is refused there. Whether it was made here is looked at when it is run.
FunctionHandle: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{HANDLE_PREFIX}")]


@dataclass(frozen=True, slots=True)
class MountedFunction(Generic[P, R_co]):
    """A function of a component that is mounted as `mount`: `ledger[add]`, `ledger["a:add"]`."""

    mount: str
    function: Function[P, R_co] | str


#: The decorated function itself, a function of a component, or a path or handle.
Callee: TypeAlias = "Function[P, R_co] | MountedFunction[P, R_co] | str"


class TransactionCalls(TransactionFacts, Protocol):
    """Runs functions within a transaction, of which each may use what is left, or less if it is given less."""

    def query(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: _Named,
        most: TransactionLimits | None = None,
    ) -> Any:
        """Run a query in the same transaction and return its result, by value."""

    def mutation(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: _Named,
        most: TransactionLimits | None = None,
    ) -> Any:
        """Run a mutation as a sub-transaction: when it raises, its writes are undone."""

    def stale_query(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: _Named,
        most: TransactionLimits | None = None,
    ) -> Any:
        """Run a query on the snapshot alone: no own writes, and no dependence on what it reads."""

    def handle(self, callee: Callee[..., Any]) -> str:
        """Return the handle of a function."""


class ActionCalls(Facts, Protocol):
    """Runs functions for an action, each query and mutation in a transaction of its own."""

    async def query(self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: _Named) -> Any:
        """Run a query at the newest snapshot."""

    async def mutation(
        self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: _Named
    ) -> Any:
        """Run a mutation until it has committed."""

    async def action(self, callee: Callee[..., Any], args: tuple[Any, ...], kwargs: _Named) -> Any:
        """Run another action."""

    async def nearest(
        self, index: object, vector: object, limit: object, where: object
    ) -> list[VectorHit[Any]]:
        """Search a vector index at the newest snapshot."""

    def handle(self, callee: Callee[..., Any]) -> str:
        """Return the handle of a function."""

    def block(self, coroutine: Any) -> Any:
        """Wait for one of the calls above on a thread that is not the event loop's."""


_Named: TypeAlias = Mapping[str, Any]
