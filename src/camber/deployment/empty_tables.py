"""Tables that a component has left behind without a document: nothing would be missed of them.

They stay for as long as there is history in which they have documents: whoever follows the changes of
a deployment is told that those are gone.
"""

from __future__ import annotations

from camber.engine.catalog import TableEntry
from camber.engine.component_data import has_documents
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.releases.releases import Releases
from camber.values.timestamp import Timestamp


class EmptyTables:
    """Removes empty tables of components that are mounted no more. Lives on the event loop."""

    def __init__(self, *, engine: Engine, releases: Releases) -> None:
        self._engine = engine
        self._releases = releases
        #: When tables were found empty, by number.
        self._since: dict[int, Timestamp] = {}

    async def remove(self) -> None:
        """Look for them, and remove those of which there is no history any more."""
        if self._releases.newest is None:
            # Nobody knows what is mounted.
            return
        with self._engine.store.snapshot() as snapshot:
            empty = [
                table.number
                for table in self._engine.catalog.tables()
                if self._is_left(table) and not has_documents(snapshot, table)
            ]
            ts = snapshot.ts
        self._since = {number: self._since.get(number, ts) for number in empty}
        if not empty:
            return
        floor = await self._engine.history_floor()
        catalog = self._engine.catalog
        gone = [
            number
            for number, since in self._since.items()
            if since <= floor and _has_no_indexes(catalog.by_number(number))
        ]
        if gone:
            async with self._engine.structure:
                await write(self._engine, "empty tables", lambda tx: self._remove(tx, gone))

    def _remove(self, transaction: Transaction, numbers: list[int]) -> None:
        for number in numbers:
            table = transaction.catalog.by_number(number)
            # A push or an import may have been meanwhile.
            if (
                table is not None
                and self._is_left(table)
                and _has_no_indexes(table)
                and not has_documents(transaction.snapshot, table)
            ):
                transaction.remove_table(table)

    def _is_left(self, table: TableEntry) -> bool:
        is_mounted = self._releases.is_mounted(table.component)
        return not (table.is_system or is_mounted)


def _has_no_indexes(table: TableEntry | None) -> bool:
    """Return whether nothing is to be removed any more of indexes that were dropped."""
    return table is not None and not table.declared
