"""Deployment variables: sealed in a system table, one document per name.

A name can be read by whoever has the store, a value only with the instance secret. Who reads a
variable depends on its name alone, so a change runs again only what has read that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD
from camber.engine.transaction import Transaction
from camber.errors import BadRequest, DeveloperError
from camber.occ.interval import ALL, Order
from camber.values.packed import unpack
from camber.values.value import Value

#: Variables that every deployment has: the origins that clients see.
CLOUD_URL: Final = "CONVEX_CLOUD_URL"
SITE_URL: Final = "CONVEX_SITE_URL"
BUILT_IN: Final = frozenset({CLOUD_URL, SITE_URL})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PURPOSE: Final = b"camber deployment variable v1"
#: What sealing adds to a value.
_TAG_BYTES: Final = 16


class VariableUnreadable(DeveloperError):
    """A variable that was sealed under another instance secret."""

    code = "EnvironmentVariableUnreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One stored variable; `value` is None if it was sealed under another secret."""

    id: str
    creation_time: float
    name: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableChange:
    """What a variable is to become; None removes it."""

    name: str
    value: str | None


def variables_key(secret: bytes) -> bytes:
    """Return the key that seals the variables of the instance with this secret."""
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=_PURPOSE).derive(secret)


class Variables:
    """Reads and writes the variables of one deployment, each time within a transaction.

    `urls` are the built-in ones; a stored one of the same name, which only the operator's own
    command writes, goes before.
    """

    def __init__(self, *, key: bytes, urls: Mapping[str, str]) -> None:
        # Deterministic: setting a variable to what it is writes nothing, and runs nothing again.
        self._siv = AESSIV(key)
        self._urls = dict(urls)

    def get(self, transaction: Transaction, name: str) -> str | None:
        """Return a variable, or None; either way the name is recorded as read.

        Raises:
            VariableUnreadable: it was sealed under another secret.
        """
        document = transaction.environment(name)
        if document is None:
            return self._urls.get(name)
        value = self._opened(name, document)
        if value is None:
            raise VariableUnreadable(unreadable([name]))
        return value

    def stored(self, transaction: Transaction) -> list[Variable]:
        """Return all variables that were set, by name; the whole table is recorded as read."""
        return [
            Variable(
                id=str(document[ID_FIELD]),
                creation_time=_time(document),
                name=name,
                value=self._opened(name, document),
            )
            for name, document in _documents(transaction).items()
            if name not in BUILT_IN
        ]

    def change(self, transaction: Transaction, changes: Iterable[VariableChange]) -> None:
        """Set and remove variables; to remove what is not there changes nothing.

        Raises:
            BadRequest: a name or a value that cannot be, one name twice, or too much in all.
                Nothing was changed.
        """
        changes = list(changes)
        _check(changes)
        documents = _documents(transaction)
        sizes = {
            name: _value_bytes(document)
            for name, document in documents.items()
            if name not in BUILT_IN
        }
        for change in changes:
            sizes.pop(change.name, None)
            if change.value is not None:
                sizes[change.name] = len(change.value.encode())
        _check_totals(sizes)
        for change in changes:
            self._write(transaction, change, documents.get(change.name))

    def set_url(self, transaction: Transaction, name: str, url: str | None) -> None:
        """Replace one of the built-in variables, or give it back its first value."""
        assert name in BUILT_IN, name
        change = VariableChange(name=name, value=url)
        self._write(transaction, change, transaction.environment(name))

    def _write(
        self, transaction: Transaction, change: VariableChange, current: dict[str, Value] | None
    ) -> None:
        if change.value is None:
            if current is not None:
                transaction.delete(str(current[ID_FIELD]))
            return
        sealed = self._siv.encrypt(change.value.encode(), [_PURPOSE, change.name.encode()])
        fields: dict[str, Value] = {"name": change.name, "sealed": sealed}
        if current is None:
            transaction.insert(system_tables.ENVIRONMENT_VARIABLES, fields)
        else:
            transaction.replace(str(current[ID_FIELD]), fields)

    def _opened(self, name: str, document: Mapping[str, Value]) -> str | None:
        sealed = document.get("sealed")
        if not isinstance(sealed, bytes):
            # Of a store from before values were sealed.
            return str(document["value"])
        try:
            return self._siv.decrypt(sealed, [_PURPOSE, name.encode()]).decode()
        except InvalidTag:
            return None


def unreadable(names: Iterable[str]) -> str:
    """Return the sentence that says which variables cannot be read, and what to do."""
    listed = ", ".join(names)
    return (
        f"deployment variables cannot be read: {listed}. They were set under another instance "
        "secret than the one under --data now. Restore that file, or set them again"
    )


def _check(changes: list[VariableChange]) -> None:
    seen: set[str] = set()
    for change in changes:
        name = change.name
        if len(name) > limits.variable_name_length_max:
            raise BadRequest(
                f"a variable's name has {len(name)} characters; it may have "
                f"{limits.variable_name_length_max}",
                code="EnvironmentVariableNameTooLong",
            )
        if not _NAME.match(name):
            raise BadRequest(
                f"{name!r} cannot name a variable: letters, digits and '_', not a digit first",
                code="EnvironmentVariableNameInvalid",
            )
        if name in BUILT_IN:
            raise BadRequest(
                f"{name} is built in and cannot be set as a variable: it follows from --cloud-url "
                "and --site-url",
                code="EnvironmentVariableNameInvalid",
            )
        if name in seen:
            raise BadRequest(f"{name} is named twice in one request", code="EnvVarNameNotUnique")
        seen.add(name)
        size = 0 if change.value is None else len(change.value.encode())
        if size > limits.variable_value_bytes_max:
            raise BadRequest(
                f"the value of {name} has {size} bytes; a value may have "
                f"{limits.variable_value_bytes_max}",
                code="EnvironmentVariableValueTooLarge",
            )


def _check_totals(sizes: Mapping[str, int]) -> None:
    if len(sizes) > limits.variables_max:
        raise BadRequest(
            f"{len(sizes)} variables; a deployment may have {limits.variables_max}. Remove some",
            code="EnvVarLimitMet",
        )
    total = sum(sizes.values())
    if total > limits.variables_bytes_max:
        raise BadRequest(
            f"the values of all variables have {total} bytes; they may have "
            f"{limits.variables_bytes_max}. Remove some",
            code="EnvVarLimitMet",
        )


def _documents(transaction: Transaction) -> dict[str, dict[str, Value]]:
    table = transaction.catalog.by_name(system_tables.ENVIRONMENT_VARIABLES)
    assert table is not None
    found: dict[str, dict[str, Value]] = {}
    for row in transaction.scan(table, table.indexes["by_name"], ALL, Order.ASC):
        document = unpack(row.packed)
        assert isinstance(document, dict)
        found[str(document["name"])] = document
    return found


def _value_bytes(document: Mapping[str, Value]) -> int:
    sealed = document.get("sealed")
    if isinstance(sealed, bytes):
        return len(sealed) - _TAG_BYTES
    return len(str(document["value"]).encode())


def _time(document: Mapping[str, Value]) -> float:
    time = document[CREATION_TIME_FIELD]
    assert isinstance(time, int | float)
    return float(time)
