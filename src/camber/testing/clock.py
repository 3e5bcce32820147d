"""A host whose clock a test controls."""

from __future__ import annotations

from camber.host import RealHost

_START_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
_TICK_NS = 1_000_000


class ControlledHost(RealHost):
    """Real tasks and threads; a clock that moves when it is set, and by a millisecond when read.

    It never stands still, so that documents made one after another have growing creation times.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_ns = _START_NS

    def move_to(self, time_ns: int) -> bool:
        """Set the clock, which never goes back; return whether that has moved it."""
        is_ahead = time_ns > self._now_ns
        if is_ahead:
            self._now_ns = time_ns
        return is_ahead

    def now_ns(self) -> int:
        """Return the time, which is a millisecond later than the last."""
        self._now_ns += _TICK_NS
        return self._now_ns
