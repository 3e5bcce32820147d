"""How much is measured: all of it, or just enough to see that the harness works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How often, how long, and with how many clients."""

    pairs: int
    seconds: float
    warmup_s: float
    #: What counts of clients and documents are divided by.
    shrink: int

    def of(self, count: int) -> int:
        """Return a count of clients or documents at this scale."""
        return max(2, count // self.shrink)


WHOLE = Scale(pairs=5, seconds=3.0, warmup_s=0.5, shrink=1)
QUICK = Scale(pairs=1, seconds=0.3, warmup_s=0.1, shrink=50)
