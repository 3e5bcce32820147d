"""What a system query is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from camber.engine.transaction import Transaction
from camber.engine.variables import Variables
from camber.functions.analysis import Analysis
from camber.functions.pagination import PaginationState
from camber.identity.operations import Operation
from camber.occ.cursors import CursorCipher
from camber.schema.arguments import ArgumentsPlan
from camber.schema.compiler import Compiler
from camber.values.packed import pack, unpack
from camber.values.value import canonical

#: Paths of system functions start so; no module of an application can.
SYSTEM_PREFIX: Final = "_system/"

_COMPILER: Final = Compiler()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCall:
    """What a system query is computed from. What it reads of `transaction` is recorded as ever."""

    transaction: Transaction
    #: What the serving release declares, all of it.
    analysis: Analysis
    #: What is asked about: a component, or the application itself.
    component: str
    variables: Variables
    cursors: CursorCipher
    pagination: PaginationState


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemQuery:
    """A query of the server's own. Its arguments are validated like those of any function."""

    path: str
    #: What a key must allow.
    operation: Operation
    handler: Callable[..., Any]
    arguments: ArgumentsPlan

    def run(self, call: SystemCall, arguments: bytes) -> bytes:
        """Return the packed result for packed arguments.

        Raises:
            ArgumentValidationError: the arguments are not what the handler's annotations say.
            DeveloperError: the handler refuses them.
        """
        keywords = self.arguments.bind(unpack(arguments), call.transaction)
        result = self.handler(call, **keywords)
        to_dict = getattr(result, "to_dict", None)
        return pack(canonical(result if to_dict is None else to_dict()))


def system_query(path: str, operation: Operation) -> Callable[[Callable[..., Any]], SystemQuery]:
    """Make a function a system query; its first parameter is the `SystemCall`.

    `path` names the export too: `_system/cli/tables:default` for what tools ask for as
    `_system/cli/tables`.
    """

    def declare(handler: Callable[..., Any]) -> SystemQuery:
        return SystemQuery(
            path=path,
            operation=operation,
            handler=handler,
            arguments=ArgumentsPlan.from_signature(handler, _COMPILER, path),
        )

    return declare
