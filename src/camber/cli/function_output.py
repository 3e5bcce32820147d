"""What functions log, in the output of the server that runs them.

Written on a thread of its own, some entries at a time: whoever reads the output may stand still,
and the server does not wait for them. Then entries are dropped, and it is said how many.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import assert_never

import msgspec
from msgspec import structs

from camber import limits
from camber.cli.console import LogFormat
from camber.cli.log_entries import (
    LogEntry,
    Paper,
    Shown,
    for_machines,
    shown_again,
    shown_lines,
)
from camber.deployment.deployment import Deployment
from camber.host import Host
from camber.runtime.function_log import Completion, Entry, FunctionLog, Progress
from camber.runtime.repeats import Repeats

#: Entries within this time, in seconds, are written together.
_GATHER_S = 0.05
#: How long the end of the server waits for what it still has to write, in seconds.
_GRACE_S = 1.0


class FunctionOutput:
    """Prints the runs of functions to standard output.

    For people their lines and failures, for machines each run as one object. Answers from the
    query cache are not printed: no function ran.
    """

    def __init__(self, log: FunctionLog, host: Host, log_format: LogFormat) -> None:
        self._log = log
        self._host = host
        is_json = log_format is LogFormat.JSON
        self._write = _write_json if is_json else _Text().write
        self._is_printed = _every if is_json else _has_text
        self._worker = host.worker("camber-function-output")
        self._waiting: list[Entry] = []
        self._dropped = 0
        self._writer: asyncio.Task[None] | None = None
        log.listen(self._take)

    def _take(self, entry: Entry) -> None:
        if not self._is_printed(entry):
            return
        if len(self._waiting) >= limits.function_log_entries_max:
            self._dropped += 1
            return
        self._waiting.append(entry)
        if self._writer is None:
            self._writer = self._host.spawn("function output", self._write_all())

    async def _write_all(self) -> None:
        from camber.server.log_api import entry_json

        await self._host.sleep(_GATHER_S)
        while self._waiting:
            entries, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, 0
            known = [msgspec.convert(entry_json(entry, self._log), LogEntry) for entry in entries]
            await self._worker.run(self._write, known, dropped)
        self._writer = None

    async def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        if self._writer is None:
            self._worker.close()
            return
        done, _ = await asyncio.wait([self._writer], timeout=_GRACE_S)
        if done:
            self._worker.close()


@asynccontextmanager
async def printing(deployment: Deployment, log_format: LogFormat) -> AsyncIterator[None]:
    """Print what a deployment's functions log, until the block ends."""
    output = FunctionOutput(deployment.runtime.log, deployment.host, log_format)
    try:
        yield
    finally:
        await output.close()


def _every(entry: Entry) -> bool:
    del entry
    return True


def _has_text(entry: Entry) -> bool:
    """Return whether people are shown anything of an entry: most functions log nothing."""
    match entry:
        case Progress():
            return True
        case Completion():
            return bool(entry.lines) or entry.error is not None
        case _:
            assert_never(entry)


def _write_json(entries: list[LogEntry], dropped: int) -> None:
    lines = [json.dumps(for_machines(entry)) for entry in entries]
    if dropped:
        lines.append(json.dumps({"level": "warn", "event": "dropped", "entries": dropped}))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


class _Text:
    """Entries for people. What fails again and again by itself is told in full once."""

    def __init__(self) -> None:
        self._repeats = Repeats()

    def write(self, entries: list[LogEntry], dropped: int) -> None:
        """Write entries, and how many were dropped."""
        paper = Paper(sys.stdout)
        for entry in entries:
            for line in self._lines(entry):
                paper.write(line)
        if dropped:
            sys.stdout.write(
                f"{dropped} entries of functions' log were not printed: too many at once\n"
            )
            sys.stdout.flush()

    def _lines(self, entry: LogEntry) -> Iterator[Shown]:
        times = 1
        if entry.error is not None and entry.comes_by_itself:
            component = entry.component_path or ""
            times = self._repeats.times(component, entry.identifier, entry.error)
        if times == 1:
            yield from (line for _, line in shown_lines(entry))
            return
        yield from (line for _, line in shown_lines(structs.replace(entry, error=None)))
        yield shown_again(entry, times)
