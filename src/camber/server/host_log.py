"""What functions log and why they fail, in the log of the application that Camber is mounted in.

The logger is `camber.functions`: what it shows, where and how is the host's to configure. Without a
configuration Python prints warnings and errors to standard error, failures among them.
"""

from __future__ import annotations

import logging
from typing import Final

from camber.functions.logs import Level, tame
from camber.runtime.executor import Origin
from camber.runtime.function_log import Completion, Entry, FunctionLog, Outcome
from camber.runtime.repeats import Repeats

_log = logging.getLogger("camber.functions")

_LEVELS: Final[dict[Level, int]] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "LOG": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}
#: What no client waits for.
_BY_ITSELF: Final = frozenset({Origin.CRON, Origin.SCHEDULER})


class HostLog:
    """Hands the entries of a log of functions to `logging`. Answers from the cache are none."""

    def __init__(self, log: FunctionLog) -> None:
        self._repeats = Repeats()
        log.listen(self._take)

    def _take(self, entry: Entry) -> None:
        path = f"{entry.component}/{entry.path}" if entry.component else entry.path
        name = f"{entry.kind.value} {tame(path)}"
        about = {"camber_function": path, "camber_request_id": entry.request_id}
        for line in entry.lines:
            level = _LEVELS[line.level]
            if _log.isEnabledFor(level):
                _log.log(level, "%s: %s", name, tame(" ".join(line.messages)), extra=about)
        if not isinstance(entry, Completion) or entry.error is None:
            return
        error = self._told(entry, entry.error)
        verb = "failed" if entry.outcome is Outcome.FAILURE else "was not run"
        _log.error("%s %s, request %s: %s", name, verb, tame(entry.request_id), error, extra=about)

    def _told(self, entry: Completion, error: str) -> str:
        """Return a failure in full, or in a line if it comes again and again by itself."""
        if entry.origin in _BY_ITSELF:
            times = self._repeats.times(entry.component, entry.path, error)
            if times > 1:
                headline, _, _ = error.partition("\n")
                return f"{tame(headline)} (as before, {times} times now)"
        return tame(error)
