"""The processes that run the queries and mutations of one release.

What no process has taken yet waits in a queue that is fair to clients (`camber.runtime.fair_queue`).
A process runs one transaction at a time, in the order in which they were sent to it; a few wait in
its socket so that it never waits for us. Whatever stands at the head of a process is what it runs.
Since a process never writes, a run whose process is lost can be repeated elsewhere: those that
waited behind it always, the head itself a few times, in case that it was the head that ended it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from camber import limits
from camber.errors import DeveloperError, FeatureUnavailable, Overloaded
from camber.functions.loading import LoadError
from camber.host import Host
from camber.runtime import frames
from camber.runtime.fair_queue import FairQueue, Lane
from camber.runtime.frames import FromExecutor, ToExecutor
from camber.runtime.processes import (
    ExecutorEnded,
    ExecutorProcess,
    Launcher,
    Output,
    ended,
    ending_of,
)
from camber.runtime.program import Role

_log = logging.getLogger("camber.executors")

#: How often it is looked whether a process has run one thing for too long, in seconds.
_LOOK_S: Final = 0.02
#: Before a process is started in place of one that did not start, in seconds; doubled each time.
_PAUSE_S_MIN: Final = 0.1
_PAUSE_S_MAX: Final = 5.0
#: How long a process that was told to end may take, in seconds.
_STOP_S: Final = 2.0


#: Makes the message of a request, for its id and the process that it goes to.
Make: TypeAlias = Callable[[int, ExecutorProcess], ToExecutor]


class TransactionLost(DeveloperError):
    """A transaction that ended its process, or had to be ended with it; nothing was written."""

    code = "TransactionLost"


@dataclass(eq=False, slots=True)
class _Job:
    """One request, until it is answered. `make` gives its message for an id and a process."""

    source: str
    make: Make
    done: asyncio.Future[FromExecutor]
    since: float
    losses: int = 0
    #: Set for work of our own, which is not bounded as user code is.
    is_unbounded: bool = False


@dataclass(eq=False, slots=True)
class _Seat:
    """A process of the pool and what was sent to it, in order: the first is what it runs."""

    process: ExecutorProcess
    #: When it was seated.
    since: float
    jobs: dict[int, _Job] = field(default_factory=dict)
    #: Since when the first has been the first.
    head_since: float = 0.0
    #: The first runs for long: nothing is sent behind it.
    is_slow: bool = False
    #: Why we ended it.
    verdict: DeveloperError | None = None


class TransactionPool:
    """Runs requests on `size` processes. Lives on the event loop.

    `first` has loaded the release already; the others are started at once.
    """

    def __init__(self, *, host: Host, launcher: Launcher, size: int, release: str) -> None:
        self._host = host
        self._launcher = launcher
        self._size = size
        self._release = release
        self._seats: dict[ExecutorProcess, _Seat] = {}
        self._queue: FairQueue[_Job] = FairQueue()
        self._ids = itertools.count(1)
        self._starting = 0
        self._busy = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        #: Processes that have ended without being told to.
        self.losses = 0
        #: Another release serves: processes are there while something runs, and one is enough.
        self._is_resting = False
        self._watch = host.spawn("executors watch", self._look())
        self._resting: asyncio.Task[None] | None = None
        #: Something runs, or a process was started that nothing may need any more.
        self._stirred = asyncio.Event()
        self._starters: set[asyncio.Task[None]] = set()
        #: What the processes ran that are lost, until it is known how they ended.
        self._limbo: set[_Job] = set()
        #: What finds out how processes ended, and what starts others later.
        self._aftermath: set[asyncio.Task[None]] = set()

    async def open(self) -> ExecutorProcess:
        """Start the first process and return it; the others follow.

        Raises:
            LoadError: the release does not load.
            ExecutorEnded: the process ended meanwhile.
        """
        process = await self._launcher.launch(Role.TRANSACTIONS, self, Output.WHOLE)
        self._seat(process)
        return process

    def fill(self) -> None:
        """Start the processes that are missing."""
        size = 1 if self._is_resting else self._size
        while not self._is_closed and len(self._seats) + self._starting < size:
            self._starting += 1
            starter = self._host.spawn("executor start", self._start_one())
            self._starters.add(starter)
            starter.add_done_callback(self._starters.discard)

    def run(self, source: str, make: Make, lane: Lane, client: str) -> asyncio.Future[FromExecutor]:
        """Send a request of a client to a process when it is its turn; return its answer.

        Raises:
            Overloaded: too many requests wait, or this one has waited for too long.
            FeatureUnavailable: no process can be started.
            TransactionLost: it ended its processes, or ran for too long.
        """
        if self._is_closed:
            raise FeatureUnavailable(f"release {self._release} does not run any more; try again")
        if len(self._queue) >= limits.executor_queue_max:
            raise Overloaded(
                f"{len(self._queue)} requests wait to be run, the most that may; try again later",
                code="ExecuteFullError",
            )
        job = _Job(
            source,
            make,
            asyncio.get_running_loop().create_future(),
            self._host.monotonic(),
            is_unbounded=lane is Lane.OWN,
        )
        self._queue.put(job, lane, client)
        self._idle.clear()
        self._stirred.set()
        if not job.is_unbounded or not self._seats:
            # Not for a push that may fail: it needs the one process that it has.
            self.fill()
        self._pump()
        return job.done

    def serve(self) -> None:
        """Start the processes that are missing: the release serves from now on."""
        self._is_resting = False
        self.fill()

    def rest(self) -> None:
        """End the processes once nothing has run for a while; what comes later starts one."""
        if not self._is_resting and not self._is_closed:
            self._is_resting = True
            self._stirred.set()
            if self._resting is None or self._resting.done():
                self._resting = self._host.spawn("executors rest", self._rest())

    async def _rest(self) -> None:
        while self._is_resting:
            await self._idle.wait()
            await self._host.sleep(limits.executor_linger_s)
            if self._idle.is_set() and self._may_rest():
                self._stirred.clear()
                await self._end([*self._seats])
                await self._stirred.wait()

    def _may_rest(self) -> bool:
        # Asked anew after each wait: the release may serve again.
        return self._is_resting

    @property
    def root(self) -> Path:
        """Return where the processes load the release from."""
        return Path(self._launcher.start.root)

    @property
    def in_flight(self) -> int:
        """Return how many requests run or wait."""
        sent = sum(len(seat.jobs) for seat in self._seats.values())
        return len(self._queue) + sent + len(self._limbo)

    @property
    def waiting(self) -> int:
        """Return how many requests wait to be sent to a process."""
        return len(self._queue)

    @property
    def pids(self) -> list[int]:
        """Return the numbers of the processes."""
        return [process.pid for process in self._seats]

    async def close(self) -> None:
        """Let what was accepted finish, then end the processes."""
        # Again and again: somebody may have come between the end of the last one and our turn.
        while not self._idle.is_set():
            await self._idle.wait()
        self._is_closed = True
        tasks = [self._watch, *self._starters]
        if self._resting is not None:
            tasks.append(self._resting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end([*self._seats])
        for task in self._aftermath:
            task.cancel()
        await asyncio.gather(*self._aftermath, return_exceptions=True)

    async def _end(self, processes: list[ExecutorProcess]) -> None:
        for process in processes:
            # Not missed when it is lost: it has been told to end.
            del self._seats[process]
            process.send(frames.Stop(grace_s=0))
        await asyncio.gather(*(ended(process, within_s=_STOP_S) for process in processes))

    # Sending.

    def _pump(self) -> None:
        """Send what waits to the processes that have the least to do."""
        while self._queue and (seat := self._idlest()) is not None:
            job = self._queue.take()
            if not job.done.done():
                self._send(seat, job)
        if self._queue or self._limbo or any(seat.jobs for seat in self._seats.values()):
            self._busy.set()
        else:
            self._busy.clear()
            self._idle.set()

    def _idlest(self) -> _Seat | None:
        """Return the process that has the least to do, if there is one that may get more."""
        idlest, least = None, limits.executor_pipeline_max
        for seat in self._seats.values():
            if len(seat.jobs) < least and not seat.is_slow:
                idlest, least = seat, len(seat.jobs)
        return idlest

    def _send(self, seat: _Seat, job: _Job) -> None:
        id_ = next(self._ids)
        try:
            seat.process.send(job.make(id_, seat.process))
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            job.done.set_exception(error)
            return
        if not seat.jobs:
            seat.head_since = self._host.monotonic()
        seat.jobs[id_] = job

    # What processes say.

    def received(self, process: ExecutorProcess, message: FromExecutor) -> None:
        """Take in an answer."""
        seat = self._seats.get(process)
        if seat is None:
            return
        match message:
            case (
                frames.QueryDone()
                | frames.MutationDone()
                | frames.ExplanationDone()
                | frames.Raised()
            ):
                self._answered(seat, message.id, message)
                if message.leaving:
                    self._leave(seat)
            case frames.CheckDone() | frames.DescriptionDone():
                self._answered(seat, message.id, message)
            case frames.Exhausted(id=id_):
                job = seat.jobs.pop(id_, None)
                self._leave(seat)
                if job is not None:
                    self._lose(job, _out_of_memory)
            case _:
                msg = f"a process for transactions has sent {type(message).__name__}"
                raise AssertionError(msg)
        self._pump()

    def _answered(self, seat: _Seat, id_: int, message: FromExecutor) -> None:
        job = seat.jobs.pop(id_, None)
        seat.head_since = self._host.monotonic()
        seat.is_slow = False
        # One that was given to another process may have been begun here before it was told so.
        if job is not None and not job.done.done():
            job.done.set_result(message)

    def _leave(self, seat: _Seat) -> None:
        """Take nothing more to a process that ends; start another in its place."""
        self._take_back(seat, list(seat.jobs))
        del self._seats[seat.process]
        # Threads that user code has started may keep it from its end.
        self._after("executor leaves", ended(seat.process, within_s=_STOP_S))
        self.fill()

    def lost(self, process: ExecutorProcess) -> None:
        """Note that a process has ended: repeat elsewhere what it had not answered."""
        seat = self._seats.pop(process, None)
        if seat is None:
            return
        self.losses += 1
        ids = list(seat.jobs)
        head = seat.jobs.pop(ids[0]) if ids else None
        if head is not None:
            self._limbo.add(head)
        self._take_back(seat, ids[1:])
        self._after("executor lost", self._bury(seat, head))
        self._pump()
        if head is None and self._host.monotonic() - seat.since < _PAUSE_S_MAX:
            # One that ends by itself is not started again and again as fast as can be.
            self._after("executors fill", self._fill_later())
        else:
            self.fill()

    def _after(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._host.spawn(name, coroutine)
        self._aftermath.add(task)
        task.add_done_callback(self._aftermath.discard)

    async def _fill_later(self) -> None:
        await self._host.sleep(_PAUSE_S_MAX)
        self.fill()

    async def _bury(self, seat: _Seat, head: _Job | None) -> None:
        """Find out how a process ended, and what becomes of what it ran."""
        status = await seat.process.status()
        doing = "while idle" if head is None else f"while it ran {head.source}"
        _log.warning("executor %d %s %s", seat.process.pid, ending_of(status), doing)
        if head is None:
            return
        self._limbo.discard(head)
        if seat.verdict is not None:
            _fail(head, seat.verdict)
        elif status == -signal.SIGPROF:
            _fail(head, _out_of_time(head))
        else:
            self._lose(head, _ended_its_process)
        self._pump()

    def _lose(self, job: _Job, error: Callable[[_Job], DeveloperError]) -> None:
        job.losses += 1
        if job.losses >= limits.executor_losses_max:
            _fail(job, error(job))
        else:
            self._queue.put_back(job)

    def _take_back(self, seat: _Seat, ids: list[int]) -> None:
        """Let other processes run what was sent to this one and has not begun."""
        for id_ in reversed(ids):
            self._queue.put_back(seat.jobs.pop(id_))

    # Watching.

    async def _look(self) -> None:
        while True:
            await self._busy.wait()
            await self._host.sleep(_LOOK_S)
            now = self._host.monotonic()
            for seat in list(self._seats.values()):
                self._look_at(seat, now)
            self._expire(now)
            self._pump()

    def _look_at(self, seat: _Seat, now: float) -> None:
        head = next(iter(seat.jobs.values()), None)
        if head is None:
            return
        ran_s = now - seat.head_since
        if ran_s > limits.transaction_s_end and not head.is_unbounded:
            seat.verdict = TransactionLost(
                f"{head.source} has run for {limits.transaction_s_end:.0f} s, the most for one "
                "transaction, and was ended with its process. Do less at once; what waits for "
                "something belongs in an action",
                code="UserTimeout",
            )
            _log.warning("executor %d is ended: %s", seat.process.pid, seat.verdict.sentence)
            seat.process.kill()
        elif ran_s > limits.executor_slow_s and not seat.is_slow:
            seat.is_slow = True
            behind = list(seat.jobs)[1:]
            seat.process.send(frames.Forget(ids=behind))
            self._take_back(seat, behind)

    def _expire(self, now: float) -> None:
        for job in self._queue.oldest():
            if now - job.since > limits.executor_wait_s_max:
                # Where it waits it is passed over.
                _fail(
                    job,
                    Overloaded(
                        f"{job.source} has waited {limits.executor_wait_s_max:.0f} s to be run; "
                        "try again later",
                        code="ExpiredInQueue",
                    ),
                )

    # Starting.

    async def _start_one(self) -> None:
        try:
            process = await self._launched()
        finally:
            self._starting -= 1
        self._seat(process)
        self._pump()

    async def _launched(self) -> ExecutorProcess:
        pause = _PAUSE_S_MIN
        while True:
            try:
                return await self._launcher.launch(Role.TRANSACTIONS, self, Output.LOADED)
            except (LoadError, ExecutorEnded, OSError) as error:
                _log.warning("an executor of %s did not start: %s", self._release, error)
                self._refuse(error)
                await self._host.sleep(pause)
                pause = min(pause * 2, _PAUSE_S_MAX)

    def _refuse(self, error: Exception) -> None:
        """Tell whoever waits why nothing runs, unless something does."""
        while self._queue and not self._seats:
            msg = f"no process can be started for release {self._release}: {error}"
            _fail(self._queue.take(), FeatureUnavailable(msg))

    def _seat(self, process: ExecutorProcess) -> None:
        if process.is_lost:
            self.fill()
            return
        self._seats[process] = _Seat(process, self._host.monotonic())
        self._stirred.set()


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _ended_its_process(job: _Job) -> DeveloperError:
    return TransactionLost(
        f"{job.source} ended its process, {job.losses} times: a crash in native code, or the "
        "system took its memory back. Nothing was written; the server's output says more"
    )


def _out_of_time(job: _Job) -> DeveloperError:
    return TransactionLost(
        f"{job.source} used {limits.transaction_cpu_s_max:g} s of processor time, the most for one "
        "query or mutation, and could not be interrupted: it was ended with its process. Do less at "
        "once, or move the work to an action",
        code="UserTimeout",
    )


def _out_of_memory(job: _Job) -> DeveloperError:
    mebibytes = limits.transaction_memory_bytes_max // 2**20
    return TransactionLost(
        f"{job.source} used more than {mebibytes} MiB of memory, the most for one transaction. "
        "Read less at once, or paginate",
        code="OutOfMemory",
    )
