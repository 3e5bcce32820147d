"""Exports and imports are documents: how these are found and changed.

Each change is a transaction of its own (`engine.writing`), so subscribers see every state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD
from camber.engine.transaction import Transaction
from camber.occ.interval import ALL, Order
from camber.values.ids import InvalidId, decode_id
from camber.values.packed import unpack
from camber.values.value import Value

#: One export or import, system fields included.
Job = dict[str, Value]


def newest_first(transaction: Transaction, table_name: str) -> Iterator[Job]:
    """Yield the jobs of a table, the newest first."""
    table = transaction.catalog.by_name(table_name)
    assert table is not None
    index = table.indexes["by_creation_time"]
    with closing(transaction.scan(table, index, ALL, Order.DESC)) as rows:
        for row in rows:
            yield _job(row.packed)


def find(transaction: Transaction, table_name: str, id_: str) -> Job | None:
    """Return one job, or None if `id_` is the id of none."""
    try:
        number = decode_id(id_).table_number
    except InvalidId:
        return None
    if number != transaction.catalog.number(table_name):
        return None
    packed = transaction.get(id_)
    return None if packed is None else _job(packed)


def update(transaction: Transaction, job: Job, changes: Job) -> Job:
    """Give a job new fields beside those it has; return it as it is then."""
    updated = {**job, **changes}
    fields = {
        name: value
        for name, value in updated.items()
        if name not in {ID_FIELD, CREATION_TIME_FIELD}
    }
    transaction.replace(str(job[ID_FIELD]), fields)
    return updated


def _job(packed: bytes) -> Job:
    job = unpack(packed)
    assert isinstance(job, dict)
    return job
