"""Code of a test that is run as a function of the application, to see what its functions see.

What it does to the database is undone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from camber.functions.application import Application
from camber.functions.contexts import MutationCtx, QueryCtx
from camber.functions.definition import Function, FunctionKind, Visibility

#: No module of an application that starts with `_` holds functions, so none is called like these.
_READ: Final = "_testing:read"
_WRITE: Final = "_testing:write"


@dataclass(slots=True)
class Probe:
    """Something to do with a context, and what came of it."""

    ask: Callable[[Any], Any]
    answer: Any = None
    error: Exception | None = None

    def run(self, ctx: Any) -> None:
        """Do it."""
        try:
            self.answer, self.error = self.ask(ctx), None
        except Exception as error:
            self.answer, self.error = None, error
            raise

    def result(self) -> Any:
        """Return what came of it, or raise what it has raised."""
        if self.error is not None:
            raise self.error
        return self.answer


class _Undone(Exception):  # ends a mutation that is not to commit
    pass


class Probes:
    """Functions beside those of an application that run probes. Where the test is: in its process."""

    def __init__(self) -> None:
        self._waiting: dict[str, Probe] = {}
        self._numbers = itertools.count()

    def beside(self, application: Application) -> Application:
        """Return an application that has these functions too."""

        def read(ctx: QueryCtx, probe: str) -> None:
            self._waiting[probe].run(ctx)

        def write(ctx: MutationCtx, probe: str) -> None:
            self._waiting[probe].run(ctx)
            raise _Undone

        functions = dict(application.functions)
        for path, kind, handler in (
            (_READ, FunctionKind.QUERY, read),
            (_WRITE, FunctionKind.MUTATION, write),
        ):
            function: Function[..., Any] = Function(
                handler, kind=kind, visibility=Visibility.INTERNAL, name=None
            )
            function.resolve(application.compiler)
            function.path = path
            functions[path] = function
        return replace(application, functions=functions)

    def reading(self, ask: Callable[[QueryCtx], Any]) -> tuple[str, str, Probe]:
        """Return the path of the function that does it, under which name, and the probe."""
        return _READ, *self._add(ask)

    def writing(self, ask: Callable[[MutationCtx], Any]) -> tuple[str, str, Probe]:
        """Return the same of what may write."""
        return _WRITE, *self._add(ask)

    def _add(self, ask: Callable[[Any], Any]) -> tuple[str, Probe]:
        name, probe = str(next(self._numbers)), Probe(ask)
        self._waiting[name] = probe
        return name, probe
