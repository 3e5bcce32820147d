"""Which components have data: those that are mounted no more keep theirs."""

from __future__ import annotations

from camber.engine import system_tables
from camber.engine.transaction import Transaction
from camber.occ.interval import Interval, Order
from camber.values.keys import encode_key
from camber.values.packed import unpack


def components_with_data(transaction: Transaction) -> set[str]:
    """Return the paths of all components that have tables, files or scheduled functions.

    Not recorded as a read. What it costs grows with the number of components, not of documents.
    """
    found = {table.component for table in transaction.user_tables()}
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
            document = unpack(rows[0].packed)
            assert isinstance(document, dict)
            owner = document[system_tables.COMPONENT_FIELD]
            assert isinstance(owner, str)
            found.add(owner)
            start = Interval.prefix(encode_key([owner])).end
    return found - {""}
