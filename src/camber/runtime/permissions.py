"""Which functions a key may run."""

from __future__ import annotations

from camber.identity.identity import Admin
from camber.identity.operations import Operation
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.system_functions.registry import find_system_query
from camber.values.paths import FunctionPath


def check_permission(call: FunctionCall) -> None:
    """Do nothing if whoever calls may: a key must allow it, others are told by visibility.

    What a function calls itself is its own affair: it was let in.

    Raises:
        PermissionDenied: the key does not allow it.
    """
    if call.caller is not Caller.ADMIN or not isinstance(call.identity, Admin):
        return
    system = find_system_query(call.path)
    operation = Operation.RUN_FUNCTIONS if system is None else system.operation
    call.identity.require(operation, FunctionPath.parse(call.path).display)
