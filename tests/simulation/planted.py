"""Bugs that are planted on purpose: a simulation that does not find them proves nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

from camber.engine import catalog, scheduled, session_requests
from camber.engine.transaction import Transaction
from camber.functions import database
from camber.jobs import scheduler
from camber.jobs.scheduler import Scheduler
from camber.occ.read_set import ReadSet
from camber.runtime.results import QueryResult
from camber.runtime.transactions import TransactionRunner
from camber.storage.memory import MemoryStore
from tests.simulation.disk import Disk
from tests.simulation.host import SimulatedWorker


@contextlib.contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    was = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, was)


def _no_record() -> AbstractContextManager[None]:
    """A request that comes again is not looked up: it is done again."""
    return _patched(session_requests, "find", lambda transaction, record_id: None)


def _no_conflicts() -> AbstractContextManager[None]:
    """Mutations commit whatever was written since they read."""
    mutation = TransactionRunner.mutation

    def blind(self: TransactionRunner, call: Any, session: Any, transaction: Transaction) -> Any:
        executed = mutation(self, call, session, transaction)
        finished = replace(executed.transaction, reads=ReadSet())
        return replace(executed, transaction=finished)

    return _patched(TransactionRunner, "mutation", blind)


def _lost_invalidation() -> AbstractContextManager[None]:
    """Every fourth result that is watched is watched by nobody."""
    watch, count = QueryResult.watch, itertools.count(1)

    def forgetful(self: QueryResult, watcher: Any) -> None:
        if next(count) % 4:
            watch(self, watcher)

    return _patched(QueryResult, "watch", forgetful)


def _published_early() -> AbstractContextManager[None]:
    """A commit is seen and acknowledged as soon as the disk is asked to write it."""
    run = SimulatedWorker.run

    def hasty(self: SimulatedWorker, function: Any, *args: Any, **kwargs: Any) -> Any:
        written = run(self, function, *args, **kwargs)
        if getattr(function, "__name__", "") != "append":
            return written
        early = self._loop.create_future()
        early.set_result(None)
        return early

    return _patched(SimulatedWorker, "run", hasty)


def _not_synced() -> AbstractContextManager[None]:
    """The disk says that it has what it writes with the next group."""
    sync = Disk.sync

    def lazy(self: Disk) -> None:
        last = self._unsynced.pop()
        sync(self)
        self._unsynced.append(last)

    return _patched(Disk, "sync", lazy)


def _short_index() -> AbstractContextManager[None]:
    """An index that is built while the system serves lacks the last document of each bit."""
    build: Any = MemoryStore.build_index

    def short(self: MemoryStore, *of: Any) -> None:
        build(self, *of[:-1], list(of[-1])[:-1])

    return _patched(MemoryStore, "build_index", short)


def _runs_again() -> AbstractContextManager[None]:
    """A scheduled mutation that has run stays among those that are to run."""
    return _patched(scheduled, "succeed", lambda transaction, of: None)


def _ends_apart() -> AbstractContextManager[None]:
    """A scheduled mutation ends in a commit that its own need not wait for: it is lost with a server."""
    begin = scheduled.begin

    def early(transaction: Transaction, of: str) -> bytes | None:
        arguments = begin(transaction, of)
        if arguments is not None and transaction.now_ns % 8 == 0:
            scheduled.succeed(transaction, of)
            return None
        return arguments

    return _patched(scheduled, "begin", early)


@contextlib.contextmanager
def _acts_again() -> Iterator[None]:
    """An action that a server has left behind runs again, whatever it has done."""
    with (
        _patched(scheduler, "_has_attempts", lambda job: True),
        _patched(Scheduler, "_pause_s", lambda self, job: 0.1),
    ):
        yield


def _wrong_mount() -> AbstractContextManager[None]:
    """What is in a box within the right shelf is found in the left one's."""

    def confused(component: str, name: str) -> str:
        return catalog.full_name(component.replace("right/", "left/"), name)

    return _patched(database, "full_name", confused)


def _half_undone() -> AbstractContextManager[None]:
    """What a call has written stays, in a box, when it fails and its caller goes on."""
    insert = Transaction.insert

    def keeping(self: Transaction, table: str, *args: Any, **kwargs: Any) -> str:
        if "/box/" not in table:
            return insert(self, table, *args, **kwargs)
        undo, self._undo = self._undo, []
        try:
            return insert(self, table, *args, **kwargs)
        finally:
            self._undo = undo

    return _patched(Transaction, "insert", keeping)


def _lost_search() -> AbstractContextManager[None]:
    """Searches are not recorded: nobody who has searched is told of what is written."""
    return _patched(ReadSet, "record_search", lambda self, index, query: None)


def _late_words() -> AbstractContextManager[None]:
    """A mutation does not find by its words what it has written, nor misses what it has deleted."""
    return _patched(Transaction, "_own_texts", lambda self, index: [])


#: By name, what plants it.
PLANTED: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "no-record": _no_record,
    "no-conflicts": _no_conflicts,
    "lost-invalidation": _lost_invalidation,
    "published-early": _published_early,
    "not-synced": _not_synced,
    "short-index": _short_index,
    "runs-again": _runs_again,
    "ends-apart": _ends_apart,
    "acts-again": _acts_again,
    "wrong-mount": _wrong_mount,
    "half-undone": _half_undone,
    "lost-search": _lost_search,
    "late-words": _late_words,
}
