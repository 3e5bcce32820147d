"""The engine: one store, its catalog, its committer, and where transactions begin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import ParamSpec, TypeVar

from camber.engine import system_tables
from camber.engine.catalog import Catalog, IndexEntry, TableEntry, table_entry
from camber.engine.committer import Committer, Published
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.host import Host
from camber.occ.interval import ALL, IndexId, Interval, Order
from camber.storage.store import Commit, Snapshot, Store
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.value import Value

P = ParamSpec("P")
R = TypeVar("R")

#: Tables and indexes read at once when the engine opens.
_CATALOG_ROWS = 1024


class Engine:
    """All data of one deployment. Opened on the event loop; transactions begin on any thread."""

    def __init__(self, *, host: Host, store: Store) -> None:
        self.host = host
        self._store = store
        self._writer = host.worker("camber-writer")
        self.catalog = load_catalog(store)
        self._listeners: list[Published] = []
        self._pinned: list[Timestamp] = []
        self.committer = Committer(
            host=host,
            store=store,
            writer=self._writer,
            apply=self._apply,
            publish=self._published,
        )
        self.committer.start()

    async def close(self) -> None:
        """Write what waits to be committed and close the store."""
        await self.committer.stop()
        await self._writer.run(self._store.close)
        self._writer.close()

    @property
    def newest_ts(self) -> Timestamp:
        """Return the newest published timestamp: reads at it are answered at full speed."""
        return self.committer.newest_ts

    def on_publish(self, listener: Published) -> None:
        """Call `listener` on the loop with each group of commits, after it is published."""
        self._listeners.append(listener)

    def begin(self, source: str, *, ts: Timestamp | None = None) -> Transaction:
        """Begin a transaction at the newest snapshot, or exactly at `ts`.

        `source` is the function's path, for conflict messages. The caller closes it.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        # The timestamp first, and never one that the store has but is not published: the catalog
        # must not be older than the snapshot, or a write would miss an index.
        snapshot_ts = self.newest_ts if ts is None else ts
        return Transaction(
            snapshot=self._store.snapshot(snapshot_ts),
            catalog=self.catalog,
            entropy=self.host,
            now_ns=self.host.now_ns(),
            source=source,
        )

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Let nobody else commit within the block (pushes: validation and index builds)."""
        async with self.committer.hold() as commit:
            yield Hold(engine=self, commit=commit)

    async def on_writer(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking function on the writer's thread, where no append runs meanwhile."""
        return await self._writer.run(function, *args, **kwargs)

    async def drop_index(self, index: IndexId) -> None:
        """Remove the entries of an index that no catalog names any more."""
        await self._writer.run(self._store.drop_index, index)

    async def trim(self, *, before: Timestamp, commits_max: int) -> int:
        """Forget at most `commits_max` commits' history up to `before`; return how many.

        What a pin keeps stays.
        """
        oldest = min([before, *self._pinned])
        return await self._writer.run(
            lambda: self._store.trim(before=oldest, commits_max=commits_max)
        )

    @contextmanager
    def pin(self, ts: Timestamp) -> Iterator[None]:
        """Keep snapshots at `ts` and later readable within the block; `unpin` may end it sooner."""
        self._pinned.append(ts)
        try:
            yield
        finally:
            if ts in self._pinned:
                self._pinned.remove(ts)

    def unpin(self) -> None:
        """End all pins: history has grown too large for anybody's sake."""
        self._pinned.clear()

    @property
    def store(self) -> Store:
        """Return the store, for verbs that are neither a read nor a commit."""
        return self._store

    def _apply(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            self.catalog = _with_commit(self.catalog, commit)

    def _published(self, commits: Sequence[Commit]) -> None:
        for listener in self._listeners:
            listener(commits)


class Hold:
    """The right to commit while everybody else waits."""

    def __init__(self, *, engine: Engine, commit: Callable[[FinishedTransaction], object]) -> None:
        self.engine = engine
        self._commit = commit

    async def commit(self, transaction: FinishedTransaction) -> Timestamp:
        """Commit, as `Committer.commit` does."""
        if not transaction.changes:
            return transaction.begin_ts
        return await self._commit(transaction)  # type: ignore[no-any-return, misc]


def load_catalog(store: Store) -> Catalog:
    """Return the tables and indexes that a store holds."""
    catalog = system_tables.system_catalog()
    with store.snapshot() as snapshot:
        found: dict[str, list[dict[str, Value]]] = {}
        for name in (system_tables.TABLES, system_tables.INDEXES):
            table = catalog.by_name(name)
            assert table is not None
            found[name] = _all_documents(snapshot, table)
    declared: dict[int, list[IndexEntry]] = {}
    for document in found[system_tables.INDEXES]:
        entry = system_tables.index_entry(document)
        declared.setdefault(_number(document, "table"), []).append(entry)
    for document in found[system_tables.TABLES]:
        number = _number(document, "number")
        entry_name = document["name"]
        assert isinstance(entry_name, str)
        catalog = catalog.with_table(table_entry(number, entry_name, declared.get(number, ())))
    return catalog


def _all_documents(snapshot: Snapshot, table: TableEntry) -> list[dict[str, Value]]:
    found: list[dict[str, Value]] = []
    rest = ALL
    while True:
        rows = snapshot.scan(
            table.number, table.indexes["by_id"].id, rest, Order.ASC, _CATALOG_ROWS
        )
        found += [_document(row.packed) for row in rows]
        if len(rows) < _CATALOG_ROWS:
            return found
        rest = Interval(rows[-1].key + b"\0", None)


def _with_commit(catalog: Catalog, commit: Commit) -> Catalog:
    """Return the catalog after a commit; the same one unless it touched `_tables` or `_indexes`."""
    for change in commit.changes:
        if change.table == system_tables.TABLES_NUMBER and change.after is not None:
            document = _document(change.after)
            number, name = _number(document, "number"), document["name"]
            assert isinstance(name, str)
            catalog = catalog.with_table(table_entry(number, name, ()))
    for change in commit.changes:
        if change.table == system_tables.INDEXES_NUMBER:
            catalog = _with_index_change(catalog, change.before, change.after)
    return catalog


def _with_index_change(catalog: Catalog, before: bytes | None, after: bytes | None) -> Catalog:
    document = _document(after if after is not None else before)
    table = catalog.by_number(_number(document, "table"))
    assert table is not None
    removed = None if before is None else _number(_document(before), "index")
    kept = [entry for entry in _declared(table) if entry.id != removed]
    if after is not None:
        kept.append(system_tables.index_entry(document))
    return catalog.with_table(table_entry(table.number, table.name, kept))


def _declared(table: TableEntry) -> list[IndexEntry]:
    return [
        entry for entry in table.indexes.values() if entry.name not in {"by_id", "by_creation_time"}
    ]


def _document(packed: bytes | None) -> dict[str, Value]:
    assert packed is not None
    document = unpack(packed)
    assert isinstance(document, dict)
    return document


def _number(document: dict[str, Value], field: str) -> int:
    value = document[field]
    assert isinstance(value, int)
    return value
