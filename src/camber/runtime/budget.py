"""What one transaction may take of a process: processor time, time in the store, memory.

Processor time is watched by the system's interval timers. The first one interrupts user code: it
raises `Interrupted`, which no `except Exception` catches. The second ends the process, in case that
the function is in C code and cannot be interrupted. Both are moved on by the time that reads of the
store take, which has a bound of its own. They run on until `Budget.rest`: to set a timer costs as
much as a read of the store.
"""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from signal import ITIMER_PROF, ITIMER_VIRTUAL, getitimer, setitimer
from time import perf_counter
from types import FrameType
from typing import Final

from camber import limits
from camber.errors import ErrorKind, Interrupted, RequestError
from camber.occ.interval import IndexId, Interval, Order
from camber.search.nearest import VectorHit
from camber.search.ranking import Hit, Statistics, Window
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery
from camber.storage.ahead import SnapshotSource
from camber.storage.store import Row, Snapshot
from camber.values.timestamp import Timestamp

#: User code that swallows the interruption is interrupted again after so much processor time.
_AGAIN_S: Final = 0.1
#: When the second timer goes off, in processor time.
_END_S: Final = limits.transaction_cpu_s_max + limits.transaction_cpu_s_overrun
_STATM: Final = "/proc/self/statm"
_STATM_BYTES: Final = 256
_DATA_PAGES: Final = 5


class Budget:
    """The time budget of the transaction that runs. One for a process, used on its main thread."""

    def __init__(self) -> None:
        self._store_s = 0.0
        self._moved_s = 0.0
        #: Processor time before the second timer was moved last, since the transaction began.
        self._moved_cpu_s = 0.0
        self._is_watching = self._is_armed = False
        self.is_spent = False
        signal.signal(signal.SIGVTALRM, self._interrupt)
        # The default action ends the process, whatever it is doing.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def __enter__(self) -> None:
        """Watch over one transaction; raises `Interrupted` inside the block."""
        self.is_spent = False
        self._store_s = self._moved_s = self._moved_cpu_s = 0.0
        # The first timer goes on from one transaction to the next: when it goes off too early, it is
        # set anew. The second one must not.
        if not self._is_armed:
            self._is_armed = True
            setitimer(ITIMER_VIRTUAL, limits.transaction_cpu_s_max, _AGAIN_S)
        self._move_end()
        # Only now: what the second timer tells is of this transaction.
        self._is_watching = True

    def __exit__(self, *exc: object) -> None:
        self._is_watching = False

    def rest(self) -> None:
        """Stop the timers: nothing runs that is to be watched over, or nothing at all."""
        if self._is_armed:
            self._is_armed = False
            setitimer(ITIMER_VIRTUAL, 0)
            setitimer(ITIMER_PROF, 0)

    def _move_end(self) -> None:
        setitimer(ITIMER_PROF, _END_S)

    def _cpu_s(self) -> float:
        """Return the processor time since the transaction began, as its second timer tells it."""
        return self._moved_cpu_s + _END_S - getitimer(ITIMER_PROF)[0]

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._is_watching:
            return
        user_s = self._cpu_s() - self._store_s
        if user_s < limits.transaction_cpu_s_max:
            setitimer(ITIMER_VIRTUAL, limits.transaction_cpu_s_max - user_s, _AGAIN_S)
            return
        self.is_spent = True
        raise Interrupted(
            f"the function used {limits.transaction_cpu_s_max:g} s of processor time, the most for "
            "one query or mutation. Do less at once: paginate, or move the work to an action",
            code="UserTimeout",
        )

    def store_took(self, seconds: float) -> None:
        """Count time that a read of the store took.

        Raises:
            RequestError: the reads of this transaction have taken too long.
        """
        self._store_s += seconds
        if self._store_s - self._moved_s > limits.transaction_cpu_s_max / 2:
            self._moved_s = self._store_s
            self._moved_cpu_s = self._cpu_s()
            self._move_end()
        if self._store_s > limits.transaction_store_s_max:
            raise RequestError(
                f"reading took {self._store_s:.1f} s; the reads of one query or mutation may take "
                f"{limits.transaction_store_s_max:g} s. Read less at once",
                code="SystemTimeoutError",
                kind=ErrorKind.OVERLOADED,
            )


@dataclass(frozen=True, slots=True)
class MeteredSource:
    """A store whose reads are counted against a budget."""

    source: SnapshotSource
    budget: Budget

    def snapshot(self, ts: Timestamp | None = None) -> Snapshot:
        """Return the newest snapshot, or the one at exactly `ts`."""
        return _MeteredSnapshot(self.source.snapshot(ts), self.budget)


class _MeteredSnapshot:
    __slots__ = ("_budget", "_snapshot", "ts")

    def __init__(self, snapshot: Snapshot, budget: Budget) -> None:
        self.ts: Timestamp = snapshot.ts
        self._snapshot = snapshot
        self._budget = budget

    def get(self, table: int, id: str) -> bytes | None:
        began = perf_counter()
        found = self._snapshot.get(table, id)
        self._budget.store_took(perf_counter() - began)
        return found

    def scan(
        self, table: int, index: IndexId, interval: Interval, order: Order, limit: int
    ) -> list[Row]:
        began = perf_counter()
        rows = self._snapshot.scan(table, index, interval, order, limit)
        self._budget.store_took(perf_counter() - began)
        return rows

    def count(self, index: IndexId) -> int:
        began = perf_counter()
        count = self._snapshot.count(index)
        self._budget.store_took(perf_counter() - began)
        return count

    def text_statistics(self, index: IndexId, query: TextQuery) -> Statistics:
        began = perf_counter()
        found = self._snapshot.text_statistics(index, query)
        self._budget.store_took(perf_counter() - began)
        return found

    def text_hits(
        self, index: IndexId, query: TextQuery, statistics: Statistics, window: Window, limit: int
    ) -> list[Hit]:
        began = perf_counter()
        found = self._snapshot.text_hits(index, query, statistics, window, limit)
        self._budget.store_took(perf_counter() - began)
        return found

    def vector_hits(self, index: IndexId, query: VectorQuery, limit: int) -> list[VectorHit]:
        began = perf_counter()
        found = self._snapshot.vector_hits(index, query, limit)
        self._budget.store_took(perf_counter() - began)
        return found

    def close(self) -> None:
        self._snapshot.close()

    def __enter__(self) -> _MeteredSnapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class MemoryCeiling:
    """A bound on what a process may take beyond what it has now.

    Where the system keeps no such bound (it is Linux's RLIMIT_DATA), there is none.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        try:
            # Kept open: it is read anew from its beginning each time.
            self._statm: int | None = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._statm = None
        self._base = self._data_bytes()
        if self._base is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            resource.setrlimit(resource.RLIMIT_DATA, (self._base + bytes_max, hard))

    @property
    def is_near(self) -> bool:
        """Return whether more than half is taken: what is kept between runs has grown."""
        now = self._data_bytes()
        if now is None or self._base is None:
            return False
        return now - self._base > self._bytes_max // 2

    def _data_bytes(self) -> int | None:
        if self._statm is None:
            return None
        fields = os.pread(self._statm, _STATM_BYTES, 0).split()
        return int(fields[_DATA_PAGES]) * resource.getpagesize()
