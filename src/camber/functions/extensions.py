"""What a library adds to an application: functions, tables and cron jobs in the name of a module.

A component has tables of its own, which nobody else reaches. An extension's are the application's: it
may query and extend them, and clients call its functions by the module's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from camber.functions.crons import Crons
from camber.functions.definition import Function
from camber.schema.table import Table


class Extension:
    """The base of objects that extend the module that they stand in: `auth = Auth(__name__, …)`.

    Found as a module attribute, in the module with this name and in no other that imports it.
    """

    #: Tables, unless the application declares one of that name itself.
    tables: ClassVar[tuple[type[Table], ...]] = ()

    def __init__(self, module: str) -> None:
        self.module = module
        self.functions: list[Function[..., Any]] = []
        self.crons = Crons()

    def declares(
        self,
        register: Callable[[Callable[..., Any]], Function[..., Any]],
        handler: Callable[..., Any],
    ) -> Function[..., Any]:
        """Register a function of the module: `self.declares(query(name="me"), self._me)`."""
        # A function belongs to the module that its handler is of.
        handler.__module__ = self.module
        function = register(handler)
        self.functions.append(function)
        return function
