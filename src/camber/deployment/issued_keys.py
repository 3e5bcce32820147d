"""Admin keys that were issued: where they are kept, and how all who check keys learn of them.

They are documents like any other. `AdminKeys` follows their commits, so a key that was revoked
stops to work with the commit that revokes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import closing

from camber import limits
from camber.deployment.followed_tables import FollowedTables
from camber.engine import system_tables
from camber.engine.catalog import ID_FIELD
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import BadRequest, ErrorKind, PermissionDenied, RequestError
from camber.identity.admin_keys import AdminKeys, IssuedKey, NewKey
from camber.identity.identity import Admin
from camber.identity.operations import Operation, sorted_operations
from camber.occ.interval import ALL, Order
from camber.values.packed import unpack
from camber.values.value import Value


class IssuedKeys:
    """Issues and revokes the keys of one deployment. Lives on the event loop."""

    def __init__(self, *, engine: Engine, admin_keys: AdminKeys, tables: FollowedTables) -> None:
        self._engine = engine
        self._admin_keys = admin_keys
        self._changed = asyncio.Event()
        self._keys: list[IssuedKey] = []
        self._load()
        tables.follow([system_tables.ADMIN_KEYS_NUMBER], self._load)

    def all(self) -> list[IssuedKey]:
        """Return the keys that are not revoked, expired ones too, oldest first."""
        return list(self._keys)

    async def create(
        self,
        admin: Admin,
        *,
        name: str,
        operations: Iterable[Operation],
        lifetime_s: float | None,
    ) -> NewKey:
        """Issue a key, which is valid when this returns. Its text is known here only.

        Raises:
            BadRequest: the name is taken or cannot be, the key allows nothing, or lives too long.
            PermissionDenied: it would allow what the key of `admin` does not.
        """
        operations = frozenset(operations)
        _check(admin, name, operations, lifetime_s)
        new = self._admin_keys.issue(
            name=name,
            operations=operations,
            lifetime_ms=None if lifetime_s is None else lifetime_s * 1e3,
            random_bytes=self._engine.host.random_bytes,
        )
        await write(self._engine, "create key", lambda tx: _insert(tx, new.issued))
        return new

    async def revoke(self, name: str) -> IssuedKey:
        """End a key, given by its name or its id, and return what it was.

        Raises:
            RequestError: there is no such key (404).
        """

        def delete(transaction: Transaction) -> IssuedKey:
            for document_id, key in _documents(transaction):
                if name in {key.name, key.id}:
                    transaction.delete(document_id)
                    return key
            msg = f"there is no key {name!r}; `camber keys list` names those that there are"
            raise RequestError(msg, code="KeyNotFound", kind=ErrorKind.NOT_FOUND)

        return await write(self._engine, "revoke key", delete)

    async def ended(self, key_id: str) -> None:
        """Return when a key is not valid any more."""
        while (key := self._admin_keys.valid(key_id)) is not None:
            left_s = None
            if key.expires is not None:
                left_s = max(0.0, key.expires / 1e3 - self._engine.host.now_ns() / 1e9)
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                continue

    def _load(self) -> None:
        with closing(self._engine.begin("keys")) as transaction:
            self._keys = [key for _, key in _documents(transaction)]
        self._admin_keys.replace_issued(self._keys)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _check(
    admin: Admin, name: str, operations: frozenset[Operation], lifetime_s: float | None
) -> None:
    if not 1 <= len(name) <= limits.admin_key_name_length_max or not name.isprintable():
        raise BadRequest(
            f"a key's name has 1 to {limits.admin_key_name_length_max} printable characters",
            code="InvalidKeyName",
        )
    if not operations:
        raise BadRequest("a key that allows nothing is of no use", code="InvalidKeyScope")
    beyond = [each.value for each in sorted_operations(operations - admin.operations)]
    if beyond:
        raise PermissionDenied(
            "You do not have permission to perform this operation: a key can only make keys that "
            f"allow what it allows itself, which {', '.join(beyond)} is not"
        )
    if lifetime_s is not None and not 0 < lifetime_s <= limits.admin_key_lifetime_s_max:
        raise BadRequest(
            f"a key lives for more than 0 and at most {limits.admin_key_lifetime_s_max:.0f} "
            f"seconds, not {lifetime_s:.0f}; leave it out for one that does not expire",
            code="InvalidKeyLifetime",
        )


def _insert(transaction: Transaction, key: IssuedKey) -> None:
    existing = [key for _, key in _documents(transaction)]
    if any(key.name in {each.name, each.id} for each in existing):
        raise BadRequest(
            f"there is a key {key.name!r} already: revoke it first, or choose another name",
            code="KeyNameTaken",
        )
    if len(existing) >= limits.admin_keys_max:
        raise BadRequest(
            f"a deployment may have {limits.admin_keys_max} keys; revoke those that are not used",
            code="TooManyKeys",
        )
    fields: dict[str, Value] = {
        "keyId": key.id,
        "name": key.name,
        "digest": key.digest,
        "operations": [each.value for each in sorted_operations(key.operations)],
        "created": key.created,
        "expires": key.expires,
    }
    transaction.insert(system_tables.ADMIN_KEYS, fields)


def _documents(transaction: Transaction) -> list[tuple[str, IssuedKey]]:
    table = transaction.catalog.by_name(system_tables.ADMIN_KEYS)
    assert table is not None
    rows = transaction.scan(table, table.indexes["by_creation_time"], ALL, Order.ASC)
    found = []
    for row in rows:
        document = unpack(row.packed)
        assert isinstance(document, dict)
        found.append((str(document[ID_FIELD]), _issued(document)))
    return found


def _issued(document: dict[str, Value]) -> IssuedKey:
    digest, operations = document["digest"], document["operations"]
    created, expires = document["created"], document["expires"]
    assert isinstance(digest, bytes)
    assert isinstance(operations, list)
    assert isinstance(created, int | float)
    assert expires is None or isinstance(expires, int | float)
    return IssuedKey(
        id=str(document["keyId"]),
        name=str(document["name"]),
        digest=digest,
        operations=frozenset(Operation(each) for each in operations),
        created=created,
        expires=expires,
    )
