"""Beginning transactions in a process that never commits.

The server says with each request at which timestamp to read and which catalog holds there; the
catalog itself is read from the store, once for each that there is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from camber.engine import system_tables
from camber.engine.catalog import Catalog
from camber.engine.engine import load_catalog
from camber.engine.transaction import Entropy, Transaction
from camber.storage.store import Snapshot
from camber.values.timestamp import Timestamp

#: Catalogs kept: the newest one, and what reads at older timestamps ask for.
_CATALOGS: Final = 4


class SnapshotSource(Protocol):
    """The part of a store that only reads."""

    def snapshot(self, ts: Timestamp | None = None) -> Snapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""


class ReadingEngine:
    """Where transactions begin whose commit, if any, somebody else does. For one thread."""

    def __init__(self, *, source: SnapshotSource, entropy: Entropy) -> None:
        self._source = source
        self._entropy = entropy
        self._catalogs: OrderedDict[Timestamp, Catalog] = OrderedDict()

    def begin(
        self, source: str, *, ts: Timestamp, catalog_since: Timestamp, now_ns: int
    ) -> Transaction:
        """Begin a transaction at exactly `ts`; `catalog_since` says which catalog holds there.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """
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
