"""What is forgotten in the background: old history, dropped indexes, records of what was done."""

from __future__ import annotations

import logging
from contextlib import closing

from camber import limits
from camber.engine import scheduled, system_tables
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.occ.interval import Interval, Order
from camber.releases.indexes import remove_dropped
from camber.values.keys import encode_key
from camber.values.packed import unpack

_log = logging.getLogger("camber.maintenance")

_SOURCE = "maintenance"
#: Between two rounds.
_PAUSE_S = 10.0
#: Commits whose history goes at once: the writer is busy for that long.
_TRIM_COMMITS = 500
#: Records deleted in one transaction.
_RECORDS = 500
_NS = 1_000_000_000


class Maintenance:
    """Trims one deployment, round after round, until it is cancelled."""

    def __init__(
        self, *, engine: Engine, history_retention_s: float, history_bytes_max: int
    ) -> None:
        self._engine = engine
        self._history_ns = int(history_retention_s * _NS)
        self._history_bytes_max = history_bytes_max

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._engine.host.sleep(_PAUSE_S)
            try:
                await self.round()
            # A full disk today is no reason to forget nothing tomorrow.
            except Exception:  # noqa: BLE001  # told in the log
                _log.exception("maintenance failed; it is tried again")

    async def round(self) -> None:
        """Forget everything that is due."""
        if self._engine.store.history_bytes() > (
            self._history_bytes_max * limits.history_pinned_factor_max
        ):
            self._engine.unpin()
        before = self._engine.host.now_ns() - self._history_ns
        while await self._engine.trim(before=before, commits_max=_TRIM_COMMITS):
            pass
        while self._engine.store.history_bytes() > self._history_bytes_max and (
            await self._engine.trim(before=self._engine.newest_ts, commits_max=_TRIM_COMMITS)
        ):
            pass
        await remove_dropped(self._engine)
        while await self._forget_session_requests():
            pass
        while await self._forget_scheduled():
            pass

    async def _forget_scheduled(self) -> bool:
        """Delete some scheduled functions that ended long ago; return whether there may be more."""
        before_ms = self._engine.host.now_ns() / 1e6 - limits.scheduled_kept_s * 1e3
        most = limits.scheduled_forgotten
        forgotten = await write(
            self._engine,
            _SOURCE,
            lambda tx: scheduled.forget_finished(tx, before_ms=before_ms, most=most),
        )
        return forgotten == most

    async def _forget_session_requests(self) -> bool:
        """Delete some records that are too old; return whether there may be more."""
        oldest_ms = self._engine.host.now_ns() / 1e6 - limits.session_request_retention_s * 1e3

        def forget(transaction: Transaction) -> int:
            ids = _records_before(transaction, oldest_ms)
            for id_ in ids:
                transaction.delete(id_)
            return len(ids)

        return await write(self._engine, _SOURCE, forget) == _RECORDS


def _records_before(transaction: Transaction, oldest_ms: float) -> list[str]:
    table = transaction.catalog.by_name(system_tables.SESSION_REQUESTS)
    assert table is not None
    index = table.indexes["by_creation_time"]
    old = Interval(b"", encode_key([oldest_ms]))
    ids: list[str] = []
    with closing(transaction.scan(table, index, old, Order.ASC, rows=_RECORDS)) as rows:
        for row in rows:
            document = unpack(row.packed)
            assert isinstance(document, dict)
            assert CREATION_TIME_FIELD in document
            ids.append(str(document[ID_FIELD]))
            if len(ids) == _RECORDS:
                break
    return ids
