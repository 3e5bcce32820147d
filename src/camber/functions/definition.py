"""Registered functions.

A decorator makes a `Function`: it can be called like the function it wraps, and names it wherever
a function is asked for. Its annotations are compiled when all modules have loaded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Generic, ParamSpec, TypeVar

from camber.errors import CamberError
from camber.functions.predicates import Guard
from camber.schema.arguments import ArgumentsPlan
from camber.schema.compiler import Compiler
from camber.schema.plan import AnyPlan, Plan

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class FunctionKind(Enum):
    """What a function may do."""

    QUERY = "query"
    MUTATION = "mutation"
    ACTION = "action"
    #: What answers at a route: no function that anybody calls by name.
    HTTP_ACTION = "httpAction"


class Visibility(Enum):
    """Who may call a function."""

    PUBLIC = "public"
    INTERNAL = "internal"


class DefinitionError(CamberError):
    """A function that cannot be registered as it is."""

    code = "DefinitionError"


class Function(Generic[P, R_co]):
    """A query, mutation or action; `path` is known once its module has been loaded."""

    def __init__(
        self,
        handler: Callable[..., R_co],
        *,
        kind: FunctionKind,
        visibility: Visibility,
        name: str | None,
        guard: Guard | None = None,
    ) -> None:
        self.handler = handler
        #: Who may call it from outside; everybody if it is None.
        self.guard = guard
        self.kind = kind
        self.visibility = visibility
        self.name = name or handler.__name__
        self.path = ""
        self.module = handler.__module__
        self._arguments: ArgumentsPlan | None = None
        self._returns: Plan | None = None
        functools.update_wrapper(self, handler)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function itself, without a transaction of its own or any checks."""
        return self.handler(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.visibility.value} {self.kind.value} {self.path or self.name}>"

    @property
    def file(self) -> str:
        """Return the file that defines the function."""
        return self.handler.__code__.co_filename

    @property
    def line(self) -> int:
        """Return the line on which the definition starts."""
        return self.handler.__code__.co_firstlineno

    @property
    def doc(self) -> str:
        """Return the docstring, without its indentation."""
        return inspect.getdoc(self.handler) or ""

    @property
    def is_async(self) -> bool:
        """Return whether the function is an `async def`."""
        return inspect.iscoroutinefunction(self.handler)

    def resolve(self, compiler: Compiler) -> None:
        """Compile the annotations; called when all modules have loaded.

        Raises:
            AnnotationError: one has no wire form.
        """
        where = f"{self.module}.{self.handler.__name__}"
        hints = compiler.hints(self.handler, where)
        self._arguments = ArgumentsPlan.from_signature(self.handler, compiler, where)
        if "return" in hints:
            self._returns = compiler.compile(hints["return"], f"{where}, the result")
        else:
            self._returns = AnyPlan()
        if self.guard is not None:
            self._check_guard(self.guard, where)

    def _check_guard(self, guard: Guard, where: str) -> None:
        known = {f.attribute for f in self.arguments.fields}
        unknown = [name for name in guard.parameters if name not in known]
        if unknown:
            msg = (
                f"{where}: guard {guard!r} looks at argument {unknown[0]!r}, which the function does not "
                "have. The parameters of a guard are named like those of the functions that it guards"
            )
            raise DefinitionError(msg)

    def guard_arguments(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the guard may look at: the arguments of a call, with their defaults."""
        defaults = {f.attribute: f.default for f in self.arguments.fields if not f.required}
        return {**defaults, **keywords}

    @property
    def arguments(self) -> ArgumentsPlan:
        """Return what the function takes after its context."""
        assert self._arguments is not None, f"{self!r} is used before all modules have loaded"
        return self._arguments

    @property
    def returns(self) -> Plan:
        """Return what the function returns; any value if it does not say."""
        assert self._returns is not None, f"{self!r} is used before all modules have loaded"
        return self._returns
