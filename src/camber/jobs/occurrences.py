"""When a schedule comes round. Pure: moments are milliseconds since the Unix epoch.

A schedule is what `camber.functions.crons` declares: an interval, or a cron expression in a time
zone, in which all others are written. On a day on which the clock is put forward, what was due in
the hour that is left out runs at its end; when it is put back, a time that comes twice counts once,
but for expressions that run every hour (as Debian's cron has it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim


@dataclass(frozen=True, slots=True)
class Occurrence:
    """When something runs next, and how many times were passed over until then."""

    due_ms: float
    skipped: int = 0


def first(schedule: Mapping[str, Any], now_ms: float) -> float:
    """Return when a schedule that begins now comes round: an interval does so at once."""
    return now_ms if schedule["kind"] == "interval" else _next_by_clock(schedule, now_ms)


def changed(schedule: Mapping[str, Any], now_ms: float) -> float:
    """Return when a schedule comes round that has taken another's place."""
    if schedule["kind"] == "interval":
        return now_ms + float(schedule["seconds"]) * 1e3
    return _next_by_clock(schedule, now_ms)


def following(schedule: Mapping[str, Any], due_ms: float, now_ms: float) -> Occurrence:
    """Return what follows the occurrence of `due_ms`, which has ended now: it lies in the future.

    Intervals are counted from one occurrence to the next, so that they do not drift.
    """
    if schedule["kind"] != "interval":
        return Occurrence(_next_by_clock(schedule, max(due_ms, now_ms)))
    every_ms = float(schedule["seconds"]) * 1e3
    # Those up to now are over, whether or not anything has run.
    skipped = max(0, int((now_ms - due_ms) // every_ms))
    return Occurrence(due_ms + (skipped + 1) * every_ms, skipped)


def _next_by_clock(schedule: Mapping[str, Any], after_ms: float) -> float:
    zone = ZoneInfo(str(schedule["timezone"]))
    after = datetime.fromtimestamp(after_ms / 1e3, UTC).astimezone(zone)
    times = (found.timestamp() * 1e3 for found in CronSim(str(schedule["expression"]), after))
    # In the hour that comes a second time, what is next by the clock may have been in the first.
    return next(time_ms for time_ms in times if time_ms > after_ms)
