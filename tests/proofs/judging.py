"""The judge, who finds the order that explains what was seen.

Every attempt of every program is recorded: what it knew, what it saw, how it ended. The judge
replays them: each attempt on the state at its snapshot, and each that committed once more on the
state just before its commit, in the order of the commits. What the model sees must be what was
seen.
"""

from __future__ import annotations

import copy
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from camber.engine.committer import CommitConflict
from camber.storage.store import Commit
from tests.proofs.model import Cursors, Model, Tables, empty
from tests.proofs.operations import Journals, Replaying, replay
from tests.proofs.plain import NOW, Big, at, same


@dataclass(frozen=True, kw_only=True)
class Program:
    """What one transaction does.

    `age` is how many commits before the newest one a program that only reads looks at; one that is
    `ahead` sees those too that have a timestamp and are not written yet. One that `raises` throws
    away what it has done.
    """

    steps: list[Any]
    writes: bool
    age: int = 0
    ahead: bool = False
    raises: bool = False
    #: Who asks for it.
    who: str | None = None


@dataclass(kw_only=True)
class Attempt:
    """One run of a program, from its snapshot to its end."""

    source: str
    program: Program
    begin_ts: int
    #: The ids and pages that it was told of, and all that it knows in the end.
    ids: list[str]
    pages: list[Any]
    ids_known: list[str]
    pages_known: list[Any]
    seen: Any = None
    committed_ts: int | None = None
    conflict: CommitConflict | None = None
    #: What pinned the pages of functions that it called, and what pins them from now on.
    journals_given: list[str] = field(default_factory=list)
    journals_made: list[str] = field(default_factory=list)
    #: The store has failed: nobody knows whether it has committed.
    is_unknown: bool = False


@dataclass
class Events:
    """All that has happened, in order: an attempt has run, or a commit was published."""

    log: list[Attempt | Commit] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)


class Judge:
    """Replays what has happened, and raises where it cannot have been so."""

    def __init__(self, first_ts: int, tables: Tables | None = None) -> None:
        self._states: list[tuple[int, Tables]] = [(first_ts, tables or empty())]
        self.cursors = Cursors()

    @property
    def newest(self) -> Tables:
        return self._states[-1][1]

    def judge(self, events: Events) -> None:
        # Those that were ahead are judged when what they have seen is published, if ever it is.
        ahead: list[Attempt] = []
        for event in events.log:
            if isinstance(event, Attempt):
                ahead.append(event)
            else:
                self._judge_commit(event, events.attempts[event.source])
            newest_ts = self._states[-1][0]
            for attempt in [each for each in ahead if each.begin_ts <= newest_ts]:
                ahead.remove(attempt)
                if self._was(attempt.begin_ts):
                    self._judge_attempt(attempt)
                else:
                    _judge_mistaken(attempt)
        for attempt in ahead:
            _judge_mistaken(attempt)
        published = {each.source: each.ts for each in events.log if isinstance(each, Commit)}
        for attempt in events.attempts.values():
            if attempt.seen is not None:
                self._judge_end(attempt, published.get(attempt.source))

    def _was(self, ts: int) -> bool:
        at = bisect_right(self._states, ts, key=lambda state: state[0]) - 1
        return at >= 0 and self._states[at][0] == ts

    def at(self, ts: int) -> Tables:
        """Return all documents as of a timestamp."""
        at = bisect_right(self._states, ts, key=lambda state: state[0]) - 1
        return self._states[at][1]

    def until(self, ts: int) -> list[Tables]:
        """Return all that there ever was up to a timestamp, the newest first."""
        return [tables for at, tables in reversed(self._states) if at <= ts]

    def between(self, first: int, last: int) -> list[int]:
        """Return the timestamps that were the newest at some moment between two."""
        return [first, *(ts for ts, _ in self._states if first < ts <= last)]

    def committed(self, ts: int, tables: Tables) -> None:
        """Take in what there is from a timestamp on."""
        self._states.append((ts, tables))

    def explains(
        self,
        attempt: Attempt,
        before: Tables,
        *,
        told: Any = NOW,
        scored: Sequence[Tables] | None = None,
    ) -> bool:
        """Return whether an attempt could have seen what it saw at a state."""
        known = self.cursors
        self.cursors = copy.deepcopy(known)
        try:
            self.replay(attempt, before, told=told, scored=scored)
        except AssertionError:
            self.cursors = known
            return False
        return True

    def _judge_attempt(self, attempt: Attempt) -> None:
        """Whatever becomes of it, it has seen one moment, and its own writes."""
        self.replay(attempt, self.at(attempt.begin_ts))

    def _judge_commit(self, commit: Commit, attempt: Attempt) -> None:
        last_ts, before = self._states[-1]
        assert commit.ts > last_ts, f"{commit.ts} was published after {last_ts}"
        # What others have written since, and its searches would not find, has no part in its scores.
        after = self.replay(attempt, before, scored=[self.at(attempt.begin_ts)])
        assert not same(after, before), f"{attempt.source} has committed, and changed nothing"
        self.committed(commit.ts, at(after, Big(commit.ts)))

    def _judge_end(self, attempt: Attempt, published_ts: int | None) -> None:
        if attempt.is_unknown:
            return
        assert (published_ts is None) or (attempt.committed_ts == published_ts)
        if attempt.conflict is not None:
            conflict_ts = attempt.conflict.ts
            has_seen = attempt.begin_ts >= conflict_ts and not attempt.program.ahead
            assert not has_seen, "lost to a commit that it has seen"
        elif attempt.committed_ts is not None and published_ts is None:
            assert attempt.committed_ts == attempt.begin_ts
            before = self.at(attempt.begin_ts)
            assert same(self.replay(attempt, before), before), "changes that nobody ever saw"

    def replay(
        self,
        attempt: Attempt,
        before: Tables,
        *,
        told: Any = NOW,
        scored: Sequence[Tables] | None = None,
    ) -> Tables:
        """Run an attempt on the model and hold what it saw against that; return what it leaves.

        `told` is what it was told of when it commits, in the place of `NOW`. `scored` is what the
        scores of its searches may have been made with, if not with `before`.
        """
        born_after = math.nextafter(attempt.begin_ts / 1e6, 0.0)
        model = Model(before, self.cursors, born_after=born_after, scored=scored)
        journals = Journals(attempt.journals_given, attempt.journals_made)
        replaying = Replaying(
            model, list(attempt.ids), list(attempt.pages), attempt.program.who, journals, told
        )
        try:
            expected = replay(replaying, attempt.program.steps, attempt.seen)
            journals.check()
        except AssertionError as error:
            error.add_note(f"in {attempt}, on {before}")
            raise
        expected = at(expected, told)
        for step, wanted, found in zip(attempt.program.steps, expected, attempt.seen, strict=True):
            assert same(wanted, found), (
                f"{attempt.source}, at {attempt.begin_ts}: {step}\n saw    {found}\n not    {wanted}"
            )
        return at(model.tables, told)  # type: ignore[no-any-return]


def _judge_mistaken(attempt: Attempt) -> None:
    """What it has seen ahead failed, and was never published: nothing may come of it."""
    assert attempt.program.ahead, f"{attempt.source} began at {attempt.begin_ts}, which never was"
    assert attempt.committed_ts is None, f"{attempt.source} has seen what never was"
