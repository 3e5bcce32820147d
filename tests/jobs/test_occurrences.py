"""When schedules come round, against calendars that are walked through minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.jobs.occurrences import changed, first, following

_MOMENTS = st.integers(min_value=0, max_value=4_000_000_000_000).map(float)
# Bounds that hypothesis wants without a zone.
_FROM, _TO = datetime(2020, 1, 1), datetime(2035, 1, 1)  # noqa: DTZ001
_MINUTE = timedelta(minutes=1)


def cron(expression, timezone="UTC"):
    return {"kind": "cron", "expression": expression, "timezone": timezone}


def interval(seconds):
    return {"kind": "interval", "seconds": seconds}


def ms(text, timezone="UTC", fold=0):
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone), fold=fold)
    return moment.timestamp() * 1e3


@given(due=_MOMENTS, late=st.integers(0, 10_000_000), seconds=st.integers(60, 100_000))
def test_an_interval_is_counted_from_one_time_to_the_next(due, late, seconds):
    now = due + late
    # The oracle counts.
    expected, skipped = due + seconds * 1000, 0
    while expected <= now:
        expected, skipped = expected + seconds * 1000, skipped + 1
    found = following(interval(seconds), due, now)
    assert (found.due_ms, found.skipped) == (expected, skipped)


def test_an_interval_begins_at_once_and_a_changed_one_after_its_time():
    assert first(interval(60), 5000.0) == 5000.0
    assert changed(interval(60), 5000.0) == 65_000.0


@given(
    after=st.datetimes(_FROM, _TO, timezones=st.just(UTC)),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    weekday=st.none() | st.integers(0, 6),
)
def test_a_clock_comes_round_at_the_first_minute_that_fits(after, minute, hour, weekday):
    at = after.replace(second=0, microsecond=0)
    while True:
        at += _MINUTE
        if (at.minute, at.hour) == (minute, hour) and weekday in {None, at.isoweekday() % 7}:
            break
        if at.hour != hour:
            at += timedelta(minutes=59 - at.minute)
    schedule = cron(f"{minute} {hour} * * {'*' if weekday is None else weekday}")
    assert first(schedule, after.timestamp() * 1e3) == at.timestamp() * 1e3


@pytest.mark.parametrize(
    ("expression", "after", "then"),
    [
        # Put forward: 2:00 is followed by 3:00, and what was due between comes at its end.
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T03:00"),
        ("30 2 * * *", "2026-03-29T03:00", "2026-03-30T02:30"),
        ("0 9 * * *", "2026-03-28T12:00", "2026-03-29T09:00"),
        # Put back: 2:30 comes twice, and counts once.
        ("30 2 * * *", "2026-10-24T12:00", "2026-10-25T02:30"),
        ("30 2 * * *", "2026-10-25T02:30", "2026-10-26T02:30"),
        ("0 9 * * 1", "2026-10-24T12:00", "2026-10-26T09:00"),
    ],
)
def test_clocks_that_are_put_forward_and_back(expression, after, then):
    schedule = cron(expression, "Europe/Paris")
    assert first(schedule, ms(after, "Europe/Paris")) == ms(then, "Europe/Paris")


def test_what_runs_each_hour_runs_in_the_hour_that_comes_twice():
    schedule, found, now = (
        cron("30 * * * *", "Europe/Paris"),
        [],
        ms("2026-10-25T00:45", "Europe/Paris"),
    )
    for _ in range(4):
        now = following(schedule, now, now).due_ms
        found.append(datetime.fromtimestamp(now / 1e3, UTC).strftime("%H:%M"))
    assert found == ["23:30", "00:30", "01:30", "02:30"]


def test_months_without_the_day_are_left_out():
    schedule, found, now = cron("0 6 31 * *"), [], ms("2026-01-31T07:00")
    for _ in range(3):
        now = following(schedule, now, now).due_ms
        found.append(datetime.fromtimestamp(now / 1e3, UTC).strftime("%m-%d"))
    assert found == ["03-31", "05-31", "07-31"]


def test_a_clock_that_is_late_goes_on_in_the_future():
    found = following(cron("0 * * * *"), ms("2026-01-01T03:00"), ms("2026-01-01T07:20"))
    assert (found.due_ms, found.skipped) == (ms("2026-01-01T08:00"), 0)


@pytest.mark.parametrize("minute", range(0, 60, 7))
@pytest.mark.parametrize("at", [*range(1, 60, 9)])
@pytest.mark.parametrize(
    ("timezone", "day", "hour"),
    [("Europe/Paris", "2026-10-25", 2), ("America/St_Johns", "2025-11-02", 1)],
)
def test_what_is_next_in_the_hour_that_comes_again_is_not_past(timezone, day, hour, minute, at):
    """A server may be started, or a push be made, in the second of the two."""
    now = ms(f"{day}T0{hour}:{at:02}", timezone, fold=1)
    then = first(cron(f"{minute} {hour} * * *", timezone), now)
    assert 0 < then - now < 26 * 3600e3
