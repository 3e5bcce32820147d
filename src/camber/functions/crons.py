"""Cron jobs as an application declares them: `crons = Crons()` in its module `crons`.

Declaring is data. A schedule is an interval, or a cron expression in a time zone, as which all
other kinds are written. What can be wrong with one is said when the module loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from camber import limits
from camber.errors import CamberError
from camber.functions.calls import Callee
from camber.functions.definition import Function
from camber.values.packed import pack

_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
#: The year from which an expression is looked at; in the eight that follow all dates come.
_SOME_YEAR: Final = 2024


class CronError(CamberError):
    """A cron job that cannot be declared as it is."""

    code = "CronError"


@dataclass(frozen=True, slots=True, kw_only=True)
class CronJob:
    """A function that runs again and again."""

    name: str
    schedule: Mapping[str, Any]
    callee: Callee[..., Any]
    args: Mapping[str, Any]

    def resolved(self, function: Function[..., Any], target: str) -> ResolvedCron:
        """Return the job with its function, which is of the component `target`.

        Raises:
            CronError: the function does not take the arguments.
        """
        try:
            sent = function.arguments.encode_call((), self.args, _ANY_TABLES)
            function.arguments.bind(sent, _ANY_TABLES)
        except CamberError as error:
            msg = (
                f"cron job {self.name!r}: {function.path} does not take its args: {error.sentence}"
            )
            raise CronError(msg) from error
        return ResolvedCron(
            name=self.name,
            schedule=self.schedule,
            function=function,
            target=target,
            arguments=pack(sent),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedCron:
    """A cron job whose function is known, and the component that it is of; `arguments` are packed."""

    name: str
    schedule: Mapping[str, Any]
    function: Function[..., Any]
    target: str
    arguments: bytes


class Crons:
    """The cron jobs of an application; a module attribute of `crons`.

    Jobs are known by their names, which tell a push what was added, changed or removed.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, CronJob] = {}

    def interval(
        self,
        name: str,
        callee: Callee[..., Any],
        /,
        *,
        args: Mapping[str, Any] | None = None,
        seconds: int | None = None,
        minutes: int | None = None,
        hours: int | None = None,
    ) -> None:
        """Run a function at an interval: for the first time at once, when it is first pushed."""
        given = {
            unit: (amount, factor)
            for unit, amount, factor in (
                ("seconds", seconds, 1),
                ("minutes", minutes, 60),
                ("hours", hours, 3600),
            )
            if amount is not None
        }
        if len(given) != 1:
            said = " and ".join(given) or "none"
            msg = (
                f"cron job {name!r}: an interval has one of seconds, minutes and hours, not {said}"
            )
            raise CronError(msg)
        ((unit, (amount, factor)),) = given.items()
        every_s = _whole(name, unit, amount, 1, int(limits.schedule_ahead_s_max) // factor) * factor
        self._add(name, callee, args, {"kind": "interval", "seconds": every_s})

    def hourly(
        self,
        name: str,
        callee: Callee[..., Any],
        /,
        *,
        minute_utc: int = 0,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a function each hour."""
        minute = _minute(name, minute_utc)
        self._by_clock(name, callee, args, f"{minute} * * * *")

    def daily(
        self,
        name: str,
        callee: Callee[..., Any],
        /,
        *,
        hour_utc: int,
        minute_utc: int = 0,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a function each day."""
        time = f"{_minute(name, minute_utc)} {_hour(name, hour_utc)}"
        self._by_clock(name, callee, args, f"{time} * * *")

    def weekly(
        self,
        name: str,
        callee: Callee[..., Any],
        /,
        *,
        day_of_week: str,
        hour_utc: int,
        minute_utc: int = 0,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a function each week, on `"monday"` to `"sunday"`."""
        time = f"{_minute(name, minute_utc)} {_hour(name, hour_utc)}"
        if day_of_week not in _DAYS:
            msg = f"cron job {name!r}: {day_of_week!r} is no day; use one of {', '.join(_DAYS)}"
            raise CronError(msg)
        self._by_clock(name, callee, args, f"{time} * * {_DAYS.index(day_of_week)}")

    def monthly(
        self,
        name: str,
        callee: Callee[..., Any],
        /,
        *,
        day: int,
        hour_utc: int,
        minute_utc: int = 0,
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a function each month, on day 1 to 31; months without that day are left out."""
        time = f"{_minute(name, minute_utc)} {_hour(name, hour_utc)}"
        self._by_clock(name, callee, args, f"{time} {_whole(name, 'day', day, 1, 31)} * *")

    def cron(
        self,
        name: str,
        expression: str,
        callee: Callee[..., Any],
        /,
        *,
        timezone: str = "UTC",
        args: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a function by a cron expression: minute, hour, day of the month, month, weekday.

        `timezone` is a name such as `"Europe/Paris"`, whose clocks are followed through summer and
        winter.
        """
        _check_expression(name, expression)
        _check_timezone(name, timezone)
        self._by_clock(name, callee, args, " ".join(expression.split()), timezone)

    def _by_clock(
        self,
        name: str,
        callee: Callee[..., Any],
        args: Mapping[str, Any] | None,
        expression: str,
        timezone: str = "UTC",
    ) -> None:
        schedule = {"kind": "cron", "expression": expression, "timezone": timezone}
        self._add(name, callee, args, schedule)

    def _add(
        self,
        name: str,
        callee: Callee[..., Any],
        args: Mapping[str, Any] | None,
        schedule: Mapping[str, Any],
    ) -> None:
        _check_name(name)
        if name in self.jobs:
            msg = f"there is a cron job {name!r} already: names are unique in an application"
            raise CronError(msg)
        if len(self.jobs) == limits.crons_max:
            msg = f"cron job {name!r} is one too many: an application may have {limits.crons_max}"
            raise CronError(msg)
        self.jobs[name] = CronJob(name=name, schedule=schedule, callee=callee, args=args or {})


class _AnyNumber(int):
    """The number of a table of which nobody knows yet which it has: ids of any are taken.

    They are looked at again when the function runs.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


class _AnyTables:
    def number(self, name: str) -> int | None:
        del name
        return _AnyNumber(0)

    def name(self, number: int) -> str | None:
        del number
        return None


_ANY_TABLES: Final = _AnyTables()


def _check_name(name: object) -> None:
    most = limits.cron_name_length_max
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= most
        or not (name.isascii() and name.isprintable())
    ):
        msg = f"{name!r} cannot name a cron job: it takes 1 to {most} printable ASCII characters"
        raise CronError(msg)


def _minute(name: str, minute: object) -> int:
    return _whole(name, "minute_utc", minute, 0, 59)


def _hour(name: str, hour: object) -> int:
    return _whole(name, "hour_utc", hour, 0, 23)


def _whole(name: str, what: str, number: object, least: int, most: int) -> int:
    if type(number) is not int or not least <= number <= most:
        msg = f"cron job {name!r}: {what} is a whole number from {least} to {most}, not {number!r}"
        raise CronError(msg)
    return number


def _check_expression(name: str, expression: object) -> None:
    # Imported where it is used: applications without cron jobs need none of it.
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    if not isinstance(expression, str) or len(expression.split()) != 5:
        msg = (
            f"cron job {name!r}: {expression!r} is no cron expression: it has five fields, minute, "
            "hour, day of the month, month and weekday, such as '0 9 * * 1-5'"
        )
        raise CronError(msg)
    try:
        next(CronSim(expression, datetime(_SOME_YEAR, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        msg = f"cron job {name!r}: {expression!r} is no cron expression: {error}"
        raise CronError(msg) from error
    except StopIteration:
        msg = f"cron job {name!r}: {expression!r} never comes: no such day is in the calendar"
        raise CronError(msg) from None


def _check_timezone(name: str, timezone: object) -> None:
    from zoneinfo import ZoneInfo

    reason: Exception | None = None
    if isinstance(timezone, str):
        try:
            ZoneInfo(timezone)
        # It raises what it meets: a name may lead to a folder, or out of where zones are kept.
        except (OSError, ValueError, LookupError) as error:
            reason = error
        else:
            return
    msg = f"cron job {name!r}: {timezone!r} is no time zone; use a name such as 'Europe/Paris'"
    raise CronError(msg) from reason
