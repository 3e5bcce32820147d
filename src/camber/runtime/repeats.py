"""Failures that come again and again: the first is told in full, those that are like it in a line.

A cron job that always raises would fill the output with one traceback. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from camber import limits


@dataclass(slots=True)
class _Last:
    error: str
    times: int


class Repeats:
    """How each function has failed last, and how often so since it failed otherwise."""

    def __init__(self) -> None:
        #: By component and path, in the order in which they have failed last.
        self._known: OrderedDict[tuple[str, str], _Last] = OrderedDict()

    def times(self, component: str, path: str, error: str) -> int:
        """Note a failure; return how often the function has failed so by now, 1 for the first."""
        last = self._known.get((component, path))
        if last is None or last.error != error:
            last = self._known[component, path] = _Last(error, 0)
        last.times += 1
        self._known.move_to_end((component, path))
        if len(self._known) > limits.repeated_failures_kept:
            self._known.popitem(last=False)
        return last.times
