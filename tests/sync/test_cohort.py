"""Clients in lock-step: many sessions of one world, which nobody can tell from sessions alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.sync.cohort import Cohort
from camber.sync.moment import Moment
from tests.sync.client import text_of, ts_of
from tests.sync.world import World, name_of

_CLIENTS = 7


class Town:
    """Sessions that share states and results, and what is done for their cohorts in turns."""

    def __init__(self, clients):
        self.states: list[dict[str, int]] = [{}]
        self.results: list[Any] = []
        self.turns: list[Any] = []
        self._landing: dict[str, dict[Any, None]] = {}
        self.told_together = 0
        self.knows = False
        self.worlds = [World(chunks=n % 4 == 3, crowd=self) for n in range(clients)]
        for n, world in enumerate(self.worlds):
            world.states, world.results = self.states, self.results
            world.names = {}
            world.send(
                type="Connect",
                sessionId=f"7d1a7a37-9a2e-4c3e-8a43-1f6b5f0f2b{n:02}",
                connectionCount=0,
                lastCloseReason="InitialConnect",
                maxObservedTimestamp=text_of(0),
                clientTs=1,
            )

    @property
    def newest(self):
        return len(self.states) - 1

    # What cohorts ask.

    def moment(self):
        return Moment(self.newest, 10**18 + self.newest, 0.0)

    def find_for_all(self, asked, ts):
        found = [r for r in self.results if r.name == asked and r.is_anybodys and r.holds_at(ts)]
        return found[0] if found and self.knows else None

    def lands(self, asked, cohort):
        running = any(
            asked == name_of(run.query.call) for w in self.worlds for run in w.running_queries
        )
        if running and asked != "me":
            self._landing.setdefault(asked, {})[cohort] = None
            return True
        return False

    def told(self, asked, result, identities, since_s):
        assert asked == result.name
        self.told_together += len(identities)

    def unwatch(self, result, watcher):
        result.watched.pop(watcher, None)

    # What may happen.

    def know(self, knows):
        self.knows = knows
        for world in self.worlds:
            world.knows = knows

    def write(self, name):
        self.states.append({**self.states[-1], name: self.states[-1].get(name, 0) + 1})
        ended = [r for r in self.results if r.name == name and r.valid_until is None]
        for result in ended:
            result.valid_until = self.newest
        watchers = [(result, watcher) for result in ended for watcher in result.watched]
        for result, watcher in watchers:
            watcher.invalidated(result)
        for _, watcher in watchers:
            self._renewed(watcher.renew())

    def _renewed(self, rest):
        if rest is not None and next(rest, None) is not None:
            self.turns.append(rest)

    def turn(self, at):
        if not self.turns:
            return False
        rest = self.turns[at % len(self.turns)]
        if next(rest, None) is None:
            self.turns.remove(rest)
        return True

    def finish_query(self, world, at=0):
        if not world.running_queries:
            return False
        run = world.running_queries[at % len(world.running_queries)]
        name = name_of(run.query.call)
        at_end = len(self.results)
        world.finish_query(at)
        landed = self.results[at_end] if name != "me" else None
        for cohort in self._landing.pop(name, {}):
            self._renewed(cohort.renew(run.ts, landed))
        return True

    def deliver(self, world):
        was_full = world.outlet.is_full
        delivered = world.deliver()
        if was_full and not world.outlet.is_full:
            world.renew()
        return delivered

    def settle(self):
        """Let everything happen that is under way; nobody is asked whether something is due."""
        while (
            any(world.finish_verify() for world in self.worlds)
            or any(self.finish_query(world) for world in self.worlds)
            or any(world.finish_mutation() for world in self.worlds)
            or any(self.deliver(world) for world in self.worlds)
            or self.turn(0)
        ):
            pass


steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(["a", "a", "a", "b"])),
    st.tuples(st.just("write"), st.just("a")),
    st.tuples(st.just("add"), st.sampled_from(["a", "b", "me"])),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("mutate"), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("authenticate"), st.sampled_from(["ada", "grace"])),
    st.tuples(st.just("query"), st.integers(0, 9)),
    st.tuples(st.just("mutation"), st.booleans()),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("deliver all"), st.none()),
    st.tuples(st.just("queries"), st.none()),
    st.tuples(st.just("turn"), st.integers(0, 9)),
    st.tuples(st.just("know"), st.booleans()),
    st.tuples(st.just("say nothing"), st.none()),
    st.tuples(st.just("leave"), st.none()),
)


@given(
    st.lists(st.tuples(st.integers(0, _CLIENTS - 1), steps), min_size=8, max_size=60), st.booleans()
)
def test_nobody_can_tell_lock_step_from_being_alone(history, is_settled):
    """Whatever happens to one or all in whatever order: each sees one moment, then the newest."""
    together, limits.members_told_together = limits.members_told_together, 2  # type: ignore[misc]
    try:
        town = _lived(history, is_settled)
    finally:
        limits.members_told_together = together  # type: ignore[misc]
    for world in town.worlds:
        if world.closed is not None:
            continue
        assert set(world.books.results) == set(world.subscribed)
        assert world.books.version["querySet"] == world.query_set
        who = world.session.identity
        for id_, name in world.subscribed.items():
            assert world.books.results[id_] == world.value(name, town.newest, who)
        assert len(world.books.responses) == world.sent_requests


def _lived(history, is_settled):
    town = Town(_CLIENTS)
    town.know(knows=is_settled)
    for world in town.worlds:
        world.subscribe((0, "a"))
    if is_settled:
        town.settle()
    for at, (what, how) in history:
        world = town.worlds[at]
        if world.closed is not None:
            continue
        if world.verify is not None:
            world.finish_verify()
        match what:
            case "write":
                town.write(how)
            case "add":
                id_ = 1 + max(world.names)
                world.subscribe((id_, how))
            case "remove" if world.subscribed:
                world.subscribe(remove=[sorted(world.subscribed)[how % len(world.subscribed)]])
            case "mutate":
                world.mutate(how)
            case "authenticate":
                world.authenticate(how)
            case "query":
                town.finish_query(world, how)
            case "queries":
                while any(town.finish_query(each) for each in town.worlds):
                    pass
            case "mutation":
                world.finish_mutation(how)
            case "commit":
                world.commit_mutation()
            case "deliver":
                for _ in range(how):
                    town.deliver(world)
            case "deliver all":
                while any(town.deliver(each) for each in town.worlds):
                    pass
            case "turn":
                town.turn(how)
            case "know":
                town.know(how)
            case "say nothing":
                world.send(type="Event", eventType="x", event=None)
            case "leave":
                for query in world.session.disconnected():
                    town.unwatch(query.result, query)
                world.closed = True
                world.outbox.clear()
            case _:
                assert not world.subscribed
    town.settle()
    return town


def test_all_in_one_place_are_told_at_once_but_for_who_goes_ahead():
    town = Town(12)
    town.know(knows=True)
    for world in town.worlds:
        world.subscribe((0, "a"))
    town.settle()
    # A quarter understands chunks, and is a cohort of its own.
    for n in range(1, 6):
        town.write("a")
        town.settle()
        assert town.told_together == n * (12 - 2)
        assert {ts_of(world.books.version["ts"]) for world in town.worlds} == {n}
    # Who has come on another way is with them after one step.
    town.worlds[0].subscribe((1, "b"))
    town.settle()
    town.worlds[0].subscribe(remove=[1])
    town.settle()
    town.write("a")
    town.settle()
    assert all(world.books.results == {0: ["a", 6, None]} for world in town.worlds)


def test_two_cohorts_that_come_to_one_place_are_one():
    town = Town(9)
    for world in town.worlds[:5]:
        world.subscribe((0, "a"))
    town.settle()
    town.know(knows=True)
    # Those who come later see a later moment first.
    town.write("c")
    for world in town.worlds[5:]:
        world.subscribe((0, "a"))
    town.settle()
    town.write("a")
    town.settle()
    (watched,) = [result.watched for result in town.results if result.valid_until is None]
    assert sorted(len(each) for each in watched if isinstance(each, Cohort)) == [1, 6]


def test_a_slow_client_skips_what_the_others_see():
    town = Town(4)
    town.know(knows=True)
    for world in town.worlds:
        world.subscribe((0, "a"))
    town.settle()
    slow = town.worlds[2]
    for _ in range(9):
        town.write("a")
        while any(town.turn(0) or town.deliver(each) for each in town.worlds if each is not slow):
            pass
    assert all(
        each.books.results == {0: ["a", 9, None]} for each in town.worlds if each is not slow
    )
    assert len(slow.outbox) < 6
    town.settle()
    assert slow.books.results == {0: ["a", 9, None]}


def test_whoever_waits_for_an_answer_is_told_nothing_with_others():
    town = Town(5)
    town.know(knows=True)
    for world in town.worlds:
        world.subscribe((0, "a"))
    town.settle()
    writer = town.worlds[2]
    writer.mutate("a")
    town.write("a")
    while any(town.turn(0) or town.deliver(each) for each in town.worlds):
        pass
    assert writer.books.results == {0: ["a", 1, None]}
    writer.commit_mutation()
    while town.turn(0):
        pass
    assert not writer.outbox
    town.settle()
    assert writer.books.settled[0] == {0: ["a", 2, None]}


def test_nobody_is_told_twice_when_one_who_was_told_before_is_elsewhere_by_then():
    """Who leaves while others are told joins those of another place, and has a number there."""
    together, limits.members_told_together = limits.members_told_together, 2  # type: ignore[misc]
    try:
        writes = [(0, ("write", "a"))] * 4
        goes = [(5, ("authenticate", "ada")), (0, ("deliver all", None)), (0, ("turn", 0))]
        _lived([*writes, *goes, (2, ("add", "a"))], is_settled=True)
    finally:
        limits.members_told_together = together  # type: ignore[misc]


def test_a_run_that_lands_late_takes_no_cohort_back():
    town = Town(5)
    town.know(knows=True)
    for world in town.worlds:
        world.subscribe((0, "a"))
    town.settle()
    old = town.results[0]
    town.write("a")
    town.settle()
    (newest,) = [result for result in town.results if result.valid_until is None]
    (cohort,) = [each for each in newest.watched if isinstance(each, Cohort)]
    town.know(knows=False)
    town.write("a")
    town._renewed(cohort.renew(0, old))
    town.settle()
    assert all(world.books.results == {0: ["a", 2, None]} for world in town.worlds)
