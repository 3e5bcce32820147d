"""Whoever waits is served after at most one request of each other client, in each lane by turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from camber.runtime.fair_queue import FairQueue, Lane

lanes = st.sampled_from(Lane)
clients = st.sampled_from("abcd")


class FairQueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.queue: FairQueue[tuple[Lane, str, int]] = FairQueue()
        self.waiting: list[tuple[Lane, str, int]] = []
        self.returned: list[tuple[Lane, str, int]] = []
        self.taken: list[tuple[Lane, str, int]] = []
        self.number = 0
        #: By lane, and by client of a lane that waits: who was served since it was, or came.
        self.since_lane: dict[Lane, list[Lane]] = {}
        self.since_client: dict[tuple[Lane, str], list[str]] = {}

    @rule(lane=lanes, client=clients)
    def put(self, lane, client):
        request = (lane, client, self.number)
        self.number += 1
        self.waiting.append(request)
        self.since_lane.setdefault(lane, [])
        self.since_client.setdefault((lane, client), [])
        self.queue.put(request, lane, client)

    @precondition(lambda self: self.taken)
    @rule()
    def put_back(self):
        request = self.taken.pop()
        self.returned.append(request)
        self.queue.put_back(request)

    @precondition(lambda self: self.waiting or self.returned)
    @rule()
    def take(self):
        request = self.queue.take()
        self.taken.append(request)
        if self.returned:
            assert request == self.returned.pop()
            return
        lane, client, _ = request
        # Its client's oldest in this lane.
        assert request == next(r for r in self.waiting if r[:2] == (lane, client))
        self.waiting.remove(request)
        for waits, served in self.since_lane.items():
            served.append(lane)
            # No other lane twice while this one waits.
            other_lanes = [other for other in served if other is not waits]
            assert len(other_lanes) == len(set(other_lanes))
        for (of, waiting), served_clients in self.since_client.items():
            if of is lane:
                served_clients.append(client)
                other_clients = [other for other in served_clients if other != waiting]
                assert len(other_clients) == len(set(other_clients))
        del self.since_lane[lane], self.since_client[lane, client]
        if any(r[0] == lane for r in self.waiting):
            self.since_lane[lane] = []
        if any(r[:2] == (lane, client) for r in self.waiting):
            self.since_client[lane, client] = []

    @invariant()
    def all_are_there(self):
        assert len(self.queue) == len(self.waiting) + len(self.returned)

    @invariant()
    def the_oldest_of_each_client_are_known(self):
        first: dict[tuple[Lane, str], tuple[Lane, str, int]] = {}
        for request in self.waiting:
            first.setdefault(request[:2], request)
        assert sorted(self.queue.oldest()) == sorted([*first.values(), *self.returned])


TestFairQueue = FairQueueMachine.TestCase


@given(st.integers(1, 50), st.integers(1, 50))
def test_one_request_of_another_client_waits_for_one_of_a_flood(flood, mutations):
    queue: FairQueue[str] = FairQueue()
    for _ in range(flood):
        queue.put("slow query", Lane.QUERY, "greedy")
    queue.put("query", Lane.QUERY, "other")
    for _ in range(mutations):
        queue.put("mutation", Lane.MUTATION, "greedy")
    order = [queue.take() for _ in range(len(queue))]
    assert order.index("query") <= 4
    assert order.index("mutation") <= 1
