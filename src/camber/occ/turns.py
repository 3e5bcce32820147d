"""Turns: who runs next, of the transactions that want the same keys.

A transaction that has lost to another claims the keys that both have used; so does one of which it
is known beforehand that it will want them. Of those that claim the same keys one runs at a time, in
the order in which they arrived. One that has not claimed anything runs at once, but may not write into
what an older one that runs has claimed: that would have to run again.

One that holds claims runs, and waits for nobody; one that waits does so for what runs and for older
ones: there is no deadlock. Nobody younger can write into a claim that is held, and only finitely
many are older: whoever claims what it loses on gets through.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from operator import attrgetter
from typing import TypeAlias

from camber.occ.interval import IndexId
from camber.occ.write_set import EveryKey, IndexWrites

#: The keys of an index that start with a prefix.
Claim: TypeAlias = tuple[IndexId, bytes]

_by_arrival = attrgetter("arrival")


class Ticket:
    """One transaction and what it claims, from its arrival until it is through."""

    __slots__ = ("arrival", "aside", "claims", "losses", "source", "waits")

    def __init__(self, arrival: int, source: str) -> None:
        self.arrival = arrival
        #: The function that it runs.
        self.source = source
        self.claims: dict[Claim, None] = {}
        #: Whether it waits for its turn; else it may run, and holds what it claims.
        self.waits = False
        #: The claim whose holder it waits for with a run that is over.
        self.aside: Claim | None = None
        #: Conflicts that it met while it was its turn.
        self.losses = 0


class Turns:
    """The queues of all claims. Those whose turn it is run until they `wait` again or `leave`."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._queues: dict[Claim, _Queue] = {}
        #: How long the claimed prefixes of an index are, and how many of each.
        self._lengths: dict[IndexId, dict[int, int]] = {}
        #: For metrics: transactions that wait.
        self.waiting = 0

    def __len__(self) -> int:
        """Return how many claims there are."""
        return len(self._queues)

    def arrive(self, source: str) -> Ticket:
        """Return the ticket of a transaction that has come; it claims nothing."""
        self._arrivals += 1
        return Ticket(self._arrivals, source)

    def wait(self, ticket: Ticket, claims: Iterable[Claim]) -> list[Ticket]:
        """Let one that does not wait yet do so, with these claims besides those that it has.

        Returns who may go on now, which may be itself.
        """
        assert not ticket.waits, "it waits already"
        freed: list[Ticket] = []
        for claim in ticket.claims:
            freed += self._queues[claim].freed_by(ticket)
        ticket.claims.update(dict.fromkeys(claims))
        queues = [self._queues.get(claim) or self._made(claim) for claim in ticket.claims]
        for queue in queues:
            insort(queue.waiting, ticket, key=_by_arrival)
        ticket.waits = True
        self.waiting += 1 - len(freed)
        return freed + self._next(queues)

    def stand_aside(self, ticket: Ticket, claim: Claim) -> None:
        """Let one without claims, whose run is over, wait for the holder of `claim`."""
        assert not ticket.claims, "the holder may wait for what it holds"
        self._queues[claim].aside.append(ticket)
        ticket.aside = claim
        self.waiting += 1

    def leave(self, ticket: Ticket) -> list[Ticket]:
        """Forget a transaction that is through, or given up; return who may go on now."""
        if ticket.aside is not None:
            self._queues[ticket.aside].aside.remove(ticket)
            ticket.aside = None
            self.waiting -= 1
            return []
        freed: list[Ticket] = []
        left: list[_Queue] = []
        for claim in ticket.claims:
            queue = self._queues[claim]
            if ticket.waits:
                del queue.waiting[bisect_left(queue.waiting, ticket.arrival, key=_by_arrival)]
            else:
                freed += queue.freed_by(ticket)
            if queue.waiting:
                left.append(queue)
            elif queue.running is None:
                self._drop(claim)
        self.waiting -= ticket.waits + len(freed)
        ticket.claims.clear()
        ticket.waits = False
        return freed + self._next(left)

    def _made(self, claim: Claim) -> _Queue:
        index, prefix = claim
        queue = self._queues[claim] = _Queue()
        lengths = self._lengths.setdefault(index, {})
        lengths[len(prefix)] = lengths.get(len(prefix), 0) + 1
        return queue

    def _drop(self, claim: Claim) -> None:
        index, prefix = claim
        del self._queues[claim]
        lengths = self._lengths[index]
        lengths[len(prefix)] -= 1
        if not lengths[len(prefix)]:
            del lengths[len(prefix)]
            if not lengths:
                del self._lengths[index]

    def _next(self, queues: list[_Queue]) -> list[Ticket]:
        """Hand their claims to the first of these queues that are the first of all of theirs."""
        started: list[Ticket] = []
        for queue in queues:
            if queue.running is not None or not queue.waiting:
                continue
            ticket = queue.waiting[0]
            wanted = [self._queues[claim] for claim in ticket.claims]
            if all(each.running is None and each.waiting[0] is ticket for each in wanted):
                for each in wanted:
                    each.running = each.waiting.pop(0)
                ticket.waits = False
                self.waiting -= 1
                started.append(ticket)
        return started

    def in_the_way(self, ticket: Ticket, writes: IndexWrites) -> tuple[Claim, Ticket] | None:
        """Return an older one that runs with a claim into which `ticket` would write, or None."""
        if not self._queues:
            return None
        for index, keys in writes.items():
            lengths = self._lengths.get(index)
            if lengths is None:
                continue
            if isinstance(keys, EveryKey):
                claims = [claim for claim in self._queues if claim[0] == index]
            else:
                claims = [(index, key[:length]) for key in keys for length in lengths]
            for claim in claims:
                queue = self._queues.get(claim)
                holder = None if queue is None else queue.running
                if holder is not None and holder.arrival < ticket.arrival:
                    return claim, holder
        return None


class _Queue:
    """Those with one claim: who holds it and runs, and who waits for it in order of arrival."""

    __slots__ = ("aside", "running", "waiting")

    def __init__(self) -> None:
        self.running: Ticket | None = None
        self.waiting: list[Ticket] = []
        #: Those that wait for the holder alone.
        self.aside: list[Ticket] = []

    def freed_by(self, ticket: Ticket) -> list[Ticket]:
        """Take the claim back from `ticket`; return those who stood aside for it."""
        assert self.running is ticket, "it does not hold this claim"
        self.running = None
        freed, self.aside = self.aside, []
        for each in freed:
            each.aside = None
        return freed
