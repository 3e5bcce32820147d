"""What a server counts of its sockets; rooms count for themselves (`camber.measures`)."""

from __future__ import annotations

from collections import Counter

from camber.measures import SECONDS, Histogram


class Metrics:
    """The counts of one server's sockets."""

    def __init__(self) -> None:
        #: Open WebSockets.
        self.clients_connected = 0
        #: Bytes that are held for sockets that have much, as of the last look at them.
        self.held_bytes = 0
        #: Who was turned away or dropped because a bound was met, by the code that says which.
        self.refused: Counter[str] = Counter()
        #: Transitions sent; and seconds from a commit that touched a client's queries until then.
        self.transitions = 0
        self.transition_s = Histogram(SECONDS)

    def transition_sent(self, now_s: float, stale_since_s: float | None, clients: int = 1) -> None:
        """Count a Transition, and how long after the first commit that it shows."""
        self.transitions += clients
        if stale_since_s is not None:
            self.transition_s.observe(now_s - stale_since_s, clients)
