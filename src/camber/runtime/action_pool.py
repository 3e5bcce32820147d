"""The processes that run the actions of one release.

Each has an event loop for hundreds of actions at once. There is one until it is full or blocked;
then another is started. An action is never repeated: one whose process is lost answers
`ActionLost`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from camber import limits
from camber.errors import ActionLost, DeveloperError, FeatureUnavailable, Overloaded, RequestError
from camber.functions.loading import LoadError
from camber.host import Host
from camber.runtime import frames
from camber.runtime.action_files import ActionFiles, FileSession
from camber.runtime.actions import FunctionRunner
from camber.runtime.exchanges import ServerEnd, too_many_requests
from camber.runtime.executor import FunctionCall, Progress
from camber.runtime.frames import FromExecutor, LoopStatus, ToExecutor
from camber.runtime.http_requests import Exchange, HttpRequest
from camber.runtime.processes import ExecutorEnded, ExecutorProcess, Launcher, Output, ended
from camber.runtime.program import Role
from camber.runtime.results import ActionResult, HttpResult
from camber.values.timestamp import Timestamp

_log = logging.getLogger("camber.executors")

#: How often the processes are looked at, in seconds.
_LOOK_S: Final = 0.5
#: How long a process that was told to end may take beyond its grace, in seconds.
_STOP_S: Final = 1.0


class CatalogClock(Protocol):
    """Knows since when the newest catalog holds."""

    def __call__(self) -> Timestamp:
        """Return since when."""


@dataclass(eq=False, slots=True)
class _Job:
    call: FunctionCall
    progress: Progress
    done: asyncio.Future[Any]
    since: float
    #: Of an HTTP request, to whom it is answered.
    client: ServerEnd | None = None
    #: What it has begun of files, if it has asked for any.
    files: FileSession | None = None


@dataclass(eq=False, slots=True)
class _Seat:
    """A process of the pool and the actions that run in it."""

    process: ExecutorProcess
    jobs: dict[int, _Job] = field(default_factory=dict)
    heard: float = 0.0
    #: Its event loop stands still: it gets no new work. And whether that has been told.
    is_blocked: bool = False
    is_told: bool = False


class ActionPool:
    """Runs actions. Lives on the event loop."""

    def __init__(
        self,
        *,
        host: Host,
        launcher: Launcher,
        size_max: int,
        runner: FunctionRunner,
        files: ActionFiles,
        catalog_since: CatalogClock,
    ) -> None:
        self._host = host
        self._launcher = launcher
        self._size_max = size_max
        self._runner = runner
        self._files = files
        self._catalog_since = catalog_since
        self._seats: dict[ExecutorProcess, _Seat] = {}
        self._ids = itertools.count(1)
        self._starting: asyncio.Task[ExecutorProcess] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._running = 0
        #: Of those, HTTP requests.
        self._answering = 0
        #: Processes that have ended without being told to.
        self.losses = 0
        self._losing: set[asyncio.Task[None]] = set()
        #: Those that were told to end, until they have.
        self._stopping: dict[ExecutorProcess, _Seat] = {}
        self._is_closed = False
        #: Something runs, or a process was started that nothing may need any more.
        self._stirred = asyncio.Event()
        self._is_resting = False
        self._resting: asyncio.Task[None] | None = None
        self._watch = host.spawn("actions watch", self._look())

    async def run(self, call: FunctionCall, progress: Progress) -> ActionResult:
        """Run an action to its end; tell `progress` each line as it is logged.

        Raises:
            ActionLost: its process was lost with it.
            Overloaded: no process takes it.
            FeatureUnavailable: no process can be started.
        """
        result: ActionResult = await self._run(
            call,
            progress,
            lambda id_: frames.RunAction(id=id_, call=call, catalog_since=self._catalog_since()),
            None,
        )
        return result

    async def answer(
        self, call: FunctionCall, request: HttpRequest, exchange: Exchange, progress: Progress
    ) -> HttpResult:
        """Answer an HTTP request; return when its action has ended and all is with the client.

        Raises:
            ActionLost: its process was lost with it; the response may have begun.
            Overloaded: no process takes it, or there are too many.
            FeatureUnavailable: no process can be started.
        """
        if self._answering >= limits.http_actions_in_flight_max:
            raise too_many_requests(call)
        client = ServerEnd(self._host, exchange)
        self._answering += 1
        try:
            result: HttpResult = await self._run(
                call,
                progress,
                lambda id_: frames.RunHttpAction(
                    id=id_, call=call, request=request, catalog_since=self._catalog_since()
                ),
                client,
            )
            await client.end()
            return result
        finally:
            self._answering -= 1
            client.abandon()

    async def _run(
        self,
        call: FunctionCall,
        progress: Progress,
        message: Callable[[int], ToExecutor],
        client: ServerEnd | None,
    ) -> Any:
        if self._is_closed:
            raise FeatureUnavailable("the release does not run any more; try again")
        self._running += 1
        self._idle.clear()
        self._stirred.set()
        try:
            seat = await self._seat_for(call)
            id_ = next(self._ids)
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            seat.process.send(message(id_))
            seat.jobs[id_] = _Job(call, progress, done, self._host.monotonic(), client)
            if client is not None:
                client.begin(id_, seat.process.send)
            return await done
        finally:
            self._running -= 1
            self._settle()

    def serve(self) -> None:
        """Start the first process, so that the first action need not wait for it."""
        self._is_resting = False
        if not self._seats and self._starting is None:
            self._host.spawn("actions warm", self._warm())

    async def _warm(self) -> None:
        try:
            await self._start()
        except FeatureUnavailable as error:
            # Whoever calls an action is told; nobody has yet.
            _log.warning("%s", error.sentence)

    def rest(self) -> None:
        """End the processes once nothing has run for a while; what comes later starts one."""
        if not self._is_resting:
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
                await self._end(grace_s=0)
                await self._stirred.wait()

    def _may_rest(self) -> bool:
        # Asked anew after each wait: the release may serve again.
        return self._is_resting

    def _settle(self) -> None:
        """Note whether anything runs: also what nobody waits for any more."""
        if not self._running and not any(seat.jobs for seat in self._seats.values()):
            self._idle.set()

    @property
    def in_flight(self) -> int:
        """Return how many actions run or wait."""
        return self._running

    @property
    def answering(self) -> int:
        """Return how many of them answer HTTP requests."""
        return self._answering

    @property
    def pids(self) -> list[int]:
        """Return the numbers of the processes."""
        return [process.pid for process in self._seats]

    async def close(self) -> None:
        """Let what runs finish, then end the processes."""
        await self._idle.wait()
        await self.stop(grace_s=0)

    async def stop(self, *, grace_s: float) -> None:
        """Cancel what runs, let it clean up for a while, then end the processes."""
        self._is_closed = True
        tasks = [task for task in (self._watch, self._starting, self._resting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end(grace_s=grace_s)
        await asyncio.gather(*self._losing)

    async def _end(self, *, grace_s: float) -> None:
        # They get no new work, answer what runs, and are not missed when they are gone.
        seats = [*self._seats.values()]
        for seat in seats:
            self._stopping[seat.process] = self._seats.pop(seat.process)
            seat.process.send(frames.Stop(grace_s=grace_s))
        await asyncio.gather(*(self._see_off(seat, grace_s + _STOP_S) for seat in seats))

    async def _see_off(self, seat: _Seat, within_s: float) -> None:
        await ended(seat.process, within_s=within_s)
        del self._stopping[seat.process]
        await self._lose(seat)

    async def _seat_for(self, call: FunctionCall) -> _Seat:
        while True:
            ready = [seat for seat in self._seats.values() if not seat.is_blocked]
            seat = min(ready, key=lambda seat: len(seat.jobs), default=None)
            if seat is not None and len(seat.jobs) < limits.actions_per_process_max:
                return seat
            if len(self._seats) >= self._size_max:
                # More than intended in each is better than a refusal; blocked loops take nothing.
                if seat is not None and len(seat.jobs) < limits.actions_in_flight_max:
                    return seat
                raise Overloaded(
                    f"{call.path} cannot start: {len(self._seats)} processes for actions are "
                    "blocked or full. The server's output names functions that block",
                    code="TooManyConcurrentRequests",
                )
            await self._start()

    async def _start(self) -> None:
        """Start a process; whoever comes meanwhile waits for the same one."""
        if self._starting is None:
            self._starting = self._host.spawn(
                "executor start", self._launcher.launch(Role.ACTIONS, self, Output.LOADED)
            )
        starting = self._starting
        try:
            process = await asyncio.shield(starting)
        except (LoadError, ExecutorEnded, OSError) as error:
            msg = f"no process for actions can be started: {error}"
            raise FeatureUnavailable(msg) from error
        finally:
            if self._starting is starting and starting.done():
                self._starting = None
        if process.is_lost:
            msg = f"a process for actions {await process.ending()} when it had just loaded"
            raise FeatureUnavailable(msg)
        if process not in self._seats:
            self._seats[process] = _Seat(process, heard=self._host.monotonic())
            self._stirred.set()

    # What processes say.

    def received(self, process: ExecutorProcess, message: FromExecutor) -> None:
        """Take in what a process says."""
        seat = self._seats.get(process) or self._stopping.get(process)
        if seat is None:
            return
        match message:
            case frames.ActionDone(id=id_) | frames.HttpDone(id=id_):
                job = self._ended_job(seat, id_)
                if not job.done.done():
                    job.done.set_result(message.result)
                self._settle()
            case frames.Raised(id=id_):
                job = self._ended_job(seat, id_)
                if not job.done.done():
                    job.done.set_exception(frames.request_error(message.error))
                self._settle()
            case frames.Said(id=id_) | frames.Taken(id=id_):
                if id_ in seat.jobs:
                    client = seat.jobs[id_].client
                    assert client is not None
                    client.received(message)
            case frames.Progressed(id=id_):
                if id_ in seat.jobs:
                    seat.jobs[id_].progress(message.line)
            case frames.Call():
                self._host.spawn(f"call {message.call.path}", self._call(process, message))
            case frames.AskFile():
                self._host.spawn("a file of an action", self._ask_file(seat, message))
            case LoopStatus():
                seat.heard = self._host.monotonic()
                self._note(seat, message)
            case _:
                msg = f"a process for actions has sent {type(message).__name__}"
                raise AssertionError(msg)

    async def _call(self, process: ExecutorProcess, message: frames.Call) -> None:
        try:
            done = await self._runner.run(message.call, message.kind)
            answer = frames.Called(
                id=message.id,
                value=done.value,
                failure=done.failure,
                log_lines=done.log_lines,
                catalog_since=self._catalog_since(),
            )
            process.send(answer)
        except RequestError as error:
            self._call_raised(process, message, error)
        except DeveloperError as error:
            process.send(
                frames.CallRefused(
                    id=message.id,
                    code=error.code,
                    sentence=error.sentence,
                    catalog_since=self._catalog_since(),
                )
            )
        # Our own bug: the action is told, and the operator reads it here.
        except Exception:  # noqa: BLE001
            _log.exception("%s, called by an action, met a bug", message.call.path)
            bug = RequestError("the server failed; its output says why")
            self._call_raised(process, message, bug)

    async def _ask_file(self, seat: _Seat, message: frames.AskFile) -> None:
        job = seat.jobs.get(message.job)
        if job is None:
            # It has ended: nobody waits for the answer.
            return
        if job.files is None:
            job.files = self._files.session()
        answer: frames.FileAnswered | frames.FileRefused
        try:
            answered = await job.files.ask(message.request)
            answer = frames.FileAnswered(id=message.id, answer=answered)
        except DeveloperError as error:
            answer = frames.FileRefused(id=message.id, code=error.code, sentence=error.sentence)
        # Our own bug: the action is told, and the operator reads it here.
        except Exception:  # noqa: BLE001
            _log.exception("a file of %s met a bug", job.call.path)
            answer = frames.FileRefused(
                id=message.id,
                code="InternalServerError",
                sentence="the server failed; its output says why",
            )
        seat.process.send(answer)

    def _ended_job(self, seat: _Seat, id_: int) -> _Job:
        job = seat.jobs.pop(id_)
        self._let_go(job)
        return job

    def _let_go(self, job: _Job) -> None:
        if job.files is not None:
            self._host.spawn("files of an action", job.files.close())

    def _call_raised(
        self, process: ExecutorProcess, message: frames.Call, error: RequestError
    ) -> None:
        process.send(
            frames.CallRaised(
                id=message.id,
                error=frames.packed_error(error),
                catalog_since=self._catalog_since(),
            )
        )

    def lost(self, process: ExecutorProcess) -> None:
        """Note that a process has ended: what ran in it is lost."""
        seat = self._seats.pop(process, None)
        if seat is not None:
            self.losses += 1
            self._settle()
            losing = self._host.spawn("executor lost", self._lose(seat))
            self._losing.add(losing)
            losing.add_done_callback(self._losing.discard)

    async def _lose(self, seat: _Seat) -> None:
        how = await seat.process.ending()
        if seat.jobs:
            running = ", ".join(sorted({job.call.path for job in seat.jobs.values()}))
            _log.warning("executor %d %s while it ran %s", seat.process.pid, how, running)
        for job in seat.jobs.values():
            self._let_go(job)
            if not job.done.done():
                job.done.set_exception(
                    ActionLost(
                        f"{job.call.path} was lost: its process {how}. It may have done part of "
                        "its work, and is not run again by itself"
                    )
                )

    # Watching.

    async def _look(self) -> None:
        looked = self._host.monotonic()
        while True:
            await self._host.sleep(_LOOK_S)
            now = self._host.monotonic()
            # Whoever stood still itself has heard nobody, and does so only now.
            was_still = now - looked > 2 * _LOOK_S
            looked = now
            for seat in list(self._seats.values()):
                silent_s = now - seat.heard
                if silent_s > limits.action_loop_blocked_s + _LOOK_S and not was_still:
                    # Not even its other thread gets to run.
                    self._note(seat, LoopStatus(still_s=silent_s, path=None, where=None))
                self._end_overdue(seat, now)

    def _note(self, seat: _Seat, status: LoopStatus) -> None:
        is_blocked = status.still_s >= limits.action_loop_blocked_s
        if is_blocked and not seat.is_blocked:
            told = _blocked_by(seat, status)
            if told is not None:
                _log.warning("executor %d: %s", seat.process.pid, told)
                seat.is_told = True
        elif seat.is_told and not is_blocked:
            _log.warning("executor %d: its event loop goes on", seat.process.pid)
            seat.is_told = False
        seat.is_blocked = is_blocked

    def _end_overdue(self, seat: _Seat, now: float) -> None:
        """End a process in which an action does not end at its deadline."""
        overdue = [
            job
            for job in seat.jobs.values()
            if now - job.since > limits.action_s_max + limits.action_overdue_s
        ]
        if overdue:
            _log.warning(
                "executor %d is ended: %s does not end at its deadline",
                seat.process.pid,
                overdue[0].call.path,
            )
            seat.process.kill()


def _blocked_by(seat: _Seat, status: LoopStatus) -> str | None:
    """Return what to tell of a loop that stands still; None where nobody waits for it.

    A process in which nothing of the application's runs has most likely been given no time: one
    that has just been started, or on a machine that sleeps.
    """
    at = f" at {status.where}" if status.where else ""
    if status.path is not None or at:
        return (
            f"its event loop is blocked{f' by {status.path}' if status.path else ''}{at}: no other "
            "action of that process goes on. Await what waits, or make the function a plain def, "
            "which has a thread"
        )
    running = ", ".join(sorted({job.call.path for job in seat.jobs.values()}))
    if not running:
        return None
    return (
        f"it has stood still for {status.still_s:.1f} s while it runs {running}: native code holds "
        "its interpreter, or the machine gives it no time. No other action of that process goes on"
    )
