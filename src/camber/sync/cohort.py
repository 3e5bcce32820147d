"""Clients in lock-step, which move on as one.

Sessions whose last Transition led to the same place (one result, as the same query of theirs, at
the same version) and for which nothing else is due will be told the same next, and will then be in
the same place again. So a cohort watches that result for all of them, finds the next one once, and
keeps once what a session keeps of a step; its members are written to, and nothing else is done for
each.

A session for which anything else happens leaves first. It is then as it would be on its own: if the
others are being told, it is told before it leaves; a slow one, whose connection is full, leaves
untold. It is back after a step of its own that ends where others are.

One of the members goes ahead and asks for a result that nobody has yet: the others are called when
that is there. A cohort knows no identities, and takes no result that is only somebody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from camber import limits
from camber.sync import frames
from camber.sync.frames import Version
from camber.sync.moment import Moment
from camber.sync.subscription import Outlet, SharedResult
from camber.values.timestamp import Timestamp


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a Transition has led that said one result: equal for those in lock-step."""

    version: Version
    query_id: int
    understands_chunks: bool


class Crowd(Protocol):
    """The shell around all sessions: what it does for cohorts."""

    def moment(self) -> Moment:
        """Return when it is now."""

    def find_for_all(self, asked: Any, ts: Timestamp) -> SharedResult | None:
        """Return what a query gives at `ts` whoever asks, if it is known. `asked` names it."""

    def lands(self, asked: Any, cohort: Cohort) -> bool:
        """Call `renew` when the run of a query that is under way has landed; False if none is."""

    def told(self, asked: Any, result: SharedResult, identities: list[Any], since_s: float) -> None:
        """Note that clients were told, whose Transition was due since `since_s`."""

    def unwatch(self, result: Any, watcher: Any) -> None:
        """Note that nobody of a cohort looks at a result any more."""


class Member(Protocol):
    """A session, as its cohort sees it."""

    @property
    def identity(self) -> Any:
        """Return who the client is."""

    @property
    def outlet(self) -> Outlet:
        """Return where frames go."""

    @property
    def number(self) -> int:
        """Return what `add` has returned."""

    def change_to(self, cohort: Cohort) -> None:
        """Be a member of another cohort that is in the same place."""

    def go_ahead(self) -> None:
        """Leave, and ask for what is due."""

    def fall_behind(self, version: Version, result: SharedResult, since_s: float) -> None:
        """Leave at a version with a result, of which the next is due since `since_s`."""

    def break_off(self, error: Exception) -> None:
        """End a connection that could not be written to."""


class Cohort:
    """Sessions in one place; a `Watcher` of the result that they show."""

    __slots__ = (
        "_chunks", "_crowd", "_gone", "_identities", "_last_number", "_members", "_numbers",
        "_outlets", "_sessions", "_told_number", "_way", "_way_since_s", "asked", "due_since_s", "is_busy", "is_moving",
        "moved_s", "query_id", "result", "version",
    )  # fmt: skip

    def __init__(self, crowd: Crowd, place: Place, asked: Any, result: SharedResult) -> None:
        self._crowd = crowd
        self.version = place.version
        self.query_id = place.query_id
        self._chunks = place.understands_chunks
        #: The shell's own: under which name members ask for the query.
        self.asked = asked
        self.result = result
        #: Since when `result` is not the newest; None while it is.
        self.due_since_s: float | None = None
        #: When members were told last.
        self.moved_s = 0.0
        #: Whether members are being told, in turns of the loop.
        self.is_moving = False
        #: Whether that goes on, or what leads to it.
        self.is_busy = False
        self._members: dict[Member, None] = {}
        #: Members in order, and what is needed of each; None when that has to be made anew.
        self._sessions: list[Member] | None = None
        self._outlets: list[Outlet] = []
        #: As they are here: one who leaves while others are told may have another elsewhere by then.
        self._numbers: list[int] = []
        self._identities: list[Any] = []
        #: Numbers grow in the order in which members came, which is that in which they are told.
        self._last_number = self._told_number = 0
        #: The frames on their way, since when they were due, and who has left meanwhile.
        self._way: tuple[bytes, ...] = ()
        self._way_since_s = 0.0
        self._gone: set[Outlet] = set()

    # Members.

    @property
    def place(self) -> Place:
        """Return where the members are."""
        return Place(self.version, self.query_id, self._chunks)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Member) -> int:
        """Take in a session that is in this place; return its number. Not while this moves."""
        assert not self.is_moving, "a member that comes while others are told would be told again"
        self._last_number += 1
        self._members[member] = None
        self._sessions = None
        return self._last_number

    def leave(self, member: Member) -> None:
        """Let a member be on its own in this place; one who would be told next is told now."""
        if self.is_moving and member.number > self._told_number:
            outlet = member.outlet
            self._gone.add(outlet)
            for frame in self._way:
                outlet.write(frame)
            self._count(member.identity)
        self.drop(member)

    def drop(self, member: Member) -> None:
        """Forget a member."""
        del self._members[member]
        self._sessions = None
        if not self._members:
            cohorts = self.result.cohorts
            if cohorts is not None and cohorts.get(self.place) is self:
                del cohorts[self.place]
            self._crowd.unwatch(self.result, self)

    # Steps.

    def invalidated(self, result: object) -> None:
        """Take in that the result does not hold any more."""
        if result is self.result:
            self.due_since_s = self._crowd.moment().now_s

    def renew(
        self, at: Timestamp | None = None, landed: SharedResult | None = None
    ) -> Iterator[int] | None:
        """Go to the newer result; `landed` is what a run at `at` gave, if it is for everybody.

        Returns what is to be done in turns of the loop, with how many were told in each; None if
        there is nothing, or if those who do it will see to this too.
        """
        if self.due_since_s is None or self.is_busy:
            return None
        self.is_busy = True
        return self._steps(at, landed)

    def _steps(self, at: Timestamp | None, landed: SharedResult | None) -> Iterator[int]:
        try:
            while self._members and self.due_since_s is not None:
                newest_ts = self._crowd.moment().newest_ts
                ts = newest_ts if at is None or at < self.version.ts else at
                if landed is None or not landed.holds_at(ts):
                    landed = self._crowd.find_for_all(self.asked, ts)
                if landed is not None and landed.journal == self.result.journal:
                    yield from self._move(landed, ts, self.due_since_s)
                elif self._crowd.lands(self.asked, self):
                    return
                else:
                    next(iter(self._members)).go_ahead()
                    if self._members and self._crowd.lands(self.asked, self):
                        return
                    yield 1
                at = landed = None
        finally:
            self.is_busy = False
        self._gather()

    def _move(self, result: SharedResult, ts: Timestamp, since_s: float) -> Iterator[int]:
        """Tell all members of a result; who leaves meanwhile is told as well."""
        start, previous = self.version, self.result
        self.version, self.result = start.at(ts), result
        is_changed = result.comparable != previous.comparable
        self._way = shared_frames(result, start, self.place, is_changed=is_changed)
        self._way_since_s = since_s
        self.moved_s = self._crowd.moment().now_s
        if result.valid_until is None:
            self.due_since_s = None
            result.watch(self)
        else:
            self.due_since_s = self.moved_s
        if self._sessions is None:
            self._sessions = list(self._members)
            self._outlets = [each.outlet for each in self._sessions]
            self._identities = [each.identity for each in self._sessions]
            self._numbers = [each.number for each in self._sessions]
        sessions, outlets, identities = self._sessions, self._outlets, self._identities
        numbers = self._numbers
        self._told_number = 0
        self.is_moving = True
        try:
            for first in range(0, len(sessions), limits.members_told_together):
                part = slice(first, first + limits.members_told_together)
                told = _Part(sessions[part], outlets[part], identities[part])
                self._told_number = numbers[part][-1]
                if self._gone:
                    told.drop(self._gone)
                slow = self._write(told)
                for each in slow:
                    self.drop(each)
                    each.fall_behind(start, previous, since_s)
                self._count(told.identities)
                yield len(told.sessions) or 1
        finally:
            self.is_moving = False
            self._way = ()
            self._gone.clear()

    def _write(self, told: _Part) -> list[Member]:
        """Write to a part of the members; return those who are too slow for that."""
        way, rest = self._way, iter(told.outlets)
        slow: set[Outlet] = set()
        outlet: Outlet | None = None
        while True:
            try:
                for outlet in rest:
                    if outlet.is_full:
                        slow.add(outlet)
                    else:
                        for frame in way:
                            outlet.write(frame)
            except Exception as error:  # noqa: BLE001  # that client's, and no other's
                assert outlet is not None
                told.sessions[told.outlets.index(outlet)].break_off(error)
            else:
                break
        return told.drop(slow) if slow else []

    def _count(self, identities: list[Any]) -> None:
        self._crowd.told(self.asked, self.result, identities, self._way_since_s)

    def _gather(self) -> None:
        """Be found by those who come to this place, and be one with those who are there."""
        if not self._members or self.due_since_s is not None:
            return
        cohorts = self.result.cohorts
        if cohorts is None:
            cohorts = self.result.cohorts = {}
        place = self.place
        other = cohorts.get(place)
        if other is None:
            if len(cohorts) < limits.cohorts_per_result_max:
                cohorts[place] = self
        elif other is not self and not other.is_busy:
            smaller, larger = (other, self) if len(other) < len(self) else (self, other)
            cohorts[place] = larger
            smaller.hand_over(larger)

    def hand_over(self, cohort: Cohort) -> None:
        """Let all members be those of another cohort that is in the same place."""
        members, self._members = self._members, {}
        for member in members:
            member.change_to(cohort)
        self._crowd.unwatch(self.result, self)


class _Part:
    """Members who are told together, with what is needed of each."""

    __slots__ = ("identities", "outlets", "sessions")

    def __init__(
        self, sessions: list[Member], outlets: list[Outlet], identities: list[Any]
    ) -> None:
        self.sessions = sessions
        self.outlets = outlets
        self.identities = identities

    def drop(self, apart: set[Outlet]) -> list[Member]:
        """Take some away; return who they are."""
        every = list(zip(self.sessions, self.outlets, self.identities, strict=True))
        here = [each for each in every if each[1] not in apart]
        self.sessions = [each[0] for each in here]
        self.outlets = [each[1] for each in here]
        self.identities = [each[2] for each in here]
        return [each[0] for each in every if each[1] in apart]


def shared_frames(
    result: SharedResult, start: Version, place: Place, *, is_changed: bool
) -> tuple[bytes, ...]:
    """Return the Transition from a version to a place that says one result, or that it is as ever.

    The same for all who take this step with this result.
    """
    shared = result.frames
    if shared is None:
        shared = result.frames = {}
    step = (start, place, is_changed)
    framed = shared.get(step)
    if framed is None:
        said = [result.modification(place.query_id)] if is_changed else []
        text = frames.transition(start, place.version, said, None)
        parts = frames.chunks(text) if place.understands_chunks else (text,)
        if len(shared) >= limits.frames_shared_max:
            shared.clear()
        framed = shared[step] = tuple(map(frames.framed, parts))
    return framed
