"""Beginning transactions in a process that never commits.

The server says with each request at which timestamp to read and which catalog holds there; the
catalog itself is read from the store, once for each that there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from camber.engine import system_tables
from camber.engine.catalog import Catalog
from camber.engine.engine import load_catalog
from camber.engine.transaction import Entropy, Transaction
from camber.storage.ahead import ChangesAt, SnapshotSource, snapshot_ahead
from camber.storage.store import Snapshot
from camber.values.timestamp import Timestamp

#: Catalogs kept: the newest one, and what reads at older timestamps ask for.
_CATALOGS: Final = 4


class ReadingEngine:
    """Where transactions begin whose commit, if any, somebody else does. For one thread."""

    def __init__(self, *, source: SnapshotSource, entropy: Entropy) -> None:
        self._source = source
        self._entropy = entropy
        self._catalogs: OrderedDict[Timestamp, Catalog] = OrderedDict()
        #: Commits that may not be in the store yet, oldest first, and of which epoch they are.
        self._ahead: list[ChangesAt] = []
        self._epoch = 0

    def learn(self, epoch: int, published: Timestamp, commits: Iterable[ChangesAt]) -> None:
        """Take in commits that follow those that are known; forget what is in the store."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._ahead.clear()
        self._ahead = [commit for commit in self._ahead if commit.ts > published]
        self._ahead.extend(commits)

    def begin(
        self,
        source: str,
        *,
        ts: Timestamp,
        catalog_since: Timestamp,
        now_ns: int,
        is_ahead: bool = False,
    ) -> Transaction:
        """Begin a transaction at exactly `ts`; `catalog_since` says which catalog holds there.

        `is_ahead` says that the store may not have got there: what was learnt is laid over it.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
        if is_ahead:
            snapshot = snapshot_ahead(self._source, ts, self._ahead)
        else:
            snapshot = self._source.snapshot(ts)
        try:
            catalog = self._catalogs.get(catalog_since) or self._load(catalog_since, snapshot)
        except BaseException:
            snapshot.close()
            raise
        return Transaction(
            snapshot=snapshot,
            catalog=catalog,
            entropy=self._entropy,
            now_ns=now_ns,
            source=source,
        )

    def catalog(self, since: Timestamp) -> Catalog:
        """Return the catalog that holds from `since` on, or a later one."""
        catalog = self._catalogs.get(since)
        if catalog is None:
            with self._source.snapshot() as snapshot:
                catalog = self._load(since, snapshot)
        return catalog

    @contextmanager
    def latest(self, source: str) -> Iterator[Transaction]:
        """Begin a transaction at the newest snapshot that knows the system's tables alone."""
        with self._source.snapshot() as snapshot:
            yield Transaction(
                snapshot=snapshot,
                catalog=system_tables.system_catalog(),
                entropy=self._entropy,
                now_ns=snapshot.ts,
                source=source,
            )

    def _load(self, since: Timestamp, snapshot: Snapshot) -> Catalog:
        # Of a snapshot that is in use, if it will do: what held at `since` may be gone from history.
        if snapshot.ts >= since:
            catalog = load_catalog(snapshot)
        else:
            with self._source.snapshot(since) as later:
                catalog = load_catalog(later)
        self._catalogs[since] = catalog
        if len(self._catalogs) > _CATALOGS:
            self._catalogs.popitem(last=False)
        return catalog
