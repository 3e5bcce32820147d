"""`TransactionLimits`: how much of a transaction one call in it may use."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from camber.errors import DeveloperError


class TransactionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a call may use, of what is left; what is None is bounded as for the caller.

    The names are those of `ctx.meta.get_transaction_metrics()`.
    """

    bytes_read: int | None = None
    bytes_written: int | None = None
    database_queries: int | None = None
    documents_read: int | None = None
    documents_written: int | None = None
    functions_scheduled: int | None = None
    scheduled_function_args_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no amount.

        Raises:
            DeveloperError: a limit is no int, or is below 0.
        """
        for name in self.__struct_fields__:
            most = getattr(self, name)
            if most is not None and (type(most) is not int or most < 0):
                msg = f"TransactionLimits({name}={most!r}): a limit is an int from 0 on, or None"
                raise DeveloperError(msg, code="InvalidTransactionLimits")


def given_limits(most: object) -> Mapping[str, int]:
    """Return the limits that are set, by name; `most` is what user code gave.

    Raises:
        DeveloperError: it gave something else.
    """
    if not isinstance(most, TransactionLimits):
        msg = (
            f"options(transaction_limits={most!r}): give such as "
            "TransactionLimits(documents_read=100)"
        )
        raise DeveloperError(msg, code="InvalidTransactionLimits")
    named = {name: getattr(most, name) for name in most.__struct_fields__}
    return {name: value for name, value in named.items() if value is not None}
