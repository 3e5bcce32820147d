"""What the holder of a key may do: a key may be limited to some of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final


class Operation(Enum):
    """One thing that needs a key."""

    #: Push a release, or go back to an earlier one.
    DEPLOY = "deploy"
    #: Run any function, internal ones included, and act as any user.
    RUN_FUNCTIONS = "functions:run"
    #: Read documents and exports.
    VIEW_DATA = "data:view"
    #: Import, and clear tables.
    WRITE_DATA = "data:write"
    #: Read deployment variables.
    VIEW_ENVIRONMENT = "env:view"
    #: Set and remove deployment variables.
    WRITE_ENVIRONMENT = "env:write"
    #: Read what functions logged.
    VIEW_LOGS = "logs:view"
    #: List, make and revoke keys.
    MANAGE_KEYS = "keys:manage"


ALL_OPERATIONS: Final = frozenset(Operation)

#: Operations that change nothing.
READ_ONLY: Final = frozenset({Operation.VIEW_DATA, Operation.VIEW_ENVIRONMENT, Operation.VIEW_LOGS})


def sorted_operations(operations: Iterable[Operation]) -> list[Operation]:
    """Return operations in the order in which they are documented."""
    wanted = set(operations)
    return [operation for operation in Operation if operation in wanted]
