"""How large a value is, as limits count it (protocol 1.4)."""

from __future__ import annotations

from collections.abc import Mapping

from camber.values.value import COMMIT_TS, UNSET, Value


def value_size(value: Value) -> int:
    """Return the size of a value in bytes; the missing value has none."""
    kind = type(value)
    if kind is str:
        return 2 + (len(value) if value.isascii() else len(value.encode()))  # type: ignore[union-attr, arg-type]
    if value is None or kind is bool:
        return 1
    if value is UNSET:
        return 0
    if isinstance(value, int | float):
        return 9
    if isinstance(value, bytes):
        return 2 + len(value)
    if isinstance(value, list):
        return 2 + sum([value_size(item) for item in value])
    if isinstance(value, dict):
        return 2 + sum([len(name.encode()) + 1 + value_size(item) for name, item in value.items()])
    if value is COMMIT_TS:
        # As the int64 that it becomes.
        return 9
    return value_size(str(value))


def document_size(fields: Mapping[str, Value], *, id_length: int = 32) -> int:
    """Return the size of a document whose system fields may not be there yet."""
    missing = 0
    if "_id" not in fields:
        missing += len("_id") + 1 + 2 + id_length
    if "_creationTime" not in fields:
        missing += len("_creationTime") + 1 + 9
    return value_size(dict(fields)) + missing


def nesting(value: Value) -> int:
    """Return how deep arrays and objects are nested: 0 for a scalar, 1 for an empty array."""
    if isinstance(value, list):
        return 1 + max(map(nesting, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 0
