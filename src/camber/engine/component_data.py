"""What components have beside what they declare, and its end.

Those that are mounted no more keep their data, until an operator has it deleted: from then on a
document of `_component_deletions` says so, until nothing is left. It is deleted bit by bit, each
time by a transaction that looks for what there is still, so that it goes on wherever it was broken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from camber import limits
from camber.engine import file_ledger, scheduled, system_tables
from camber.engine.catalog import TableEntry
from camber.engine.transaction import Transaction
from camber.occ.interval import ALL, Interval, Order
from camber.storage.index_ids import by_id_index
from camber.storage.store import Row, Snapshot
from camber.values.keys import encode_key
from camber.values.packed import unpack
from camber.values.paths import is_within
from camber.values.value import Value

#: Documents read at once.
_ROWS: Final = 1000


def components_with_data(transaction: Transaction) -> set[str]:
    """Return the paths of all components that have documents, files or scheduled functions.

    Not recorded as a read. What it costs grows with the number of components, not of documents.
    """
    found = {
        table.component
        for table in transaction.user_tables()
        if table.component and has_documents(transaction.snapshot, table)
    }
    for name in sorted(system_tables.READABLE):
        table = transaction.catalog.by_name(name)
        assert table is not None
        index = table.indexes[system_tables.BY_COMPONENT]
        # The application's own lack the field, and sort before all that have it.
        start: bytes | None = encode_key([None])
        while start is not None:
            rows = transaction.snapshot.scan(
                table.number, index.id, Interval(start, None), Order.ASC, 1
            )
            if not rows:
                break
            owner = _document(rows[0].packed)[system_tables.COMPONENT_FIELD]
            assert isinstance(owner, str)
            found.add(owner)
            start = Interval.prefix(encode_key([owner])).end
    return found


def has_documents(snapshot: Snapshot, table: TableEntry) -> bool:
    """Return whether there is a document in a table."""
    return bool(snapshot.scan(table.number, by_id_index(table.number), ALL, Order.ASC, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentData:
    """How much a component has."""

    documents: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    file_bytes: int = 0
    scheduled: int = 0


def data_of_components(transaction: Transaction) -> dict[str, ComponentData]:
    """Return how much all components have, by path; `documents` by the tables' own names.

    Not recorded as a read. Files and scheduled functions are looked at one by one.
    """
    documents: dict[str, dict[str, int]] = {}
    for table in transaction.user_tables():
        count = transaction.snapshot.count(table.indexes["by_creation_time"].id)
        if table.component and count:
            documents.setdefault(table.component, {})[table.own_name] = count
    files, sizes, jobs = Counter[str](), Counter[str](), Counter[str]()
    for owner, file in _owned_by_components(transaction, system_tables.STORAGE):
        size = file["size"]
        assert isinstance(size, int)
        files[owner] += 1
        sizes[owner] += size
    for owner, _ in _owned_by_components(transaction, system_tables.SCHEDULED_FUNCTIONS):
        jobs[owner] += 1
    return {
        path: ComponentData(
            documents=documents.get(path, {}),
            files=files[path],
            file_bytes=sizes[path],
            scheduled=jobs[path],
        )
        for path in documents.keys() | files.keys() | jobs.keys()
    }


def _owned_by_components(
    transaction: Transaction, name: str
) -> Iterator[tuple[str, dict[str, Value]]]:
    """Yield the documents of a readable table that are a component's, and whose."""
    table = transaction.catalog.by_name(name)
    assert table is not None
    index = table.indexes[system_tables.BY_COMPONENT].id
    rest = Interval(encode_key([None]), None)
    while rows := transaction.snapshot.scan(table.number, index, rest, Order.ASC, _ROWS):
        for row in rows:
            document = _document(row.packed)
            yield str(document[system_tables.COMPONENT_FIELD]), document
        rest = Interval(rows[-1].key + b"\0", None)


# Deletions that have begun.


def begin_deletion(transaction: Transaction, component: str) -> None:
    """Note that all data of a component, and of what was mounted in it, is to be deleted."""
    if component not in deletions(transaction):
        transaction.insert(system_tables.COMPONENT_DELETIONS, {"component": component})


def deletions(transaction: Transaction) -> dict[str, str]:
    """Return the ids of the deletions that have begun, by component."""
    table = transaction.table(system_tables.COMPONENT_DELETIONS)
    assert table is not None
    with closing(transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)) as rows:
        documents = [_document(row.packed) for row in rows]
    return {str(each["component"]): str(each["_id"]) for each in documents}


def being_deleted(transaction: Transaction, components: Iterable[str]) -> list[str]:
    """Return those of some components whose data is being deleted."""
    begun = deletions(transaction)
    return [each for each in components if any(is_within(each, outer) for outer in begun if each)]


def end_deletion(transaction: Transaction, component: str) -> None:
    """Note that nothing is left."""
    id_ = deletions(transaction).get(component)
    if id_ is not None:
        transaction.delete(id_)


# What each bit of a deletion does. All return how many are gone: there are no more if it is none.


def delete_documents(transaction: Transaction, component: str) -> int:
    """Delete some documents of the tables of a component, and of what was mounted in it."""
    for table in _tables_below(transaction, component):
        found = _some(transaction.snapshot, table)
        for id_ in found:
            # Whoever deletes a document has read it.
            transaction.get(id_)
            transaction.delete(id_)
        if found:
            return len(found)
    return 0


def delete_scheduled(transaction: Transaction, component: str) -> int:
    """Delete some functions that it has scheduled, whatever has become of them.

    What runs goes on to its end, which nobody notes.
    """
    ids = _owned(transaction, system_tables.SCHEDULED_FUNCTIONS, component)
    for id_ in ids:
        scheduled.forget(transaction, id_)
    return len(ids)


def delete_files(transaction: Transaction, component: str) -> int:
    """Delete some of its files; their content goes once that is committed."""
    ids = _owned(transaction, system_tables.STORAGE, component)
    for id_ in ids:
        entry = file_ledger.entry_of(transaction, file_ledger.internal_of(id_))
        assert entry is not None, f"{id_} has no entry in the ledger"
        file_ledger.leaving(transaction, entry)
    return len(ids)


def _tables_below(transaction: Transaction, component: str) -> Iterator[TableEntry]:
    for table in transaction.user_tables():
        if table.component and is_within(table.component, component):
            yield table


def _some(snapshot: Snapshot, table: TableEntry) -> list[str]:
    """Return the ids of the first documents of a table, up to a count and to a size."""
    most = limits.component_documents_deleted
    rows = snapshot.scan(table.number, by_id_index(table.number), ALL, Order.ASC, most)
    taken: list[str] = []
    size = 0
    for row in rows:
        size += len(row.packed)
        if taken and size > limits.component_bytes_deleted:
            break
        taken.append(_id(row))
    return taken


def _owned(transaction: Transaction, name: str, component: str) -> list[str]:
    """Return the ids of some documents of a readable table that are of a component or below it."""
    table = transaction.catalog.by_name(name)
    assert table is not None
    index = table.indexes[system_tables.BY_COMPONENT]
    for owner in sorted(components_with_data(transaction)):
        if is_within(owner, component):
            rows = transaction.snapshot.scan(
                table.number,
                index.id,
                Interval.prefix(encode_key([owner])),
                Order.ASC,
                limits.component_documents_deleted,
            )
            if rows:
                return [_id(row) for row in rows]
    return []


def _id(row: Row) -> str:
    return str(_document(row.packed)["_id"])


def _document(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document
