"""Data that other systems write: records of Airbyte and operations of Fivetran (protocol 8.10).

Records have keys of their own. A document that a record makes has an id made from the table and
that key, so the next record of the key finds it by one read, and two of one key cannot both be
inserted; a document that somebody else made is found by an index that begins with the key's fields,
where there is one. Batches are written in order, some records to a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any, Final

import msgspec

from camber import limits
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD, IndexEntry, IndexState, TableEntry
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.errors import BadRequest, FeatureUnavailable
from camber.occ.interval import ALL, Interval, Order
from camber.releases.releases import Releases
from camber.runtime.release import LoadedRelease
from camber.storage.store import Placement, StagedTable
from camber.transfer.sources import check_table_name
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from camber.values.packed import pack, unpack
from camber.values.value import InvalidValue, Value, canonical, shown
from camber.values.wire import from_wire

_SOURCE: Final = "streaming import"
#: What a name gets in front that cannot be one of ours.
_REPAIR: Final = "source_"
#: Fields that tell of a record's source, and the one that says that it was deleted there.
_CDC: Final = "_ab_cdc"
_CDC_DELETED: Final = "_ab_cdc_deleted_at"
#: The index of a table that Fivetran writes to, and the fields that its connector keeps there.
_FIVETRAN_INDEX: Final = "by_primary_key"
_FIVETRAN: Final = "fivetran"
#: Documents deleted in one transaction.
_DELETED: Final = 500

#: A key's fields, each as a path.
KeyPaths = tuple[tuple[str, ...], ...]


class StreamRefused(BadRequest):
    """Records that cannot be written; those before them in their batch may have been."""

    code = "InvalidRecord"


class Change(Enum):
    """What is to become of a record's document."""

    #: It is as the record says, whether it was there or not.
    UPSERT = "Upsert"
    #: Fields that the record has are as it says; where there is no document nothing happens.
    UPDATE = "Update"
    #: It is gone.
    DELETE = "HardDelete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One change of one record. Without a key it is added, whatever is there."""

    table: str
    change: Change
    fields: dict[str, Value]
    key: KeyPaths | None


class StreamingImport:
    """What other systems write into one deployment."""

    def __init__(self, *, engine: Engine, releases: Releases) -> None:
        self._engine = engine
        self._releases = releases

    async def apply(self, records: Sequence[Record]) -> None:
        """Write records in order.

        Raises:
            StreamRefused: one cannot be written; those of earlier commits have been.
        """
        for record in records:
            check_table_name(record.table)
        waiting = iter(records)
        while batch := list(islice(waiting, limits.streaming_commit_records_max)):
            await self._transact(partial(_apply, batch))

    async def clear_tables(self, names: Sequence[str]) -> None:
        """Remove all documents of tables, those that exist, in one commit."""
        async with self._engine.structure:
            with closing(self._engine.begin(_SOURCE)) as transaction:
                tables = [transaction.catalog.by_name(name) for name in set(names)]
                finished = transaction.finish()
            staged = tuple(
                StagedTable(
                    table=table.number,
                    indexes=tuple(index.id for index in table.stored),
                    placement=Placement.REPLACE,
                    documents=0,
                )
                for table in tables
                if table is not None and not table.is_system
            )
            await self._engine.committer.commit(msgspec.structs.replace(finished, staged=staged))

    async def truncate(self, table: str, *, before: datetime | None, soft: bool) -> None:
        """Remove the documents that Fivetran wrote before a moment, or mark them as deleted."""
        before_ms = None if before is None else before.astimezone(UTC).timestamp() * 1e3
        after = b""
        while True:
            position = await self._transact(
                partial(_truncate, table, after, before_ms=before_ms, soft=soft)
            )
            if position is None:
                return
            after = position

    async def create_table(self, name: str) -> None:
        """Make a table if it is not there."""
        check_table_name(name)
        await self._transact(
            lambda transaction: (
                None if transaction.table(name) is not None else transaction.create_table(name)
            )
        )

    async def _transact(self, change: Callable[[Transaction], Any]) -> Any:
        """Run `change` and commit it if what it wrote fits the schema; again after conflicts."""
        while True:
            with closing(self._engine.begin(_SOURCE)) as transaction:
                release = self._serving(transaction)
                result = change(transaction)
                finished = transaction.finish()
                numbers = {t.name: t.number for t in transaction.catalog.tables()}
                numbers |= {t.name: t.number for t in transaction.user_tables()}
            written: dict[int, list[bytes]] = {}
            for made in finished.changes:
                if made.after is not None:
                    written.setdefault(made.table, []).append(made.after)
            names = {number: name for name, number in numbers.items()}
            if release is not None:
                for number, documents in written.items():
                    await _check(release, names[number], documents, numbers)
            try:
                await self._engine.committer.commit(finished)
            except CommitConflict as conflict:
                await self._engine.committer.published(conflict.ts)
            else:
                return result

    def _serving(self, transaction: Transaction) -> LoadedRelease | None:
        try:
            return self._releases.serving(transaction)
        except FeatureUnavailable:
            return None


async def _check(
    release: LoadedRelease, table: str, documents: list[bytes], numbers: dict[str, int]
) -> None:
    if table not in release.analysis.tables:
        return
    check = await release.check(table, documents, numbers)
    if check.misfit is not None:
        reason = "; ".join(line.strip() for line in check.misfit.reason.splitlines())
        msg = f"a record of table {table!r} does not fit its schema: {reason}"
        raise StreamRefused(msg, code="SchemaMismatch")


# Records.


def _apply(records: Sequence[Record], transaction: Transaction) -> None:
    for record in records:
        table = transaction.table(record.table) or transaction.create_table(record.table)
        if record.key is None:
            transaction.insert(record.table, record.fields)
            continue
        values = [_at(record.fields, path) for path in record.key]
        id_ = encode_id(table.number, sha256(pack([record.table, *values])).digest()[:16])
        found = _found(transaction, table, id_, record.key, values)
        _write(transaction, table, record, found, id_)


def _found(
    transaction: Transaction, table: TableEntry, id_: str, key: KeyPaths, values: list[Value]
) -> dict[str, Value] | None:
    """Return the document of a key, by the id made from it, or else by an index."""
    packed = transaction.get(id_)
    if packed is not None:
        return _unpacked(packed)
    paths = tuple(".".join(path) for path in key)
    for index in table.indexes.values():
        is_read = index.state is IndexState.ENABLED and index.is_ordered
        if is_read and index.fields[: len(paths)] == paths:
            return _first(transaction, table, index, encode_key(values))
    return None


def _first(
    transaction: Transaction, table: TableEntry, index: IndexEntry, prefix: bytes
) -> dict[str, Value] | None:
    rows = transaction.scan(table, index, Interval.prefix(prefix), Order.ASC, prefix=prefix, rows=1)
    with closing(rows):
        for row in rows:
            return _unpacked(row.packed)
    return None


def _write(
    transaction: Transaction,
    table: TableEntry,
    record: Record,
    found: dict[str, Value] | None,
    id_: str,
) -> None:
    fields = record.fields
    match record.change:
        case Change.DELETE:
            if found is not None:
                transaction.delete(str(found[ID_FIELD]))
            return
        case Change.UPDATE:
            if found is None:
                return
            fields = _without_system_fields(found) | fields
        case Change.UPSERT:
            pass
    own = id_ if found is None else str(found[ID_FIELD])
    _check_unique(transaction, table, fields, own)
    if found is None:
        transaction.insert(table.name, fields, id=id_)
    else:
        transaction.replace(own, fields)


def _check_unique(
    transaction: Transaction, table: TableEntry, fields: dict[str, Value], own: str
) -> None:
    for index in table.indexes.values():
        unique = index.unique_key(fields) if index.unique else None
        if unique is None:
            continue
        other = _first(transaction, table, index, unique)
        if other is not None and other[ID_FIELD] != own:
            msg = (
                f"index {table.name}.{index.name} is unique, and the document {other[ID_FIELD]!s} "
                f"has the same {', '.join(index.fields)} already"
            )
            raise StreamRefused(msg, code="UniqueIndexViolation")


def _at(fields: dict[str, Value], path: Sequence[str]) -> Value:
    value: Value = fields
    for name in path:
        if not isinstance(value, dict) or name not in value:
            msg = f"a record lacks the field {'.'.join(path)!r} of its key: {shown(fields)}"
            raise StreamRefused(msg)
        value = value[name]
    return value


def _without_system_fields(document: dict[str, Value]) -> dict[str, Value]:
    return {
        name: value
        for name, value in document.items()
        if name not in {ID_FIELD, CREATION_TIME_FIELD}
    }


def _unpacked(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document


def _truncate(
    name: str, after: bytes, transaction: Transaction, *, before_ms: float | None, soft: bool
) -> bytes | None:
    """Go over some documents of a table; return where to go on, None at the end."""
    table = transaction.table(name)
    if table is None:
        return None
    rest = Interval(after, ALL.end)
    rows = list(islice(transaction.scan(table, table.indexes["by_id"], rest, Order.ASC), _DELETED))
    for row in rows:
        document = _unpacked(row.packed)
        kept = document.get(_FIVETRAN)
        synced = kept.get("synced") if isinstance(kept, dict) else None
        if before_ms is not None and not (isinstance(synced, int | float) and synced < before_ms):
            continue
        if not soft:
            transaction.delete(str(document[ID_FIELD]))
        elif isinstance(kept, dict):
            document[_FIVETRAN] = {**kept, "deleted": True}
            transaction.replace(str(document[ID_FIELD]), _without_system_fields(document))
    return None if len(rows) < _DELETED else rows[-1].key + b"\0"


# What other systems send.


def airbyte_records(tables: object, messages: object) -> list[Record]:
    """Return the records of a batch of Airbyte's.

    Raises:
        StreamRefused: it is none.
    """
    if not isinstance(tables, dict) or not isinstance(messages, list):
        raise StreamRefused("the body needs `tables`, an object, and `messages`, a list")
    keys = {name: _airbyte_key(name, table) for name, table in tables.items()}
    records = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("data"), dict):
            raise StreamRefused(f"a message should have tableName and data, not {shown(message)}")
        name, data = message.get("tableName"), message["data"]
        if not isinstance(name, str) or name not in keys:
            raise StreamRefused(f"a message is of table {name!r}, which `tables` does not have")
        key = keys[name]
        deleted = data.get(_CDC_DELETED) is not None
        if deleted and key is None:
            raise StreamRefused(f"a record of table {name!r} is deleted, and it has no primary key")
        kept = {field: value for field, value in data.items() if not field.startswith(_CDC)}
        records.append(
            Record(
                table=repaired(name),
                change=Change.DELETE if deleted else Change.UPSERT,
                fields=_checked(_repaired_fields(kept)),
                key=key,
            )
        )
    return records


def _airbyte_key(name: str, table: object) -> KeyPaths | None:
    key = table.get("primaryKey") if isinstance(table, dict) else None
    return None if key is None else key_paths(name, key)


def key_paths(table: str, key: object) -> KeyPaths | None:
    """Return a primary key, a list of paths; None for an empty one.

    Raises:
        StreamRefused: it is none.
    """
    if not isinstance(key, list) or not all(
        isinstance(path, list) and path and all(isinstance(part, str) for part in path)
        for path in key
    ):
        msg = f"the primary key of table {table!r} is a list of paths, each a list of fields"
        raise StreamRefused(msg)
    return tuple(tuple(repaired_field(part) for part in path) for path in key) or None


def repaired(name: str) -> str:
    """Return a name that a table can have."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    return plain if plain[:1].isalpha() else _REPAIR + plain


def repaired_field(name: str) -> str:
    """Return a name that a field can have."""
    plain = "".join(c if c.isascii() and c.isprintable() else "_" for c in name)
    return _REPAIR + plain if not plain or plain[0] in "_$" else plain


def _repaired_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {repaired_field(name): _repaired_fields(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_repaired_fields(item) for item in value]
    return value


def _checked(fields: object) -> dict[str, Value]:
    try:
        found = from_wire(fields)
        canonical(found, nesting_max=limits.document_nesting_max)
    except InvalidValue as error:
        raise StreamRefused(f"a record cannot be stored: {error.sentence}") from None
    if not isinstance(found, dict):
        raise StreamRefused(f"a record is an object, not {shown(found)}")
    for name in found:
        if name.startswith("_"):
            raise StreamRefused(f"a record has the field {name!r}: such names are the server's own")
    return found


def fivetran_records(operations: object, engine: Engine) -> list[Record]:
    """Return the records of a batch of Fivetran's; a table's key is that of its index for it.

    Raises:
        StreamRefused: it is none, or a table has no such index.
    """
    if not isinstance(operations, list):
        raise StreamRefused("the body is a list of operations")
    records = []
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("table"), str):
            msg = f"an operation should have table, operation and row, not {shown(operation)}"
            raise StreamRefused(msg)
        kind = operation.get("operation")
        change = next((each for each in Change if each.value == kind), None)
        if change is None:
            names = ", ".join(each.value for each in Change)
            raise StreamRefused(f"{kind!r} is no operation: use {names}")
        table = operation["table"]
        records.append(
            Record(
                table=table,
                change=change,
                fields=_checked(operation.get("row")),
                key=_fivetran_key(table, engine),
            )
        )
    return records


def _fivetran_key(name: str, engine: Engine) -> KeyPaths:
    table = engine.catalog.by_name(name)
    index = None if table is None else table.indexes.get(_FIVETRAN_INDEX)
    paths = () if index is None else tuple(tuple(path.split(".")) for path in index.fields)
    key = tuple(path for path in paths if path[0] != _FIVETRAN)
    if not key:
        msg = f"table {name!r} has no primary key: declare an index {_FIVETRAN_INDEX} on its fields"
        raise StreamRefused(msg, code="NoPrimaryKey")
    return key
