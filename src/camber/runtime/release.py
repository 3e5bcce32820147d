"""One release of user code, loaded where it runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from camber.engine.catalog import tables_of
from camber.errors import CamberError
from camber.functions.analysis import Analysis, ServedRoute, analyse
from camber.functions.application import Application
from camber.functions.routing import RouteTable
from camber.values.packed import unpack

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """The first stored document that does not fit a declared table, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCheck:
    """What came of holding stored documents against a declared table.

    `lacking` counts the documents that lack an indexed field which has a default, by field.
    """

    misfit: Misfit | None = None
    lacking: Mapping[str, int] = field(default_factory=dict)


#: The HTTP routes of a release; None where it does not answer HTTP at all.
Routes: TypeAlias = RouteTable[ServedRoute] | None


def routes_of(analysis: Analysis) -> Routes:
    """Return the routes that a release declares, ready to be looked up."""
    served = analysis.served_routes()
    return None if served is None else RouteTable(served)


class LoadedRelease(Protocol):
    """A release that can run. Whoever loaded it closes it, or pushes it: a push takes care of it."""

    @property
    def analysis(self) -> Analysis:
        """Return what the release declares."""

    @property
    def routes(self) -> Routes:
        """Return its HTTP routes."""

    async def check(
        self, table: str, documents: Sequence[bytes], numbers: Mapping[str, int]
    ) -> TableCheck:
        """Hold packed documents, system fields included, against a declared table.

        `numbers` has the number of every table that there is. Ends with the first document that
        does not fit.
        """

    async def describe(self, function: Callable[[Application], R]) -> R:
        """Return what a function of Camber's own says of the loaded application.

        It runs where the code is, and returns plain values: strings, numbers, lists, objects.
        """

    def rest(self) -> None:
        """Take as little room as can be once nothing runs any more: another release serves."""

    async def close(self) -> None:
        """Let go of the code; what still runs on it ends first."""


class InProcessRelease:
    """A release whose modules are this process's own."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.analysis = analyse(application)
        self.routes = routes_of(self.analysis)

    async def check(
        self, table: str, documents: Sequence[bytes], numbers: Mapping[str, int]
    ) -> TableCheck:
        """Hold packed documents against a declared table, on a thread."""
        return await asyncio.to_thread(check_documents, self.application, table, documents, numbers)

    async def describe(self, function: Callable[[Application], R]) -> R:
        """Return what a function of Camber's own says of the loaded application."""
        return await asyncio.to_thread(function, self.application)

    def rest(self) -> None:
        """Do nothing: modules take no room that could be given back."""

    async def close(self) -> None:
        """Do nothing: functions that still run hold their modules."""


def check_documents(
    application: Application, table: str, documents: Sequence[bytes], numbers: Mapping[str, int]
) -> TableCheck:
    """Hold packed documents against a table of a loaded application, or of a component of it."""
    component, _, name = table.rpartition("/")
    declared = application.components[component].tables[name]
    names = tables_of(_TableNumbers(numbers), component)
    defaulted = {
        path
        for index in declared.declared_indexes
        for path in index.fields
        if any(f.name == path and f.has_default for f in declared.plan.fields)
    }
    lacking: Counter[str] = Counter()
    for packed in documents:
        document = unpack(packed)
        assert isinstance(document, dict)
        fields = {name: value for name, value in document.items() if not name.startswith("_")}
        try:
            declared.check_stored(fields, names)
        except CamberError as error:
            return TableCheck(misfit=Misfit(id=str(document["_id"]), reason=error.sentence))
        lacking.update(path for path in defaulted if path not in fields)
    return TableCheck(lacking=lacking)


class _TableNumbers:
    """Names and numbers of tables, as validators ask for them."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers
        self._names = {number: name for name, number in numbers.items()}

    def number(self, name: str) -> int | None:
        return self._numbers.get(name)

    def name(self, number: int) -> str | None:
        return self._names.get(number)
