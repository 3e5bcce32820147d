"""What machines that are not here would serve: `python -m bench.simulate`.

A seeded discrete-event simulation of closed-loop clients, the load generator, the server's loop, its
writer and the executors: each is one thread with a queue, and runnable threads share the cores.
Its costs are the processor times that `make bench ONLY=stages` shows, and it says what it makes of
the machine that they were measured on, beside what was measured there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Processor time of one operation by stage, in µs."""

    name: str
    #: The server's loop, before and after the executor ran.
    loop: float
    executor: float = 0.0
    generator: float = 0.0
    #: Of a group of commits: once, for each of its mutations, and waiting for the disk.
    commit: float = 0.0
    commit_each: float = 0.0
    sync: float = 0.0
    #: What part of the writer's time holds the interpreter's lock, which the loop needs.
    locked: float = 0.0


#: Measured on the 2 cores of `results.json`; `sync` is an fdatasync of that disk.
MUTATION = Costs(
    name="mutations",
    loop=103,
    executor=102,
    generator=10,
    commit=700,
    commit_each=26,
    sync=250,
    locked=0.4,
)
QUERY = Costs(name="lists of 50, each run", loop=133, executor=154, generator=18)
CACHED = Costs(name="answers from the cache", loop=20.5, generator=6)
DELIVERY = Costs(name="deliveries", loop=6.4, executor=0.6, generator=4.7)

_CLIENTS = 64
#: How long is simulated at first, until queues are as long as they get; of what is counted.
_WARM_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Cores, and how many executors use them."""

    cores: int
    executors: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Operations a second, and the part of one core that the loop used."""

    rate: float
    loop_busy: float


class _Thread:
    """One thread: what it does now, and what waits for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self.left_us = 0.0
        self.then: Callable[[], None] | None = None
        self.used_us = 0.0

    def add(self, us: float, then: Callable[[], None]) -> None:
        """Have it work for so long, and then do something."""
        if self.then is None:
            self.left_us, self.then = us, then
        else:
            self.waiting.append((us, then))

    def finish(self) -> None:
        """End its present work, and take up the next."""
        then, self.then = self.then, None
        if self.waiting:
            self.left_us, self.then = self.waiting.popleft()
        assert then is not None
        then()


class _Simulation:
    def __init__(self, costs: Costs, machine: Machine, clients: int, seed: int) -> None:
        self._costs = costs
        self._machine = machine
        self._random = Random(seed)
        self._now_us = 0.0
        self._generator = _Thread("generator")
        self._loop = _Thread("loop")
        self._writer = _Thread("writer")
        self._executors = [_Thread(f"executor {n}") for n in range(machine.executors)]
        self._threads = [self._generator, self._loop, self._writer, *self._executors]
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._gathering: list[Callable[[], None]] = []
        self._is_writing = False
        self._done = 0
        for _ in range(clients):
            self._ask()

    def run(self, seconds: float) -> Outcome:
        """Warm up, then count."""
        counted_us = seconds * 1e6
        warm_us = counted_us * _WARM_SHARE
        self._until(warm_us)
        done, used = self._done, self._loop.used_us
        self._until(warm_us + counted_us)
        return Outcome((self._done - done) / seconds, (self._loop.used_us - used) / counted_us)

    def _until(self, end_us: float) -> None:
        while self._now_us < end_us:
            running = [thread for thread in self._threads if thread.then is not None]
            speeds = dict(zip(running, _speeds(running, self._machine.cores), strict=True))
            finished = min(running, key=lambda t: t.left_us / speeds[t], default=None)
            step = end_us - self._now_us
            if finished is not None:
                step = min(step, finished.left_us / speeds[finished])
            timer = min(self._timers, key=lambda each: each[0], default=None)
            is_timer = timer is not None and timer[0] - self._now_us <= step
            if timer is not None and is_timer:
                step = timer[0] - self._now_us
            self._now_us += step
            for thread in running:
                thread.left_us -= step * speeds[thread]
                thread.used_us += step * speeds[thread]
            if timer is not None and is_timer:
                self._timers.remove(timer)
                timer[1]()
            elif finished is not None and finished.left_us <= 1e-9:
                finished.finish()

    # One operation's way. Work varies by a quarter either way, so that nothing runs in lock-step.

    def _us(self, mean: float) -> float:
        return mean * self._random.uniform(0.75, 1.25)

    def _ask(self) -> None:
        self._generator.add(self._us(self._costs.generator), self._arrived)

    def _arrived(self) -> None:
        costs = self._costs
        if costs.executor == 0:
            self._loop.add(self._us(costs.loop), self._answered)
        else:
            self._loop.add(self._us(costs.loop / 2), self._ran)

    def _ran(self) -> None:
        idlest = min(self._executors, key=lambda e: len(e.waiting) + (e.then is not None))
        idlest.add(self._us(self._costs.executor), self._returned)

    def _returned(self) -> None:
        writes = self._costs.commit > 0
        self._loop.add(self._us(self._costs.loop / 2), self._gather if writes else self._answered)

    def _gather(self) -> None:
        self._gathering.append(self._answered)
        self._write()

    def _write(self) -> None:
        if self._is_writing or not self._gathering:
            return
        group, self._gathering = self._gathering, []
        self._is_writing = True
        costs = self._costs
        cpu_us = self._us(costs.commit + costs.commit_each * len(group))

        def synced() -> None:
            self._is_writing = False
            for answered in group:
                answered()
            self._write()

        def written() -> None:
            self._timers.append((self._now_us + self._us(costs.sync), synced))

        # While the writer holds the lock the loop stands still, as if it did that work itself.
        self._loop.add(
            cpu_us * costs.locked,
            lambda: self._writer.add(cpu_us * (1 - costs.locked), written),
        )

    def _answered(self) -> None:
        self._done += 1
        self._ask()


def _speeds(running: list[_Thread], cores: int) -> list[float]:
    """Return how fast each runs: a thread has at most one core, and they share what there is."""
    return [min(1.0, cores / max(1, len(running)))] * len(running)


def simulated(
    costs: Costs,
    machine: Machine,
    *,
    clients: int = _CLIENTS,
    seed: int = 1,
    seconds: float = 1.0,
) -> Outcome:
    """Return what a machine would serve."""
    return _Simulation(costs, machine, clients, seed).run(seconds)


def with_work(costs: Costs, more_us: float) -> Costs:
    """Return the costs of a function that does more itself."""
    return replace(costs, executor=costs.executor + more_us)


def rows(machines: Iterable[Machine]) -> list[str]:
    """Return a table: what each machine would serve of each kind."""
    machines = list(machines)
    kinds = [
        MUTATION,
        QUERY,
        CACHED,
        DELIVERY,
        replace(with_work(MUTATION, 2000), name="mutations that compute 2 ms"),
    ]
    heads = [f"{machine.cores} cores" for machine in machines]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for kind in kinds:
        cells = []
        for machine in machines:
            clients = max(_CLIENTS, 4 * machine.executors)
            found = simulated(kind, machine, clients=clients)
            cells.append(f"{found.rate:,.0f} ({found.loop_busy:.0%})")
        lines.append(f"| {kind.name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print what machines would serve, and in brackets how busy the loop would be."""
    machines = [Machine(cores=cores, executors=cores) for cores in (2, 8, 64)]
    print("\n".join(rows(machines)))


if __name__ == "__main__":
    main()
