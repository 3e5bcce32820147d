"""Under which conditions a query or mutation runs."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from random import Random

from camber.functions.definition import FunctionKind

_perf_counter_ns = time.perf_counter_ns


class Conditions:
    """One moment and one seed, for one attempt of a query or mutation and all that it calls.

    They hold on this thread, within a `with` statement. Given the same moment and seed, user code
    sees the same clocks and draws the same numbers.
    """

    __slots__ = (
        "_draws",
        "_new_seed",
        "_now_ns",
        "_outer",
        "_perf_start_ns",
        "_random",
        "_seed",
        "is_debugged",
        "kind",
        "observed_time",
    )

    def __init__(self, *, now_ns: int, seed: Callable[[], bytes], kind: FunctionKind) -> None:
        """Make the conditions of one attempt.

        Args:
            now_ns: what the clock shows, in nanoseconds since the Unix epoch.
            seed: tells what chance is made of, once user code draws from it: as secret as that must
                be.
            kind: of the function that was asked for, not of those that it calls.
        """
        self.kind = kind
        #: Whether user code has read the clock.
        self.observed_time = False
        #: Whether a debugger has taken over: they need files, sockets and threads.
        self.is_debugged = False
        self._now_ns = now_ns
        self._new_seed = seed
        self._seed: bytes | None = None
        self._draws = 0
        self._random: Random | None = None
        self._perf_start_ns: int | None = None
        self._outer: Conditions | None = None

    def __enter__(self) -> Conditions:
        """Let them hold."""
        self._outer = current.conditions
        current.conditions = self
        return self

    def __exit__(self, *exc: object) -> None:
        """End them."""
        current.conditions = self._outer

    def now_ns(self) -> int:
        """Return what the clock shows, and remember that user code knows it."""
        self.observed_time = True
        return self._now_ns

    def perf_counter_ns(self) -> int:
        """Return what the performance counter shows.

        It stands still in queries, whose results are shared; in mutations it advances, so that
        they can be measured (semantics 4.8).
        """
        if self.kind is not FunctionKind.MUTATION:
            return self.now_ns()
        if self._perf_start_ns is None:
            self._perf_start_ns = _perf_counter_ns()
        return self.now_ns() + _perf_counter_ns() - self._perf_start_ns

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody can tell who has not got the seed."""
        if self._seed is None:
            self._seed = self._new_seed()
        self._draws += 1
        return hashlib.shake_256(self._seed + self._draws.to_bytes(8, "big")).digest(count)

    @property
    def random(self) -> Random:
        """Return the generator behind the functions of the module `random`."""
        if self._random is None:
            self._random = Random(self.random_bytes(32))
        return self._random


class _Current(threading.local):
    """The conditions that hold on this thread.

    No context variable: those are copied to callbacks on other threads, the server's among them.
    """

    conditions: Conditions | None = None


current = _Current()
