"""The engine: one store, its catalog, its committer, and where transactions begin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import Catalog, IndexEntry, TableEntry, table_entry
from camber.engine.committer import Ahead, Committer, Published
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.host import Host
from camber.occ.interval import ALL, IndexId, Interval, Order
from camber.storage.ahead import snapshot_ahead
from camber.storage.store import Commit, Snapshot, Store
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.value import Value

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("camber.engine")

#: Tables and indexes read at once when the engine opens.
_CATALOG_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedCatalog:
    """Tables and indexes as they are from a timestamp on, until the next change."""

    since: Timestamp
    catalog: Catalog


class Engine:
    """All data of one deployment. Opened on the event loop; transactions begin on any thread."""

    def __init__(self, *, host: Host, store: Store) -> None:
        self.host = host
        self._store = store
        self._writer = host.worker("camber-writer")
        with store.snapshot() as snapshot:
            first = DatedCatalog(since=snapshot.ts, catalog=load_catalog(snapshot))
        # Replaced, never changed: transactions begin on other threads.
        self._catalogs: tuple[DatedCatalog, ...] = (first,)
        self._listeners: list[Published] = []
        self._pinned: list[Timestamp] = []
        #: Taken by whoever counts on tables, indexes and validators to stay as they are for longer
        #: than a commit: one push or one import at a time. Taken before `hold`.
        self.structure = asyncio.Lock()
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

    @property
    def catalog(self) -> Catalog:
        """Return the tables and indexes at the newest timestamp."""
        return self._catalogs[-1].catalog

    def catalog_at(self, ts: Timestamp) -> DatedCatalog:
        """Return the tables and indexes at `ts`; the oldest that are known if that is older."""
        catalogs = self._catalogs
        for dated in reversed(catalogs):
            if dated.since <= ts:
                return dated
        return catalogs[0]

    def on_publish(self, listener: Published) -> Callable[[], None]:
        """Call `listener` on the loop with each group of commits, after it is published.

        Returns what ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def begin(
        self, source: str, *, ts: Timestamp | None = None, ahead: Ahead | None = None
    ) -> Transaction:
        """Begin a transaction at the newest snapshot, exactly at `ts`, or with what is `ahead`.

        `source` is the function's path, for conflict messages. The caller closes it.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        # The timestamp first, and never one that the store has but is not published: the catalog
        # must not be older than the snapshot, or a write would miss an index.
        if ahead is None:
            snapshot = self._store.snapshot(self.newest_ts if ts is None else ts)
        else:
            snapshot = snapshot_ahead(self._store, ahead.ts, ahead.commits)
        return Transaction(
            snapshot=snapshot,
            catalog=self.catalog_at(snapshot.ts).catalog,
            entropy=self.host,
            now_ns=self.host.now_ns(),
            source=source,
        )

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """Let nobody else commit within the block."""
        async with self.committer.hold() as commit:
            yield Hold(engine=self, commit=commit)

    async def on_writer(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking function on the writer's thread, where no append runs meanwhile."""
        return await self._writer.run(function, *args, **kwargs)

    async def history_floor(self) -> Timestamp:
        """Return the oldest timestamp that can be read."""
        return await self._writer.run(self._store.history_floor)

    async def drop_index(self, index: IndexId) -> None:
        """Remove the entries of an index that nobody reads or writes, bit by bit."""
        most = limits.index_entries_removed
        while await self._writer.run(lambda: self._store.drop_index(index, entries_max=most)):
            pass

    async def trim(self, *, before: Timestamp, commits_max: int) -> bool:
        """Forget the history of about `commits_max` commits up to `before`; return if there is more.

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
            catalog = _with_commit(self.catalog, commit)
            if catalog is not self.catalog:
                dated = DatedCatalog(since=commit.ts, catalog=catalog)
                self._catalogs = (*self._catalogs[-limits.catalogs_kept :], dated)

    def _published(self, commits: Sequence[Commit]) -> None:
        for listener in self._listeners:
            try:
                listener(commits)
            # What is durable is durable: who asked for it is told, and so are the other listeners.
            except Exception:  # noqa: BLE001
                name = getattr(listener, "__qualname__", repr(listener))
                _log.exception("%s, told of commit %d, met a bug", name, commits[-1].ts)


class Hold:
    """The right to commit while everybody else waits."""

    def __init__(self, *, engine: Engine, commit: Callable[[FinishedTransaction], object]) -> None:
        self.engine = engine
        self._commit = commit

    async def commit(self, transaction: FinishedTransaction) -> Timestamp:
        """Commit, as `Committer.commit` does."""
        if not transaction.changes and not transaction.staged:
            return transaction.begin_ts
        return await self._commit(transaction)  # type: ignore[no-any-return, misc]


def load_catalog(snapshot: Snapshot) -> Catalog:
    """Return the tables and indexes that there are at a snapshot."""
    catalog = system_tables.system_catalog()
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
        if change.table == system_tables.TABLES_NUMBER and change.after is None:
            catalog = catalog.without_table(_number(_document(change.before), "number"))
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
    if table is None:
        assert after is None, "an index of a table that is not there"
        # The table got another number in this commit.
        return catalog
    removed = None if before is None else _number(_document(before), "index")
    kept = [entry for entry in table.declared if entry.id != removed]
    if after is not None:
        kept.append(system_tables.index_entry(document))
    return catalog.with_table(table_entry(table.number, table.name, kept))


def _document(packed: bytes | None) -> dict[str, Value]:
    assert packed is not None
    document = unpack(packed)
    assert isinstance(document, dict)
    return document


def _number(document: dict[str, Value], field: str) -> int:
    value = document[field]
    assert isinstance(value, int)
    return value
