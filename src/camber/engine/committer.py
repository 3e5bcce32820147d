"""The one ordered door through which transactions commit.

A finished transaction is checked against every commit after its snapshot: those published and
those that wait to be made durable. One that passes is assigned the next timestamp and joins the
group that gathers while the previous group is being written; a group is published, commit by commit
in order, once the store has it. All of this runs on the event loop but the append itself, which
runs on the writer's thread.

What is assigned may be read before it is durable (`ahead`), by those who would lose otherwise. What
came of such a run may be told once its snapshot is durable too (`settled`).

If an append fails, its group and every transaction that was checked against it fail with it, what
has read them runs again, and nothing commits until the store has read back its newest timestamp.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from camber import limits
from camber.engine import system_tables
from camber.engine.transaction import FinishedTransaction
from camber.errors import Overloaded, RequestError, StorageFailed
from camber.host import Host, Worker
from camber.measures import SECONDS, SIZES, Histogram
from camber.occ.turns import Claim
from camber.occ.write_log import Conflict, WriteLog
from camber.storage.store import Commit, Store
from camber.values.timestamp import Timestamp

_log = logging.getLogger("camber.engine")

#: Between two attempts to find out where a store stands that failed to write.
_READ_BACK_PAUSE_S = 1.0
#: What commits to these tables changes is known from the moment on that it is published: what
#: there is to read and to run.
_STRUCTURE = frozenset(
    {system_tables.TABLES_NUMBER, system_tables.INDEXES_NUMBER, system_tables.RELEASES_NUMBER}
)

Published = Callable[[Sequence[Commit]], None]
Visible = Callable[[Timestamp], None]


class CommitConflict(Exception):  # not an error: the caller runs again
    """A commit wrote what the transaction had read, or one that it had read has failed."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(f"{conflict.source} wrote {conflict.place} at {conflict.ts}")
        self.conflict = conflict
        self.ts = conflict.ts
        self.source = conflict.source
        self.place = conflict.place


@dataclass(slots=True, eq=False)
class _Waiting:
    """A commit that has its timestamp and is not durable yet."""

    commit: Commit
    done: asyncio.Future[Timestamp]
    visible: Visible | None
    since_s: float
    #: Whether it leaves what there is to read and to run as it is.
    is_plain: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    """Timestamps after `after`, up to `upto`, of commits that have failed."""

    after: Timestamp
    upto: Timestamp


@dataclass(frozen=True, slots=True)
class Ahead:
    """Commits that are assigned and not durable yet, oldest first, up to `ts`.

    After a failed write the commits of earlier epochs count no more.
    """

    ts: Timestamp
    epoch: int
    commits: tuple[Commit, ...]


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
        #: Set while it is known what the store has.
        self._sound = asyncio.Event()
        self._sound.set()
        #: Failed writes of late, and how many there were.
        self._failed: list[_Failed] = []
        self._epoch = 0
        #: Who waits until timestamps are published, or have failed.
        self._settling: list[tuple[Timestamp, asyncio.Future[None]]] = []
        #: For metrics.
        self.conflicts = 0
        self.commit_s = Histogram(SECONDS)
        self.group_sizes = Histogram(SIZES)
        self._flusher: asyncio.Task[None] | None = None

    @property
    def newest_ts(self) -> Timestamp:
        """Return the newest published timestamp."""
        return self._newest

    @property
    def assigned_ts(self) -> Timestamp:
        """Return the newest timestamp that a commit has got."""
        return self._assigned

    @property
    def is_open(self) -> bool:
        """Return whether commits are taken."""
        return self._open.is_set()

    def start(self) -> None:
        """Begin to write groups."""
        self._flusher = self._host.spawn("committer", self._flush_groups())
        self._flusher.add_done_callback(_tell_of_bug)

    async def stop(self) -> None:
        """Write what waits, then end."""
        # Again and again: somebody may have come between the end of the last one and our turn.
        while not self._idle.is_set():
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
        return await self.submit(transaction, visible)

    def submit(
        self, transaction: FinishedTransaction, visible: Visible | None = None
    ) -> asyncio.Future[Timestamp]:
        """Assign a timestamp to a transaction that changes something, while the door is open.

        Returns what is done once the commit is durable and published. Whoever waits for it may be
        cancelled: the commit is on its way.

        Raises:
            CommitConflict: as `commit` does.
            Overloaded: too many commits wait.
        """
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
        self.write_log.append(ts, commit.writes, commit.source)
        waiting = _Waiting(
            commit,
            asyncio.get_running_loop().create_future(),
            visible,
            self._host.monotonic(),
            not commit.staged and _STRUCTURE.isdisjoint([c.table for c in commit.changes]),
        )
        self._waiting.append(waiting)
        self._idle.clear()
        self._wake.set()
        return waiting.done

    def _check(self, transaction: FinishedTransaction) -> None:
        conflict = self._failure_read(transaction.begin_ts) or self.write_log.conflict(
            transaction.reads, since=transaction.begin_ts
        )
        if conflict is not None:
            self.conflicts += 1
            raise CommitConflict(conflict)

    def _failure_read(self, ts: Timestamp) -> Conflict | None:
        """Return the failed commits that a snapshot at `ts` shows, as a conflict."""
        for failed in self._failed:
            if failed.after < ts <= failed.upto:
                return Conflict(ts=failed.upto, source="a write that failed")
        return None

    def ahead(self) -> Ahead | None:
        """Return what is assigned beyond the newest timestamp, or None if nothing is.

        Ends before a commit that changes what there is to read.
        """
        if not self._sound.is_set():
            return None
        commits: list[Commit] = []
        for waiting in (*self._writing, *self._waiting):
            if not waiting.is_plain:
                break
            commits.append(waiting.commit)
        if not commits:
            return None
        return Ahead(commits[-1].ts, self._epoch, tuple(commits))

    def ahead_of(self, claims: Iterable[Claim]) -> Ahead | None:
        """Return what is ahead if any of it wrote into one of `claims`, else None."""
        if not self._writing and not self._waiting:
            return None
        for index, prefix in claims:
            if self.write_log.wrote(index, prefix, since=self._newest):
                return self.ahead()
        return None

    def can_read(self, ts: Timestamp) -> bool:
        """Return whether a run that begins now may see the commit at `ts`."""
        if ts <= self._newest:
            return True
        ahead = self.ahead()
        return ahead is not None and ts <= ahead.ts

    async def published(self, ts: Timestamp) -> None:
        """Return once everything assigned up to `ts` is published, or has failed."""
        if ts > self._newest and (self._writing or self._waiting):
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settling.append((ts, settled))
            await settled

    async def settled(self, ts: Timestamp) -> bool:
        """Return whether a snapshot at `ts` holds, once that is known."""
        await self.published(ts)
        return self._failure_read(ts) is None

    def _settle(self) -> None:
        """Wake those who wait for what is published by now, or for what will not be."""
        upto = self._newest if self._writing or self._waiting else self._assigned
        waiting, self._settling = self._settling, []
        for ts, settled in waiting:
            if ts > upto:
                self._settling.append((ts, settled))
            elif not settled.done():
                settled.set_result(None)

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
                yield self._submit_held
            finally:
                # After a failed write nobody commits before it is known what the store has.
                if self._sound.is_set():
                    self._open.set()

    async def _submit_held(self, transaction: FinishedTransaction) -> Timestamp:
        await self._sound.wait()
        return await self.submit(transaction)

    async def _flush_groups(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._writing = self._waiting[: limits.commit_group_max]
                del self._waiting[: limits.commit_group_max]
                await self._flush_one(self._writing)
            self._idle.set()

    async def _flush_one(self, group: list[_Waiting]) -> None:
        try:
            await self._writer.run(self._store.append, [waiting.commit for waiting in group])
        except Exception as error:  # noqa: BLE001  # all who wait are told
            await self._fail(group, error)
            return
        self._writing = []
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
        self._apply(commits)
        self._newest = commits[-1].ts
        self.write_log.trim(now=self._newest)
        for waiting in group:
            if waiting.visible is not None:
                waiting.visible(waiting.commit.ts)
        self._publish(commits)
        if self._settling:
            self._settle()

    async def _fail(self, group: list[_Waiting], error: Exception) -> None:
        """Fail a group and all that was checked against it; find out where the store stands."""
        failed = [*group, *self._waiting]
        self._waiting.clear()
        failure = error if isinstance(error, StorageFailed) else _unwritten(error)
        # Before anybody is told, so that who runs again finds the door closed.
        self._open.clear()
        self._sound.clear()
        for waiting in failed:
            if not waiting.done.done():
                waiting.done.set_exception(failure)
        try:
            newest = max(self._newest, await self._read_back(failure))
            self._give_up(newest)
        finally:
            self._sound.set()
            if not self._hold.locked():
                self._open.set()
        self._writing = []
        # What the store says it has, it has, whatever the write reported: it is seen by all.
        self._make_visible([waiting for waiting in group if waiting.commit.ts <= newest])
        self._settle()

    def _give_up(self, after: Timestamp) -> None:
        """Forget the commits that have failed; what has read them counts no more."""
        self._epoch += 1
        self._failed = [each for each in self._failed if self.write_log.holds_since(each.upto)]
        self._failed.append(_Failed(after, self._assigned))
        self.write_log.retract(after=after)

    async def _read_back(self, failure: RequestError) -> Timestamp:
        while True:
            try:
                return await self._writer.run(self._store.newest_ts)
            except Exception as again:  # noqa: BLE001  # the store is down: keep asking
                failure.add_note(f"and could not read back: {again}")
                await self._host.sleep(_READ_BACK_PAUSE_S)


def _tell_of_bug(flusher: asyncio.Task[None]) -> None:
    """Say why nothing commits any more: everybody who commits from now on waits."""
    if not flusher.cancelled() and (error := flusher.exception()) is not None:
        _log.critical(
            "the committer met a bug; nothing commits until the server is started again",
            exc_info=error,
        )


def _unwritten(error: Exception) -> RequestError:
    failure = RequestError(f"the store could not write: {error}", code="InternalServerError")
    failure.__cause__ = error
    return failure
