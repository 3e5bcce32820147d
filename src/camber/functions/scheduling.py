"""`ctx.scheduler`: functions that run later.

What is asked for is checked here; what carries it out is given: within a mutation its own
transaction, for an action the server.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, ParamSpec, Protocol

from camber import limits
from camber.engine.scheduled import RetryPolicy, check_scheduled_id
from camber.errors import DeveloperError
from camber.functions.calls import Callee
from camber.functions.system_documents import ScheduledFunction
from camber.schema.annotations import Id

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How an action that is scheduled is tried again when it fails or is lost.

    `max_attempts` counts the first one. After an attempt that failed, `backoff` passes until the
    next, in seconds unless it is a `timedelta`; after each further one twice as long, at most
    `max_backoff`. All pauses differ from that by up to half of it, by chance, so that what failed
    together is not tried again together.
    """

    max_attempts: int = 4
    backoff: timedelta | float = 1.0
    max_backoff: timedelta | float = 3600.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            DeveloperError: a number is out of its range.
        """
        most = limits.schedule_attempts_max
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= most:
            msg = f"Retry(max_attempts={self.max_attempts!r}): it is an int from 1 to {most}"
            raise DeveloperError(msg, code="InvalidRetry")
        for name in ("backoff", "max_backoff"):
            seconds = _seconds(getattr(self, name))
            if seconds is None or not 0 <= seconds <= limits.schedule_ahead_s_max:
                msg = (
                    f"Retry({name}={getattr(self, name)!r}): it is a timedelta or seconds, from 0 "
                    f"to {limits.schedule_ahead_s_max:.0f}"
                )
                raise DeveloperError(msg, code="InvalidRetry")

    @property
    def policy(self) -> RetryPolicy:
        """Return it as it is stored."""
        backoff_s, backoff_s_max = _seconds(self.backoff), _seconds(self.max_backoff)
        assert backoff_s is not None
        assert backoff_s_max is not None
        return RetryPolicy(
            max_attempts=self.max_attempts, backoff_s=backoff_s, backoff_s_max=backoff_s_max
        )


class Schedules(Protocol):
    """Carries out what a mutation asks of its scheduler."""

    def now_ms(self) -> float:
        """Return the time from which delays count."""

    def schedule(
        self,
        due_ms: float,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        retry: RetryPolicy | None,
    ) -> Id[ScheduledFunction]:
        """Schedule a function and return the id of its document."""

    def cancel(self, id: str) -> None:
        """Cancel a scheduled function."""


class ActionSchedules(Protocol):
    """Carries out what an action asks of its scheduler."""

    def now_ms(self) -> float:
        """Return the time from which delays count."""

    async def schedule(
        self,
        due_ms: float,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        retry: RetryPolicy | None,
    ) -> Id[ScheduledFunction]:
        """Schedule a function, durably, and return the id of its document."""

    async def cancel(self, id: str) -> None:
        """Cancel a scheduled function, durably."""

    def block(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Wait for one of the above on a thread that is not the event loop's."""


class Scheduler:
    """Schedules functions as part of a mutation: all of it happens if the mutation commits."""

    def __init__(self, schedules: Schedules, retry: RetryPolicy | None = None) -> None:
        self._schedules = schedules
        self._retry = retry

    def run_after(
        self, delay: timedelta | float, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function after `delay`, in seconds unless it is a `timedelta`.

        Raises:
            DeveloperError: there is no such function or delay, or too much is scheduled.
        """
        due_ms = _after(self._schedules.now_ms(), delay)
        return self._schedules.schedule(due_ms, callee, args, kwargs, self._retry)

    def run_at(
        self, time: datetime, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function at a time, at once if that is past."""
        due_ms = _at(self._schedules.now_ms(), time)
        return self._schedules.schedule(due_ms, callee, args, kwargs, self._retry)

    def cancel(self, id: Id[ScheduledFunction], /) -> None:
        """Cancel a scheduled function: if it has not begun it never does.

        An action that runs goes on, but what it schedules from now on is cancelled. One that has
        ended stays as it is.
        """
        self._schedules.cancel(check_scheduled_id(id))

    def options(self, *, retry: Retry | None = None) -> Scheduler:
        """Return a scheduler with options: `retry` is for actions."""
        return Scheduler(self._schedules, _policy(retry))


class ActionScheduler:
    """Schedules functions from an action: each at once, whatever becomes of the action."""

    def __init__(self, schedules: ActionSchedules, retry: RetryPolicy | None = None) -> None:
        self._schedules = schedules
        self._retry = retry

    async def run_after(
        self, delay: timedelta | float, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function after `delay`, in seconds unless it is a `timedelta`.

        Raises:
            DeveloperError: there is no such function or delay.
        """
        due_ms = _after(self._schedules.now_ms(), delay)
        return await self._schedules.schedule(due_ms, callee, args, kwargs, self._retry)

    async def run_at(
        self, time: datetime, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function at a time, at once if that is past."""
        due_ms = _at(self._schedules.now_ms(), time)
        return await self._schedules.schedule(due_ms, callee, args, kwargs, self._retry)

    async def cancel(self, id: Id[ScheduledFunction], /) -> None:
        """Cancel a scheduled function, as that of a mutation does; an action may cancel itself."""
        await self._schedules.cancel(check_scheduled_id(id))

    def options(self, *, retry: Retry | None = None) -> ActionScheduler:
        """Return a scheduler with options: `retry` is for actions."""
        return ActionScheduler(self._schedules, _policy(retry))


class SyncActionScheduler:
    """The same for a plain `def` action, blocking its own thread."""

    def __init__(self, schedules: ActionSchedules, retry: RetryPolicy | None = None) -> None:
        self._schedules = schedules
        self._retry = retry

    def run_after(
        self, delay: timedelta | float, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function after `delay`, in seconds unless it is a `timedelta`."""
        due_ms = _after(self._schedules.now_ms(), delay)
        schedules = self._schedules
        return schedules.block(  # type: ignore[no-any-return]
            schedules.schedule(due_ms, callee, args, kwargs, self._retry)
        )

    def run_at(
        self, time: datetime, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Id[ScheduledFunction]:
        """Run a function at a time, at once if that is past."""
        due_ms = _at(self._schedules.now_ms(), time)
        schedules = self._schedules
        return schedules.block(  # type: ignore[no-any-return]
            schedules.schedule(due_ms, callee, args, kwargs, self._retry)
        )

    def cancel(self, id: Id[ScheduledFunction], /) -> None:
        """Cancel a scheduled function, as that of a mutation does; an action may cancel itself."""
        self._schedules.block(self._schedules.cancel(check_scheduled_id(id)))

    def options(self, *, retry: Retry | None = None) -> SyncActionScheduler:
        """Return a scheduler with options: `retry` is for actions."""
        return SyncActionScheduler(self._schedules, _policy(retry))


_AHEAD: Final = f"{limits.schedule_ahead_s_max / 86400:.0f} days"


def _after(now_ms: float, delay: object) -> float:
    seconds = _seconds(delay)
    if seconds is None or not 0 <= seconds <= limits.schedule_ahead_s_max:
        raise DeveloperError(
            f"cannot run a function after {delay!r}: a delay is a timedelta or a number of seconds, "
            f"from 0 to {_AHEAD}",
            code="InvalidScheduledFunctionDelay",
        )
    return now_ms + seconds * 1e3


def _at(now_ms: float, time: object) -> float:
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise DeveloperError(
            f"cannot run a function at {time!r}: a time is a datetime that knows its zone, such as "
            "datetime.now(timezone.utc) + timedelta(hours=1)",
            code="InvalidScheduledFunctionDelay",
        )
    due_ms = time.timestamp() * 1e3
    if abs(due_ms - now_ms) > limits.schedule_ahead_s_max * 1e3:
        raise DeveloperError(
            f"cannot run a function at {time.isoformat()}: that is more than {_AHEAD} from now",
            code="InvalidScheduledFunctionDelay",
        )
    return due_ms


def _seconds(duration: object) -> float | None:
    """Return a duration in seconds, or None if it is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    return float(duration) if math.isfinite(duration) else None


def _policy(retry: Retry | None) -> RetryPolicy | None:
    return None if retry is None else retry.policy
