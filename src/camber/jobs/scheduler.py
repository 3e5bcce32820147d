"""The scheduler: starts what is due, as it is due, and notes what came of it.

What is to run is in the store. The scheduler reads the first few jobs of each lane, starts those
whose time has come, and sleeps until the next: a hundred thousand that wait cost nothing. Only what
runs is known here, so that a server that is killed has nothing to lose.

- A mutation notes in its own commit that it has run. Until then it is to run: it runs exactly once.
- That an action begins is durable before it does. From then on it is not begun again: it runs at
  most once, unless whoever scheduled it has asked for more attempts.

Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from math import inf
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from camber import limits
from camber.engine import scheduled, system_tables
from camber.engine.engine import Engine
from camber.engine.scheduled import Job, Lane, Place
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import FeatureUnavailable, Overloaded, RequestError
from camber.functions.definition import FunctionKind
from camber.functions.logs import LogLine
from camber.identity.identity import Anonymous
from camber.jobs import crons
from camber.jobs.crons import CronRun, PassedOver
from camber.measures import SECONDS, Gauge, Histogram
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.runtime.function_log import Progress
from camber.runtime.runtime import Runtime
from camber.storage.store import Commit
from camber.values.packed import unpack
from camber.values.wire import encode_value

R = TypeVar("R")

_log = logging.getLogger("camber.jobs")

#: Between two attempts to note something while the store does not write, in seconds.
_NOTE_PAUSE_S: Final = 1.0
#: The longest pause while nothing can be started.
_PAUSE_S_MAX: Final = 30.0
#: Actions of a server that has ended, whose end is noted in one transaction.
_LOST_AT_ONCE: Final = 100
#: Who asks for what is scheduled, as against clients: they take turns.
_CLIENT: Final = "scheduler"
_SLOTS: Final = {
    Lane.MUTATION: limits.scheduled_mutations_concurrent_max,
    Lane.ACTION: limits.scheduled_actions_concurrent_max,
}
_LOST: Final = (
    "transient error: the server ended while this action ran. It may have done part of its work, "
    "and is not run again"
)
_SERVER_ENDED: Final = "the server ended before that was noted"
_UNKNOWN: Final = "the server failed; its output says why"


class Outcome(Enum):
    """What a run came to."""

    SUCCESS = "success"
    FAILURE = "failure"
    #: The server could not run it, or it is tried again as was asked for.
    POSTPONED = "postponed"


class Unknown(Enum):
    """Why it is not known what kind of function a job has."""

    #: The serving release has none of its path: it fails, and says so.
    NO_FUNCTION = "no function"
    #: No release serves yet: it waits.
    NOTHING_SERVES = "nothing serves"


@dataclass(frozen=True, slots=True)
class _Running:
    """A run, and the lane in which it takes a place."""

    lane: Lane
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a run has ended. `value` is packed."""

    error: str | None
    value: bytes | None = None
    log_lines: tuple[str, ...] = ()


class Scheduler:
    """Runs scheduled functions and cron jobs of one deployment."""

    def __init__(self, *, engine: Engine, runtime: Runtime) -> None:
        self._engine = engine
        self._runtime = runtime
        self._host = engine.host
        #: What runs, by the id of what it runs for.
        self._running: dict[str, _Running] = {}
        self._wake = asyncio.Event()
        #: Until when the loop sleeps: what is due before that wakes it.
        self._asleep_until_ms = inf
        self._is_stopping = False
        self._has_recovered = False
        #: Actions of which it is not known whether it is noted that they have begun.
        self._unsure: list[Job] = []
        #: For metrics: how long after its time each run began, and what came of it.
        self.lateness_s = Histogram(SECONDS)
        self.outcomes: Counter[Outcome] = Counter()
        engine.on_publish(self._published)

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Return what runs, and how much there is to run."""
        return [
            Gauge(
                name="camber_scheduled_running",
                description="Scheduled functions and cron jobs that run.",
                labels={"lane": lane.value},
                read=lambda lane=lane: self._taken(lane),  # type: ignore[misc]
            )
            for lane in _SLOTS
        ] + [
            Gauge(
                name="camber_scheduled_waiting",
                description="Scheduled functions and cron jobs that wait for their time or run.",
                labels={},
                read=lambda: self._runtime.backlog.jobs,
            )
        ]

    @property
    def is_running(self) -> bool:
        """Return whether anything runs."""
        return bool(self._running)

    # The loop.

    async def run(self) -> None:
        """Start what is due, until cancelled."""
        pause_s = limits.schedule_backoff_s
        while True:
            self._wake.clear()
            # Whatever is committed from here on may have been missed.
            self._asleep_until_ms = inf
            try:
                due_ms = await self.start_due()
            # A full disk today is no reason to start nothing tomorrow.
            except RequestError as error:
                _log.warning("what is due could not be started, and is again soon: %s", error)
            except Exception:  # noqa: BLE001  # told in the log
                _log.exception("the scheduler met a bug; it goes on")
            else:
                pause_s = limits.schedule_backoff_s
                await self._sleep_until(due_ms)
                continue
            await self._host.sleep(pause_s)
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _sleep_until(self, due_ms: float | None) -> None:
        """Return at a time, or when there may be something to do before."""
        self._asleep_until_ms = inf if due_ms is None else due_ms
        seconds = limits.schedule_sleep_s_max
        if due_ms is not None:
            seconds = min(seconds, max(0.0, (due_ms - self._now_ms()) / 1e3))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _published(self, commits: Sequence[Commit]) -> None:
        """Count jobs, and wake the loop if one is due before it would wake by itself."""
        for commit in commits:
            for change in commit.changes:
                if change.table == system_tables.JOBS_NUMBER:
                    self._runtime.backlog.count(change)
                    due_ms = inf if change.after is None else scheduled.due_of(change.after)
                    if due_ms < self._asleep_until_ms:
                        self._wake.set()
                elif change.table == system_tables.RELEASES_NUMBER:
                    self._wake.set()

    async def start_due(self) -> float | None:
        """Start what is due and finds room; return when the next one is due, if it has room then.

        What has run under a server that was killed is noted first.
        """
        if not self._has_recovered:
            await self._recover()
            self._has_recovered = True
        if self._unsure:
            await self._look_again()
        waits_until_ms: float | None = None
        actions: list[Job] = []
        for lane in _SLOTS:
            for job in self._first(lane):
                late_s = (self._now_ms() - job.due) / 1e3
                if late_s < 0:
                    waits_until_ms = min(job.due, waits_until_ms or job.due)
                    break
                kind = self._kind(job)
                if kind is Unknown.NOTHING_SERVES:
                    return None
                self.lateness_s.observe(late_s)
                if kind in {FunctionKind.MUTATION, Unknown.NO_FUNCTION}:
                    self._spawn(job, self._mutate(job))
                else:
                    actions.append(job)
        if actions:
            await self._begin(actions)
        return waits_until_ms

    def _first(self, lane: Lane) -> list[Job]:
        """Return the jobs of a lane that are due, as many as there is room for, and the next one.

        No more than these is read, however many there are.
        """
        room = _SLOTS[lane] - self._taken(lane)
        if room <= 0 or self._is_stopping:
            return []
        with closing(self._engine.begin("scheduler")) as transaction:
            jobs = scheduled.jobs_due(transaction, lane, self._now_ms(), most=_SLOTS[lane] + 1)
        return [job for job in jobs if job.of not in self._running][:room]

    def next_due(self) -> Job | None:
        """Return the job that is due next, of those that wait."""
        with closing(self._engine.begin("scheduler")) as transaction:
            jobs = [job for lane in _SLOTS for job in scheduled.jobs_in(transaction, lane, most=1)]
        return min(jobs, key=lambda job: job.due, default=None)

    async def run_due(self) -> int:
        """Start what is due and finds room; return how many when all of them have ended."""
        await self.start_due()
        tasks = [each.task for each in self._running.values()]
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)

    def stop(self) -> None:
        """Start nothing more."""
        self._is_stopping = True

    async def drain(self, grace_s: float) -> None:
        """Start nothing more; return when what runs has ended, or after `grace_s` seconds."""
        self.stop()
        if self._running:
            tasks = [each.task for each in self._running.values()]
            await asyncio.wait(tasks, timeout=grace_s)

    async def ended(self, within_s: float) -> None:
        """Return when what runs has ended, and that is noted; what takes longer is left as it is."""
        tasks = [each.task for each in self._running.values()]
        if tasks:
            _, lasting = await asyncio.wait(tasks, timeout=within_s)
            for task in lasting:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # What operators do.

    async def cancel(self, id: str) -> None:
        """Cancel a scheduled function, as `ctx.scheduler.cancel` does."""
        await self._write("cancel", lambda tx: scheduled.cancel(tx, id))

    async def cancel_all(self, path: str | None, component: str) -> int:
        """Cancel what waits to run of a component: functions of a path, or all; return how many."""
        most = limits.scheduled_cancelled
        place: Place | None = scheduled.FIRST_PLACE
        total = 0
        while place is not None:
            cancelled = await self._write(
                "cancel",
                partial(
                    scheduled.cancel_some, path=path, component=component, place=place, most=most
                ),
            )
            total += cancelled.count
            place = cancelled.rest
            # Where nothing is cancelled nothing is waited for: others come in between.
            await self._host.sleep(0)
        return total

    # Running.

    def _kind(self, job: Job) -> FunctionKind | Unknown:
        """Return what kind of function the serving release has for a job."""
        try:
            return self._runtime.kind_of(self._call(job)) or Unknown.NO_FUNCTION
        except FeatureUnavailable:
            return Unknown.NOTHING_SERVES

    def _call(self, job: Job) -> FunctionCall:
        return FunctionCall(
            path=job.path,
            component=job.component,
            # A mutation reads them in its own transaction.
            arguments=b"",
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id=self._runtime.new_request_id(),
            origin=Origin.CRON if job.is_cron else Origin.SCHEDULER,
            client=_CLIENT,
            job=job.of,
        )

    def _taken(self, lane: Lane) -> int:
        return sum(each.lane is lane for each in self._running.values())

    def _spawn(self, job: Job, running: Coroutine[Any, Any, None]) -> None:
        task = self._host.spawn(f"scheduled {job.path}", running)
        # It has its place in the lane in which it waited, whatever its function has become since.
        self._running[job.of] = _Running(job.lane, task)
        task.add_done_callback(lambda task: self._gone(job, task))

    def _gone(self, job: Job, task: asyncio.Task[None]) -> None:
        del self._running[job.of]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("what came of scheduled %s is not noted: %s", job.path, error)

    async def _mutate(self, job: Job) -> None:
        """Run a mutation until it has committed, or has failed by itself."""
        began_s = self._host.monotonic()
        try:
            result = await self._runtime.mutation(self._call(job))
        except RequestError as error:
            await self._postpone(job, error, self._backoff_s(job.attempt))
            return
        # Our own bug: the operator reads it, and it is tried again as after any failure of ours.
        except Exception as error:  # noqa: BLE001
            _log.exception("scheduled %s met a bug", job.path)
            await self._postpone(job, error, self._backoff_s(job.attempt))
            return
        failure = result.failure
        if (
            failure is not None
            and failure.was_lost
            and job.attempt + 1 < limits.schedule_losses_max
        ):
            await self._postpone(job, failure.headline, self._backoff_s(job.attempt))
            return
        ended = _Ended(
            error=None if failure is None else failure.headline,
            value=result.value,
            log_lines=result.log_lines,
        )
        if job.is_cron or failure is not None:
            await self._note_end(job, ended, began_s)
        else:
            self.outcomes[Outcome.SUCCESS] += 1

    async def _begin(self, jobs: list[Job]) -> None:
        """Begin actions: nothing runs before it is durable that it does."""

        def start(transaction: Transaction) -> list[bytes | None]:
            return [scheduled.start(transaction, job) for job in jobs]

        try:
            started = await self._write("start actions", start)
        except BaseException:
            # A write that is reported as failed may have been made nevertheless.
            self._unsure = jobs
            raise
        for job, arguments in zip(jobs, started, strict=True):
            if arguments is not None:
                self._spawn(job, self._act(job, arguments))

    async def _look_again(self) -> None:
        """Run the actions of which it was not known whether they have begun, if they have."""
        await self._engine.committer.opened()
        jobs, self._unsure = self._unsure, []
        with closing(self._engine.begin("scheduler")) as transaction:
            begun = [scheduled.begun(transaction, job) for job in jobs]
        for job, arguments in zip(jobs, begun, strict=True):
            if arguments is not None:
                self._spawn(job, self._act(job, arguments))

    async def _act(self, job: Job, arguments: bytes) -> None:
        """Run an action, or a query, to its end."""
        began_s = self._host.monotonic()
        try:
            ended = await self._run_once(replace(self._call(job), arguments=arguments))
        except (Overloaded, FeatureUnavailable) as error:
            # It has not begun.
            await self._postpone(job, error, self._backoff_s(job.attempt))
            return
        except RequestError as error:
            ended = _Ended(error=str(error))
        # Our own bug: the operator reads it. How far the action came nobody knows.
        except Exception:  # noqa: BLE001
            _log.exception("scheduled %s met a bug", job.path)
            ended = _Ended(error=_UNKNOWN)
        if ended.error is not None and _has_attempts(job):
            await self._postpone(job, ended.error, self._pause_s(job))
            return
        await self._note_end(job, ended, began_s)

    async def _run_once(self, call: FunctionCall) -> _Ended:
        # What the function is now: a push may have been meanwhile.
        if self._runtime.kind_of(call) is FunctionKind.QUERY:
            read = await self._runtime.query(call)
            failure, value, lines = read.failure, read.packed, read.log_lines
        else:
            acted = await self._runtime.action(call)
            failure, value, lines = acted.failure, acted.value, acted.log_lines
        return _Ended(
            error=None if failure is None else failure.headline, value=value, log_lines=lines
        )

    # What came of it.

    async def _note_end(self, job: Job, ended: _Ended, began_s: float) -> None:
        self.outcomes[Outcome.SUCCESS if ended.error is None else Outcome.FAILURE] += 1
        if not job.is_cron:
            await self._note(lambda tx: scheduled.finish(tx, job, ended.error))
            return
        run = CronRun(
            due_ms=job.planned_ms,
            duration_s=self._host.monotonic() - began_s,
            error=ended.error,
            result=None if ended.value is None or ended.error is not None else _shown(ended.value),
            log_lines=crons.shortened_lines(ended.log_lines),
        )
        began_ms = self._now_ms() - run.duration_s * 1e3
        late_s = max(0.0, began_ms - run.due_ms) / 1e3
        await self._note_cron(
            job, run, f"it began {late_s:.1f} s late and took {run.duration_s:.1f} s"
        )

    async def _note_cron(self, job: Job, run: CronRun, happened: str) -> None:
        """Note how a run of a cron job has ended; `happened` is why others may be left out."""
        passed_over = await self._note(lambda tx: self._ended(tx, job, run))
        if passed_over is not None:
            self._tell_passed_over(job, run, passed_over, happened)

    def _ended(self, transaction: Transaction, job: Job, run: CronRun) -> PassedOver | None:
        return crons.ended(transaction, job, run, self._lane(job), self._now_ms())

    def _lane(self, job: Job) -> Lane:
        if job.retry is not None:
            return Lane.ACTION
        return Lane.ACTION if self._kind(job) is FunctionKind.ACTION else Lane.MUTATION

    def _tell_passed_over(
        self, job: Job, run: CronRun, passed_over: PassedOver, happened: str
    ) -> None:
        due = datetime.fromtimestamp(run.due_ms / 1e3, UTC).isoformat(timespec="seconds")
        runs = "1 run" if passed_over.count == 1 else f"{passed_over.count} runs"
        text = (
            f"SkippingPastScheduledRuns: {runs} of the cron job {passed_over.name!r} will not be "
            f"made up for: they were due before the one of {due} was over ({happened})"
        )
        log = self._runtime.log
        now_ms = int(self._now_ms())
        log.add(
            Progress(
                key=log.next_key(),
                kind=FunctionKind.ACTION
                if self._lane(job) is Lane.ACTION
                else FunctionKind.MUTATION,
                path=job.path,
                component=job.component,
                request_id=self._runtime.new_request_id(),
                execution_id=None,
                lines=(LogLine(level="WARN", messages=(text,), timestamp_ms=now_ms),),
            )
        )

    async def _postpone(self, job: Job, error: object, pause_s: float) -> None:
        self.outcomes[Outcome.POSTPONED] += 1
        _log.info("scheduled %s is tried again in %.1f s: %s", job.path, pause_s, error)
        has_run = await self._note(
            lambda tx: scheduled.postpone(tx, job, self._lane(job), self._now_ms() + pause_s * 1e3)
        )
        if has_run:
            run = CronRun(due_ms=job.planned_ms)
            await self._note_cron(job, run, "that it had run was found out late")

    def _backoff_s(self, attempt: int) -> float:
        """Return the pause after a run that came to nothing through no fault of the function."""
        return self._jitter() * min(
            limits.schedule_backoff_s * 2.0 ** min(attempt, 30), limits.schedule_backoff_s_max
        )

    def _pause_s(self, job: Job) -> float:
        """Return the pause that whoever scheduled an action has asked for."""
        assert job.retry is not None
        pause_s = job.retry.backoff_s * 2.0 ** min(job.attempt, 60)
        return self._jitter() * min(pause_s, job.retry.backoff_s_max)

    def _jitter(self) -> float:
        """Return a factor from 0.5 to 1.5."""
        return 0.5 + int.from_bytes(self._host.random_bytes(4), "big") / 2**32

    async def _recover(self) -> None:
        """Note what has come of runs that a server has left behind: nobody else can."""
        while lost := self._left_in(Lane.RUNNING):
            for job in lost:
                if _has_attempts(job):
                    await self._postpone(job, _LOST, self._pause_s(job))
                elif job.is_cron:
                    run = CronRun(due_ms=job.planned_ms, error=_LOST)
                    await self._note_cron(job, run, _SERVER_ENDED)
                else:
                    await self._note(partial(scheduled.finish, job=job, error=_LOST))
        while committed := self._left_in(Lane.COMMITTED):
            for job in committed:
                await self._note_cron(job, CronRun(due_ms=job.planned_ms), _SERVER_ENDED)

    def _left_in(self, lane: Lane) -> list[Job]:
        with closing(self._engine.begin("scheduler")) as transaction:
            return scheduled.jobs_in(transaction, lane, most=_LOST_AT_ONCE)

    async def _note(self, change: Callable[[Transaction], R]) -> R:
        """Make a change durable, however long the store cannot write."""
        while True:
            try:
                return await self._write("note what ran", change)
            except RequestError as error:
                if self._is_stopping:
                    raise
                _log.warning("what ran could not be noted, and is again in a moment: %s", error)
                await self._host.sleep(_NOTE_PAUSE_S)

    async def _write(self, what: str, change: Callable[[Transaction], R]) -> R:
        return await write(self._engine, f"scheduler: {what}", change)

    def _now_ms(self) -> float:
        return self._host.now_ns() / 1e6


def _has_attempts(job: Job) -> bool:
    return job.retry is not None and job.attempt + 1 < job.retry.max_attempts


def _shown(packed: bytes) -> str:
    """Return a result as JSON, or the beginning of a long one."""
    text = encode_value(unpack(packed)).decode()
    most = limits.cron_result_length_max
    return text if len(text) <= most else f"{text[:most]}…"
