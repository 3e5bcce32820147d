"""An event loop whose time passes only because something is due, and whose chance has one seed.

It keeps asyncio's promises and no more: callbacks run in the order of `call_soon`, timers not
before they are due. What asyncio leaves open is drawn from the seed: which of two timers of one
moment comes first, and how long a turn of the loop takes, so that what comes from elsewhere falls
between any two turns. Nothing here waits for anything real.

Every callback belongs to a machine, which it inherits by its context as tasks inherit theirs. A
machine that is killed runs nothing any more: no `finally`, no farewell.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import heapq
import random
import traceback
import weakref
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

NS = 1_000_000_000
#: What one turn of the loop takes, in nanoseconds.
_TURN_NS = (2_000, 60_000)
#: How often what is left is cancelled, and turns after each time.
_BURIALS = 20
_BURIAL_TURNS = 50
#: Turns without anybody's time passing: somebody spins.
_TURNS_MAX = 500_000


class Trace:
    """Everything that happened, as one hash; with `keep`, as lines too."""

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[str] | None = [] if keep else None
        self.events = 0

    def note(self, line: str) -> None:
        """Take in one thing that happened."""
        self.events += 1
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def digest(self) -> str:
        """Return the hash of it all."""
        return self._hash.hexdigest()


class Machine:
    """What is killed at once: a process, with all that it has under way."""

    def __init__(self, name: str, loop: SimulatedLoop, parent: Machine | None = None) -> None:
        self.name = name
        self.is_alive = True
        self.children: list[Machine] = []
        #: In order: what is left of them is taken down in it.
        self.tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], None] = weakref.WeakKeyDictionary()
        self._buried: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(_machine.set, self)
        #: Called when it is killed: what the rest of the world notices.
        self.on_killed: list[Callable[[], None]] = []
        #: Until when it stands still, and what is due meanwhile, in order.
        self._stalled_until_ns = 0
        self._held: list[_Event] = []
        self._loop = loop
        loop.machines.append(self)
        if parent is not None:
            parent.children.append(self)

    def kill(self) -> None:
        """End it where it stands, and what it has started."""
        if not self.is_alive:
            return
        self.is_alive = False
        # Nobody else may hold them now, and Python would complain of what they had not ended.
        self._buried = list(self.tasks)
        self._loop.note(f"killed {self.name}")
        for child in self.children:
            child.kill()
        for notice in self.on_killed:
            notice()

    def stall(self, duration_ns: int) -> None:
        """Let it stand still for a while, as a process that was stopped: it runs nothing."""
        self._stalled_until_ns = max(self._stalled_until_ns, self._loop.now_ns + duration_ns)
        self._loop.call_in(duration_ns, self._go_on, context=self._loop.world.context)

    def holds(self, event: _Event) -> bool:
        """Keep something that is due for later, if it stands still."""
        # What comes as it goes on waits for what was due before.
        is_still = self._loop.now_ns < self._stalled_until_ns or bool(self._held)
        if is_still:
            self._held.append(event)
        return is_still

    def _go_on(self) -> None:
        if self._loop.now_ns >= self._stalled_until_ns:
            held, self._held = self._held, []
            for event in held:
                self._loop.run_event(event)

    def exhume(self) -> None:
        """Let what is left of it run once more, to be taken down."""
        self.is_alive = True
        self._stalled_until_ns = 0
        self._go_on()

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task on it, from outside."""
        return self._loop.create_task(coroutine, name=name, context=self.context.copy())

    def leftovers(self) -> list[str]:
        """Return the names of the tasks that have not ended."""
        return sorted(task.get_name() for task in self.tasks if not task.done())


_machine: contextvars.ContextVar[Machine] = contextvars.ContextVar("machine")


class _Event:
    """A callback that is due, as `asyncio.Handle` and `asyncio.TimerHandle` are."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "machine", "when_ns")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context,
        when_ns: int,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.machine: Machine = context[_machine]
        self.when_ns = when_ns
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_ns / NS


def _nothing() -> None:
    """Do nothing: what a cancelled callback does."""


class Stuck(AssertionError):
    """Nothing more can happen, or the loop spins."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The loop that everything runs on. What is not here nothing simulated may ask for."""

    def __init__(self, chance: random.Random, trace: Trace) -> None:
        self._chance = chance
        self.trace = trace
        self.now_ns = 0
        self._ready: deque[_Event] = deque()
        self._timers: list[tuple[int, float, int, _Event]] = []
        self._count = 0
        self._is_running = False
        self._is_closed = False
        self._turns = 0
        self._is_over = False
        self.machines: list[Machine] = []
        #: Exceptions that nobody took care of: each is a bug.
        self.bugs: list[str] = []
        self.world = Machine("world", self)

    def note(self, line: str) -> None:
        """Put a line into the trace."""
        self.trace.note(f"{self.now_ns} {line}\n")

    # Running.

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done, in the world's machine."""
        task = self.world.start(future, "simulation")
        self._is_running = True
        events._set_running_loop(self)
        try:
            while not task.done():
                self._turn()
        finally:
            events._set_running_loop(None)
            self._is_running = False
        return task.result()

    def bury(self) -> None:
        """Take down what is left of all machines, so that Python need not. Nobody looks any more."""
        self._is_over = True
        self._is_running = True
        events._set_running_loop(self)
        try:
            for machine in self.machines:
                machine.exhume()
            for _ in range(_BURIALS):
                left = [t for machine in self.machines for t in machine.tasks if not t.done()]
                for task in left:
                    task.cancel()
                for _ in range(_BURIAL_TURNS):
                    if not self._ready:
                        break
                    self._turn()
            # Those whose next step was due when their machine was killed have nobody to make it.
            for machine in self.machines:
                for task in list(machine.tasks):
                    with contextlib.suppress(RuntimeError):
                        # What it does in the end it does on its machine.
                        machine.context.copy().run(task.get_coro().close)
        finally:
            events._set_running_loop(None)
            self._is_running = False
        self.close()

    def _turn(self) -> None:
        if not self._ready:
            while self._timers and self._is_moot(self._timers[0][3]):
                heapq.heappop(self._timers)
            if not self._timers:
                msg = "nothing is due, and the simulation has not ended"
                raise Stuck(msg)
            self.now_ns = max(self.now_ns, self._timers[0][0])
        self._turns += 1
        if self._turns > _TURNS_MAX and not self._is_over:
            msg = f"{_TURNS_MAX} turns, and the simulation has not ended"
            raise Stuck(msg)
        while self._timers and self._timers[0][0] <= self.now_ns:
            self._ready.append(heapq.heappop(self._timers)[3])
        for _ in range(len(self._ready)):
            event = self._ready.popleft()
            if not self._is_moot(event) and not event.machine.holds(event):
                self.run_event(event)
        self.now_ns += self._chance.randint(*_TURN_NS)

    def _is_moot(self, event: _Event) -> bool:
        return event.is_cancelled or not event.machine.is_alive

    def run_event(self, event: _Event) -> None:
        """Run what is due, unless it was cancelled or its machine was killed."""
        if self._is_moot(event):
            return
        self.note(f"{event.machine.name} {_label(event.callback)}")
        try:
            event.context.run(event.callback, *event.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # told as a bug
            self.call_exception_handler({"message": "a callback failed", "exception": error})

    @property
    def machine(self) -> Machine:
        """Return the machine that runs."""
        return _machine.get()

    # What is asked of a loop.

    def time(self) -> float:
        return self.now_ns / NS

    def is_running(self) -> bool:
        return self._is_running

    def is_closed(self) -> bool:
        return self._is_closed

    def get_debug(self) -> bool:
        return False

    def close(self) -> None:
        self._is_closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: asynchronous generators are closed by those who use them."""

    def call_soon(self, callback, *args, context=None) -> Any:  # type: ignore[override]
        event = _Event(callback, args, context or contextvars.copy_context(), self.now_ns)
        self._ready.append(event)
        return event

    #: From a thread, which takes place on this very one.
    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay, callback, *args, context=None) -> Any:  # type: ignore[override]
        return self.call_in(int(max(0, delay) * NS), callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None) -> Any:  # type: ignore[override]
        return self.call_later(when - self.now_ns / NS, callback, *args, context=context)

    def call_in(self, delay_ns: int, callback, *args, context=None) -> _Event:
        """Call after so many nanoseconds."""
        when_ns = self.now_ns + max(0, delay_ns)
        event = _Event(callback, args, context or contextvars.copy_context(), when_ns)
        self._count += 1
        # Of those that are due at one moment chance says which is first.
        heapq.heappush(self._timers, (when_ns, self._chance.random(), self._count, event))
        return event

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None) -> asyncio.Task[Any]:
        context = context or contextvars.copy_context()
        # A name of asyncio's own making counts the tasks of all runs.
        name = name or getattr(coro, "__qualname__", "task")
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        context[_machine].tasks[task] = None
        return task

    def run_in_executor(self, executor, func, *args) -> Any:  # type: ignore[override]
        del executor
        future = self.create_future()
        delay_ns = self._chance.randint(20_000, 3_000_000)
        self.call_in(delay_ns, self.on_thread, lambda: func(*args), future)
        return future

    def on_thread(self, function: Callable[[], Any], future: Any) -> None:
        """Run a function that blocks as a thread would, now; tell its outcome somewhat later."""
        running = events._get_running_loop()
        events._set_running_loop(None)
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # whoever waits gets it
            tell, outcome = future.set_exception, error
        else:
            tell, outcome = future.set_result, result
        finally:
            events._set_running_loop(running)
        later_ns = self._chance.randint(5_000, 400_000)
        self.call_in(later_ns, lambda: None if future.done() else tell(outcome))

    async def create_connection(self, protocol_factory, *args, sock=None, **kwargs) -> Any:
        """Connect a protocol to one end of a pair that the simulated host has made."""
        assert sock is not None
        return sock.connect(protocol_factory(), self.machine)

    def default_exception_handler(self, context) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context) -> None:
        if self._is_over:
            return
        error = context.get("exception")
        told = "".join(traceback.format_exception(error)) if error is not None else ""
        self.bugs.append(f"{context['message']}\n{told}")
        self.note(f"bug {context['message']} {type(error).__name__}")


def _label(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return owner.get_name()
    return getattr(callback, "__qualname__", None) or type(callback).__name__
