"""Building indexes while commits go on, and removing those that were dropped.

An index is entered into the catalog before it is built, so that every transaction from then on
keeps it up to date, and one that began before conflicts. The documents that were there are indexed
bit by bit on the writer's thread, between appends: each bit reads what is there at that moment, so
an entry that a commit has removed does not come back.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import Catalog, IndexEntry, IndexState, TableEntry
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.functions.analysis import AnalysedIndex
from camber.occ.interval import ALL, IndexId, Interval, Order
from camber.storage.index_ids import declared_number, text_index, vector_index
from camber.storage.store import Store
from camber.values.packed import unpack
from camber.values.value import Value

_log = logging.getLogger("camber.releases")

#: Before a background build that failed, as on a full disk, is tried again.
_RETRY_S = 10.0

_SOURCE = "push"


class IndexBuilds:
    """The index builds of one deployment. Lives on the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._background: asyncio.Task[None] | None = None
        self._progressed = asyncio.Event()

    async def enter(self, wanted: Iterable[tuple[TableEntry, AnalysedIndex]]) -> None:
        """Enter indexes into the catalog that are built for a push."""
        pairs = list(wanted)

        def change(transaction: Transaction) -> None:
            for (table, index), number in zip(pairs, free_index_numbers(transaction), strict=False):
                add_index(transaction, table, index, IndexState.BACKFILLING, number=number)

        if pairs:
            await _commit(self._engine, change)

    async def build(
        self, table: TableEntry, indexes: Sequence[IndexEntry], told: Callable[[int], None]
    ) -> bool:
        """Index every document of a table; `told` hears how many, again and again.

        Returns whether all are: it ends early where the indexes are given up meanwhile.
        """
        host = self._engine.host
        rest: Interval | None = ALL
        while rest is not None:
            if not _are_maintained(self._engine.catalog, table, indexes):
                return False
            started = host.monotonic()
            rest, count = await self._engine.on_writer(
                _index_some, self._engine.store, table, indexes, rest
            )
            told(count)
            # As long again for everybody else.
            await host.sleep(host.monotonic() - started)
        return True

    async def discard_pending(self) -> None:
        """Give up all indexes that are built for a push: theirs has ended without a switch."""

        def change(transaction: Transaction) -> None:
            for table in transaction.user_tables():
                for index in table.pending:
                    set_state(transaction, table, replace(index, since=0), IndexState.DROPPED)

        if any(table.pending for table in self._engine.catalog.tables()):
            await _commit(self._engine, change)
            await remove_dropped(self._engine)

    def go_on(self) -> None:
        """Build staged indexes in the background, until there are none to build."""
        is_due = bool(_in_state(self._engine.catalog, IndexState.STAGED_BACKFILLING))
        if is_due and (self._background is None or self._background.done()):
            self._background = self._engine.host.spawn("staged indexes", self._build_staged())

    async def staged_built(self) -> None:
        """Return when a staged index has been completed."""
        self.go_on()
        await self._progressed.wait()

    async def close(self) -> None:
        """End the background build; the next server begins it again."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def _build_staged(self) -> None:
        while staged := _in_state(self._engine.catalog, IndexState.STAGED_BACKFILLING):
            table, index = staged[0]
            try:
                if await self.build(table, [index], lambda _: None):
                    await _commit(self._engine, functools.partial(_complete, id=index.id))
            # Whatever it is, a build that is due stays due.
            except Exception:  # noqa: BLE001  # told in the log
                _log.exception("index %s.%s is not built yet", table.name, index.name)
                await self._engine.host.sleep(_RETRY_S)
            else:
                self._progressed.set()
                self._progressed.clear()


async def remove_dropped(engine: Engine) -> None:
    """Remove the entries of dropped indexes that no snapshot can read any more."""
    dropped = _in_state(engine.catalog, IndexState.DROPPED)
    if not dropped:
        return
    floor = await engine.history_floor()
    gone = [index.id for _, index in dropped if index.since <= floor]
    for id_ in gone:
        await engine.drop_index(id_)

    def change(transaction: Transaction) -> None:
        for id_ in gone:
            document = system_tables.index_document_id(id_)
            if transaction.get(document) is not None:
                transaction.delete(document)

    if gone:
        await _commit(engine, change)


async def _commit(engine: Engine, change: Callable[[Transaction], None]) -> None:
    """Change the catalog by a commit of its own.

    Whoever is cancelled meanwhile is so once the commit is there, or has failed: it is on its way
    and cannot be called back, and clearing up must find what it has entered.
    """
    while True:
        with closing(engine.begin(_SOURCE)) as transaction:
            change(transaction)
            finished = transaction.finish()
        committing = engine.host.spawn("change of indexes", engine.committer.commit(finished))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            await asyncio.gather(committing, return_exceptions=True)
            raise
        except CommitConflict as conflict:
            await engine.committer.published(conflict.ts)
        else:
            return


def add_index(
    transaction: Transaction,
    table: TableEntry,
    declared: AnalysedIndex,
    state: IndexState,
    *,
    number: int,
) -> None:
    """Enter a declared index into the catalog, under a free number."""
    index = IndexEntry(
        id=index_id(number, declared),
        name=declared.name,
        fields=declared.fields,
        unique=declared.unique,
        state=state,
        tokenizer=declared.tokenizer,
        dimensions=declared.dimensions,
    )
    transaction.insert(
        system_tables.INDEXES,
        system_tables.index_document(table, index),
        id=system_tables.index_document_id(index.id),
    )


def index_id(number: int, index: IndexEntry | AnalysedIndex) -> IndexId:
    """Return the id of an index of its kind."""
    if index.tokenizer is not None:
        return text_index(number)
    return number if index.dimensions is None else vector_index(number)


def free_index_numbers(transaction: Transaction) -> Iterator[int]:
    """Yield numbers that no index has, growing."""
    table = transaction.catalog.by_name(system_tables.INDEXES)
    assert table is not None
    rows = transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)
    used = [declared_number(system_tables.index_entry(_document(row.packed)).id) for row in rows]
    return itertools.count(max([*used, system_tables.USER_INDEX_ID_MIN - 1]) + 1)


def set_state(
    transaction: Transaction, table: TableEntry, index: IndexEntry, state: IndexState
) -> None:
    """Put an index into another state."""
    id_ = system_tables.index_document_id(index.id)
    # Read, so that it conflicts with whoever changes the same index.
    assert transaction.get(id_) is not None, f"index {table.name}.{index.name} is not there"
    transaction.replace(id_, system_tables.index_document(table, replace(index, state=state)))


def _complete(transaction: Transaction, *, id: IndexId) -> None:
    """Note that a staged index is built, unless a push has given it another state meanwhile."""
    for table, index in _in_state(transaction.catalog, IndexState.STAGED_BACKFILLING):
        if index.id == id:
            set_state(transaction, table, index, IndexState.STAGED)


def _are_maintained(catalog: Catalog, table: TableEntry, indexes: Sequence[IndexEntry]) -> bool:
    now = catalog.by_number(table.number)
    maintained = set() if now is None else {index.id for index in now.maintained}
    return all(index.id in maintained for index in indexes)


def _in_state(catalog: Catalog, state: IndexState) -> list[tuple[TableEntry, IndexEntry]]:
    return [
        (table, index)
        for table in catalog.tables()
        for index in table.declared
        if index.state is state
    ]


def _index_some(
    store: Store, table: TableEntry, indexes: Sequence[IndexEntry], rest: Interval
) -> tuple[Interval | None, int]:
    """Index the next documents of a table as they are now; return what is left, and how many."""
    most = limits.push_batch_documents
    with store.snapshot() as snapshot:
        rows = snapshot.scan(table.number, table.indexes["by_id"].id, rest, Order.ASC, most)
    documents = [_document(row.packed) for row in rows]
    for index in indexes:
        store.build_index(table.number, index.id, _keys(index, documents))
    left = None if len(rows) < most else Interval(rows[-1].key + b"\0", None)
    return left, len(rows)


def _keys(index: IndexEntry, documents: Sequence[dict[str, Value]]) -> list[bytes]:
    keys = map(index.key, documents)
    return [key for key in keys if key is not None]


def _document(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document
