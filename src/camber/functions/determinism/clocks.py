"""The clocks of `time`.

All of them show the moment of the run, those of the processor zero. Doors are bound methods, as
functions in C are: a class may hold one as an attribute without becoming its first argument.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from time import struct_time
from typing import Any

from camber.functions.determinism.conditions import current

_time, _time_ns = time.time, time.time_ns
_monotonic, _monotonic_ns = time.monotonic, time.monotonic_ns
_perf_counter, _perf_counter_ns = time.perf_counter, time.perf_counter_ns
_process_time, _process_time_ns = time.process_time, time.process_time_ns
_thread_time, _thread_time_ns = time.thread_time, time.thread_time_ns
_clock_gettime, _clock_gettime_ns = time.clock_gettime, time.clock_gettime_ns
_localtime, _gmtime = time.localtime, time.gmtime
_ctime, _asctime, _strftime = time.ctime, time.asctime, time.strftime

#: Whole seconds, where a calendar is asked: rounding could show the next one.
_SECOND_NS = 1_000_000_000
_PROCESSOR_CLOCKS = {
    getattr(time, name)
    for name in ("CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID", "CLOCK_PROF")
    if hasattr(time, name)
}


class Clocks:
    """Each method is the door to the function of `time` that it is named after."""

    def time(self) -> float:
        conditions = current.conditions
        return _time() if conditions is None else conditions.now_ns() / 1e9

    def time_ns(self) -> int:
        conditions = current.conditions
        return _time_ns() if conditions is None else conditions.now_ns()

    def monotonic(self) -> float:
        conditions = current.conditions
        return _monotonic() if conditions is None else conditions.now_ns() / 1e9

    def monotonic_ns(self) -> int:
        conditions = current.conditions
        return _monotonic_ns() if conditions is None else conditions.now_ns()

    def perf_counter(self) -> float:
        conditions = current.conditions
        return _perf_counter() if conditions is None else conditions.perf_counter_ns() / 1e9

    def perf_counter_ns(self) -> int:
        conditions = current.conditions
        return _perf_counter_ns() if conditions is None else conditions.perf_counter_ns()

    def process_time(self) -> float:
        return _process_time() if current.conditions is None else 0.0

    def process_time_ns(self) -> int:
        return _process_time_ns() if current.conditions is None else 0

    def thread_time(self) -> float:
        return _thread_time() if current.conditions is None else 0.0

    def thread_time_ns(self) -> int:
        return _thread_time_ns() if current.conditions is None else 0

    def clock_gettime(self, clock: int, /) -> float:
        conditions = current.conditions
        # Asked in any case: it refuses a clock that there is not.
        shown = _clock_gettime(clock)
        if conditions is None:
            return shown
        return 0.0 if clock in _PROCESSOR_CLOCKS else conditions.now_ns() / 1e9

    def clock_gettime_ns(self, clock: int, /) -> int:
        conditions = current.conditions
        shown = _clock_gettime_ns(clock)
        if conditions is None:
            return shown
        return 0 if clock in _PROCESSOR_CLOCKS else conditions.now_ns()

    def localtime(self, seconds: float | None = None, /) -> struct_time:
        conditions = current.conditions
        if conditions is not None and seconds is None:
            seconds = conditions.now_ns() // _SECOND_NS
        return _localtime(seconds)

    def gmtime(self, seconds: float | None = None, /) -> struct_time:
        conditions = current.conditions
        if conditions is not None and seconds is None:
            seconds = conditions.now_ns() // _SECOND_NS
        return _gmtime(seconds)

    def ctime(self, seconds: float | None = None, /) -> str:
        conditions = current.conditions
        if conditions is not None and seconds is None:
            seconds = conditions.now_ns() // _SECOND_NS
        return _ctime(seconds)

    def asctime(self, *moment: Any) -> str:
        return _asctime(*(moment or (self.localtime(),)))

    def strftime(self, format: str, /, *moment: Any) -> str:  # the standard library's word
        return _strftime(format, *(moment or (self.localtime(),)))


def clock_doors() -> Iterator[tuple[Any, str, Any]]:
    """Yield (module, name, door) for each clock."""
    clocks = Clocks()
    for name in vars(Clocks):
        if not name.startswith("_"):
            yield time, name, getattr(clocks, name)
