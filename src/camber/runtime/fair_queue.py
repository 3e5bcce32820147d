"""What waits to be run: everybody gets a turn, whatever others ask for.

Requests wait in lanes, which are served by turns; within a lane its clients are. So nobody's hundred
slow queries go before another's one, and no flood of queries before a mutation.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Lane(IntEnum):
    """Kinds of requests that do not wait for each other."""

    #: Mutations for which others wait.
    IN_TURN = 0
    MUTATION = 1
    QUERY = 2
    #: Work of the server itself.
    OWN = 3


class FairQueue(Generic[T]):
    """Requests of many clients. To put one in and to take one out costs the same, however many."""

    def __init__(self) -> None:
        self._count = 0
        #: Taken out before, and put back: these come first.
        self._returned: deque[T] = deque()
        self._lanes: list[OrderedDict[str, deque[T]]] = [OrderedDict() for _ in Lane]
        self._next = 0

    def __len__(self) -> int:
        """Return how many requests wait."""
        return self._count

    def put(self, request: T, lane: Lane, client: str) -> None:
        """Let a request of a client wait."""
        self._count += 1
        requests = self._lanes[lane].get(client)
        if requests is None:
            requests = self._lanes[lane][client] = deque()
        requests.append(request)

    def put_back(self, request: T) -> None:
        """Let one that was taken out wait before all others."""
        self._count += 1
        self._returned.appendleft(request)

    def take(self) -> T:
        """Take out the next request; there must be one."""
        self._count -= 1
        if self._returned:
            return self._returned.popleft()
        lanes = self._lanes
        at = self._next
        while not lanes[at]:
            at = (at + 1) % len(lanes)
        self._next = (at + 1) % len(lanes)
        lane = lanes[at]
        client, requests = next(iter(lane.items()))
        request = requests.popleft()
        if requests:
            lane.move_to_end(client)
        else:
            del lane[client]
        return request

    def oldest(self) -> Iterator[T]:
        """Yield of each client what it asked for first, in each lane."""
        yield from self._returned
        for lane in self._lanes:
            for requests in lane.values():
                yield requests[0]
