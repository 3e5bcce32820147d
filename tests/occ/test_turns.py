"""Turns against an oracle that knows only who came when, and who wants and has what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camber.occ.turns import Ticket, Turns
from camber.occ.write_set import EVERY_KEY

CLAIMS = [(1, b""), (1, b"a"), (1, b"ab"), (1, b"b"), (2, b"a"), (2, b"c")]
some_claims = st.lists(st.sampled_from(CLAIMS), max_size=3)
keys = st.sampled_from([b"a", b"ab", b"abc", b"b", b"c"])
writes = st.dictionaries(
    st.integers(1, 3), st.one_of(st.lists(keys, max_size=3), st.just(EVERY_KEY)), max_size=2
)


class TurnsMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.turns = Turns()
        #: What the oracle knows: by arrival, the claims of those that have some.
        self.claims: dict[int, set[Any]] = {}
        self.running: set[int] = set()
        self.aside: dict[int, Any] = {}
        self.tickets: dict[int, Ticket] = {}
        #: Of those that wait: who has begun since with a claim of theirs.
        self.passed: dict[int, list[int]] = {}

    # What the structure is asked for.

    @rule(claims=some_claims.filter(bool))
    def arrives_and_waits(self, claims):
        ticket = self.turns.arrive("f")
        self.tickets[ticket.arrival] = ticket
        self._wait(ticket, claims)

    @rule(writing=writes, data=st.data())
    def arrives_and_writes(self, writing, data):
        """One without claims has run, and finds somebody in its way or does not."""
        # Some have been there for long, and began before those that hold claims now.
        old = [t for t in self.tickets.values() if t.arrival not in self.claims]
        ticket = data.draw(st.sampled_from([*old, None])) or self.turns.arrive("f")
        if ticket.arrival in self.aside:
            return
        self.tickets[ticket.arrival] = ticket
        found = self.turns.in_the_way(ticket, writing)
        in_the_way = {
            (claim, arrival)
            for arrival in self.running
            for claim in self.claims[arrival]
            if arrival < ticket.arrival
            and claim[0] in writing
            and (
                writing[claim[0]] is EVERY_KEY
                or any(key.startswith(claim[1]) for key in writing[claim[0]])
            )
        }
        if found is None:
            assert not in_the_way
        else:
            claim, holder = found
            assert (claim, holder.arrival) in in_the_way
            self.turns.stand_aside(ticket, claim)
            self.aside[ticket.arrival] = claim

    @precondition(lambda self: self.running)
    @rule(data=st.data(), more=some_claims)
    def loses(self, data, more):
        ticket = self.tickets[data.draw(st.sampled_from(sorted(self.running)))]
        self._wait(ticket, more)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def is_through(self, data):
        self._leave(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: self.claims or self.aside)
    @rule(data=st.data())
    def gives_up(self, data):
        self._leave(data.draw(st.sampled_from(sorted({*self.claims, *self.aside}))))

    def _wait(self, ticket, claims):
        mine = self.claims.get(ticket.arrival, set())
        self.running.discard(ticket.arrival)
        self.claims[ticket.arrival] = mine | set(claims)
        self.passed[ticket.arrival] = []
        self._went_on(self.turns.wait(ticket, claims), released=mine)

    def _leave(self, arrival):
        released = self.claims.pop(arrival, set()) if arrival in self.running else set()
        self.claims.pop(arrival, None)
        self.passed.pop(arrival, None)
        self.running.discard(arrival)
        self.aside.pop(arrival, None)
        self._went_on(self.turns.leave(self.tickets.pop(arrival)), released)

    def _went_on(self, tickets, released):
        assert len(tickets) == len(set(tickets))
        told = {ticket.arrival for ticket in tickets}
        freed = {arrival for arrival, claim in self.aside.items() if claim in released}
        for arrival in freed:
            del self.aside[arrival]
        began = set()
        while True:
            ready = self._ready()
            if not ready:
                break
            self.running |= ready
            began |= ready
        assert told == freed | began
        for arrival in began:
            del self.passed[arrival]
            for waiting, passed in self.passed.items():
                if self.claims[waiting] & self.claims[arrival]:
                    passed.append(arrival)

    def _ready(self):
        """Those that wait, of whose claims nobody has and nobody older waits for any."""
        return {
            arrival
            for arrival, claims in self.claims.items()
            if arrival not in self.running
            and not any(
                claims & other
                for each, other in self.claims.items()
                if each != arrival and (each in self.running or each < arrival)
            )
        }

    # What holds at any time.

    @invariant()
    def a_claim_has_one_holder(self):
        held = [claim for arrival in self.running for claim in self.claims[arrival]]
        assert len(held) == len(set(held))

    @invariant()
    def everybody_knows_whether_they_wait(self):
        for arrival, ticket in self.tickets.items():
            assert ticket.waits == (arrival in self.claims and arrival not in self.running)
            assert set(ticket.claims) == self.claims.get(arrival, set())
            assert ticket.aside == self.aside.get(arrival)
        waiting = self.claims.keys() - self.running
        assert self.turns.waiting == len(waiting) + len(self.aside)
        assert len(self.turns) == len(set().union(*self.claims.values()))

    @invariant()
    def nobody_younger_goes_before(self):
        for arrival, passed in self.passed.items():
            assert all(each < arrival for each in passed)

    @invariant()
    def somebody_runs_while_somebody_waits(self):
        assert bool(self.running) == bool(self.claims)

    def teardown(self):
        """Whoever waits gets its turn, if those that run end."""
        while self.running:
            self._leave(min(self.running))
        assert not self.claims
        assert not self.aside
        assert self.turns.waiting == len(self.turns) == 0


TestTurns = TurnsMachine.TestCase


def test_one_that_holds_a_claim_does_not_stand_aside():
    turns = Turns()
    first, second = turns.arrive("f"), turns.arrive("g")
    turns.wait(first, [(1, b"a")])
    turns.wait(second, [(1, b"b")])
    with pytest.raises(AssertionError, match="holder may wait"):
        turns.stand_aside(second, (1, b"a"))
