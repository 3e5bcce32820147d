"""The one ordered door through which transactions commit.

A finished transaction is checked against every commit after its snapshot: those published and
those that wait to be made durable. One that passes gets the next timestamp and joins the group
that gathers while the previous group is being written; a group is published, commit by commit in
order, once the store has it. All of this runs on the event loop but the append itself, which runs
on the writer's thread.

If an append fails, its group and every transaction that was checked against it fail with it, and
nothing commits until the store has read back its newest timestamp.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from camber import limits
from camber.engine.transaction import FinishedTransaction
from camber.errors import Overloaded, RequestError, StorageFailed
from camber.host import Host, Worker
from camber.measures import SECONDS, SIZES, Histogram
from camber.occ.interval import IndexId
from camber.occ.write_log import WriteLog
from camber.occ.write_set import IndexWrites
from camber.storage.store import Commit, Store
from camber.values.timestamp import Timestamp

#: Between two attempts to find out where a store stands that failed to write.
_READ_BACK_PAUSE_S = 1.0

Published = Callable[[Sequence[Commit]], None]
Visible = Callable[[Timestamp], None]


class CommitConflict(Exception):  # not an error: the caller runs again
    """A commit at `ts` by `source` wrote what the transaction had read, in `index` if known."""

    def __init__(
        self, *, ts: Timestamp, source: str, place: str, index: IndexId | None = None
    ) -> None:
        super().__init__(f"{source} wrote {place} at {ts}")
        self.ts = ts
        self.source = source
        self.place = place
        self.index = index


@dataclass(slots=True, eq=False)
class _Waiting:
    """A commit that has its timestamp and is not durable yet."""

    commit: Commit
    writes: IndexWrites
    done: asyncio.Future[Timestamp]
    visible: Visible | None
    since_s: float


class Committer:
    """Orders, makes durable and publishes.

    On the loop, once per group: `apply` before the group's timestamp is the newest one, so that
    whoever begins at it finds what it needs, and `publish` after.
    """

    def __init__(
        self, *, host: Host, store: Store, writer: Worker, apply: Published, publish: Published
    ) -> None:
        self._host = host
        self._store = store
        self._writer = writer
        self._apply = apply
        self._publish = publish
        self._newest: Timestamp = store.newest_ts()
        self._assigned: Timestamp = self._newest
        self.write_log = WriteLog(floor=self._newest)
        self._waiting: list[_Waiting] = []
        self._writing: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()
        self._hold = asyncio.Lock()
        self._reading_back = False
        #: For metrics.
        self.conflicts = 0
        self.commit_s = Histogram(SECONDS)
        self.group_sizes = Histogram(SIZES)
        self._flusher: asyncio.Task[None] | None = None

    @property
    def newest_ts(self) -> Timestamp:
        """Return the newest published timestamp."""
        return self._newest

    def start(self) -> None:
        """Begin to write groups."""
        self._flusher = self._host.spawn("committer", self._flush_groups())

    async def stop(self) -> None:
        """Write what waits, then end."""
        await self._idle.wait()
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)

    async def commit(
        self, transaction: FinishedTransaction, *, visible: Visible | None = None
    ) -> Timestamp:
        """Commit and return the timestamp once the commit is durable and published.

        A transaction that changes nothing has committed at its snapshot. `visible` is called as
        the commit becomes so, before anybody is told what it touched.

        Raises:
            CommitConflict: a commit after the snapshot wrote what was read; run again.
            Overloaded: too many commits wait.
            RequestError: the store refused the write.
        """
        if not transaction.changes and not transaction.staged:
            return transaction.begin_ts
        await self.opened()
        return await self._submit(transaction, visible)

    async def _submit(
        self, transaction: FinishedTransaction, visible: Visible | None = None
    ) -> Timestamp:
        if len(self._waiting) >= limits.commit_queue_max:
            raise Overloaded(
                f"{len(self._waiting)} commits wait to be written, the most that may; "
                "try again later",
                code="CommitterFullError",
            )
        self._check(transaction)
        ts = max(self._assigned + 1, self._host.now_ns())
        self._assigned = ts
        commit = Commit(
            ts=ts,
            changes=transaction.stamped(ts),
            source=transaction.source,
            staged=transaction.staged,
        )
        done: asyncio.Future[Timestamp] = asyncio.get_running_loop().create_future()
        since_s = self._host.monotonic()
        self._waiting.append(_Waiting(commit, commit.index_writes(), done, visible, since_s))
        self._idle.clear()
        self._wake.set()
        # Shielded: whoever waits may be cancelled, but the commit is already on its way.
        return await asyncio.shield(done)

    def _check(self, transaction: FinishedTransaction) -> None:
        conflict = self.write_log.conflict(transaction.reads, since=transaction.begin_ts)
        if conflict is not None:
            self.conflicts += 1
            raise CommitConflict(
                ts=conflict.ts,
                source=conflict.source,
                place=conflict.place,
                index=conflict.index,
            )
        for waiting in (*self._writing, *self._waiting):
            if waiting.commit.ts <= transaction.begin_ts:
                continue
            place = transaction.reads.overlaps(waiting.writes)
            if place is not None:
                self.conflicts += 1
                raise CommitConflict(
                    ts=waiting.commit.ts,
                    source=waiting.commit.source,
                    place=str(place),
                    index=place[0],
                )

    async def published(self, ts: Timestamp) -> None:
        """Return once everything up to `ts` is published, or failed."""
        for waiting in (*self._writing, *self._waiting):
            if waiting.commit.ts == ts:
                await asyncio.wait([waiting.done])

    async def opened(self) -> None:
        """Return once commits are taken: after a failed write, when it is known what the store has."""
        # Again and again: somebody else may have closed the door before we got through it.
        while not self._open.is_set():
            await self._open.wait()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Callable[[FinishedTransaction], object]]:
        """Let nobody else commit within the block; yields what commits inside it.

        New commits wait at the door; those that are on their way are published first.
        """
        async with self._hold:
            self._open.clear()
            try:
                await self._idle.wait()
                yield self._submit
            finally:
                # After a failed write nobody commits before it is known what the store has.
                if not self._reading_back:
                    self._open.set()

    async def _flush_groups(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._writing = self._waiting[: limits.commit_group_max]
                del self._waiting[: limits.commit_group_max]
                await self._flush_one(self._writing)
                self._writing = []
            self._idle.set()

    async def _flush_one(self, group: list[_Waiting]) -> None:
        try:
            await self._writer.run(self._store.append, [waiting.commit for waiting in group])
        except Exception as error:  # noqa: BLE001  # all who wait are told
            await self._fail(group, error)
            return
        self._make_visible(group)
        now_s = self._host.monotonic()
        self.group_sizes.observe(len(group))
        for waiting in group:
            self.commit_s.observe(now_s - waiting.since_s)
            if not waiting.done.done():
                waiting.done.set_result(waiting.commit.ts)

    def _make_visible(self, group: Sequence[_Waiting]) -> None:
        """Publish commits that the store has; whoever is told of them may read them at once."""
        if not group:
            return
        commits = [waiting.commit for waiting in group]
        for waiting in group:
            self.write_log.append(waiting.commit.ts, waiting.writes, waiting.commit.source)
        self._apply(commits)
        self._newest = commits[-1].ts
        self.write_log.trim(now=self._newest)
        for waiting in group:
            if waiting.visible is not None:
                waiting.visible(waiting.commit.ts)
        self._publish(commits)

    async def _fail(self, group: list[_Waiting], error: Exception) -> None:
        """Fail a group and all that was checked against it; find out where the store stands."""
        failed = [*group, *self._waiting]
        self._waiting.clear()
        self._writing = []
        failure = error if isinstance(error, StorageFailed) else _unwritten(error)
        for waiting in failed:
            if not waiting.done.done():
                waiting.done.set_exception(failure)
        self._open.clear()
        self._reading_back = True
        try:
            newest = await self._read_back(failure)
        finally:
            self._reading_back = False
            if not self._hold.locked():
                self._open.set()
        # What the store says it has, it has, whatever the write reported: it is seen by all.
        self._make_visible([waiting for waiting in group if waiting.commit.ts <= newest])

    async def _read_back(self, failure: RequestError) -> Timestamp:
        while True:
            try:
                return await self._writer.run(self._store.newest_ts)
            except Exception as again:  # noqa: BLE001  # the store is down: keep asking
                failure.add_note(f"and could not read back: {again}")
                await self._host.sleep(_READ_BACK_PAUSE_S)


def _unwritten(error: Exception) -> RequestError:
    failure = RequestError(f"the store could not write: {error}", code="InternalServerError")
    failure.__cause__ = error
    return failure
