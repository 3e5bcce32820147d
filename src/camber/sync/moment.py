"""When something happens."""

from __future__ import annotations

import msgspec

from camber.values.timestamp import Timestamp


class Moment(msgspec.Struct, frozen=True, gc=False):
    """When something happens: the newest timestamp, and what the clocks say."""

    newest_ts: Timestamp
    #: The wall clock in nanoseconds, and the monotonic one in seconds.
    now_ns: int
    now_s: float
