"""`camber logs`: what functions log and why they fail, as it happens."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import msgspec
import typer

from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.log_entries import (
    LEVELS,
    LogEntry,
    Paper,
    Shown,
    shown_lines,
    shown_success,
)
from camber.cli.options import on_deployment

#: Pauses before a server that is gone is looked for again, in seconds; doubled each time.
_PAUSE_S_MIN = 0.25
_PAUSE_S_MAX = 16.0
#: The pause from which on it is told that the server is gone: a restart is shorter.
_PAUSE_S_TOLD = 2.0
_SUCCESS_LEVEL = LEVELS.index("INFO")
#: What a server that ends, or a proxy before one that is gone, answers with.
_PASSING = frozenset({"Unreachable", "InternalServerError", "CallFailed", "BackendIsNotRunning"})


class LevelName(Enum):
    """The least level to print."""

    DEBUG = "debug"
    LOG = "log"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@on_deployment
def logs(
    client: Client,
    console: Console,
    history: Annotated[
        int | None,
        typer.Option(
            help="Entries from before to print first; none, or all with --no-follow.", min=0
        ),
    ] = None,
    success: Annotated[  # noqa: FBT002
        bool, typer.Option("--success", help="Print functions that end well too.")
    ] = False,
    function: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Only this function, or those of this module."),
    ] = None,
    level: Annotated[
        LevelName, typer.Option(help="The least level to print; failures are errors.")
    ] = LevelName.DEBUG,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what was done for this request.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only lines that contain this.")
    ] = None,
    jsonl: Annotated[  # noqa: FBT002
        bool, typer.Option("--jsonl", help="Print whole entries, each as a line of JSON.")
    ] = False,
    follow: Annotated[  # noqa: FBT002
        bool, typer.Option(help="Go on with what comes; else end with what there was.")
    ] = True,
) -> None:
    """Print what functions log and why they fail, as it happens.

    Answers from the query cache are printed with --success and --jsonl only.
    """
    with _reader_may_leave():
        wanted = Wanted(
            function=function,
            least=LEVELS.index(level.name),
            request=request,
            search=None if search is None else search.casefold(),
            # Whole entries are printed of whatever ends, as the official command does.
            success=success or jsonl,
        )
        print_entry = _print_json if jsonl else _text_printer(wanted)
        first, cursor = _ask(client, 0.0, hold="0")
        kept = len(first) if history is None and not follow else history or 0
        matching = [raw for raw in first if wanted.entry(raw)]
        for raw in matching[len(matching) - kept :] if kept else []:
            print_entry(raw)
        if follow:
            for raw in _following(client, cursor, console):
                if wanted.entry(raw):
                    print_entry(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries, and which lines of them, to print."""

    function: str | None
    least: int
    request: str | None
    search: str | None
    success: bool

    def entry(self, raw: Raw) -> bool:
        """Return whether any of an entry is to be printed."""
        entry = raw.entry
        if self.function is not None and not _is_in(entry.identifier, self.function):
            return False
        if self.request is not None and entry.request_id != self.request:
            return False
        return any(True for _ in self.lines(entry)) or self.end(entry)

    def lines(self, entry: LogEntry) -> Iterator[Shown]:
        """Yield what is to be printed of an entry's lines."""
        for level, line in shown_lines(entry):
            if LEVELS.index(level) >= self.least and self._finds(line.text):
                yield line

    def end(self, entry: LogEntry) -> bool:
        """Return whether to print that a function has ended well."""
        if not self.success or not entry.is_end or entry.error is not None:
            return False
        return self.least <= _SUCCESS_LEVEL and self._finds(shown_success(entry).text)

    def _finds(self, text: str) -> bool:
        return self.search is None or self.search in text.casefold()


def _is_in(path: str, asked: str) -> bool:
    asked = asked.removesuffix(":default")
    return path in {asked, f"{asked}:default"} or path.startswith((f"{asked}:", f"{asked}/"))


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry, and the very JSON that it came as."""

    entry: LogEntry
    json: bytes


class _Answer(msgspec.Struct, rename="camel"):
    entries: list[msgspec.Raw]
    new_cursor: float


def _ask(client: Client, cursor: float, **parameters: str) -> tuple[list[Raw], float]:
    """Return the entries after a cursor, and the cursor after them."""
    asked = {"cursor": repr(cursor), **parameters}
    response = client.request("GET", "/api/stream_function_logs", params=asked)
    try:
        answer = msgspec.json.decode(response.content, type=_Answer)
        entries = [
            Raw(msgspec.json.decode(each, type=LogEntry), bytes(each)) for each in answer.entries
        ]
    except msgspec.DecodeError as error:
        msg = f"{client.url} does not answer with entries of a log: {error}. Is it Camber?"
        raise CallFailed(msg, code="NoLog") from None
    return entries, answer.new_cursor


def _following(client: Client, cursor: float, console: Console) -> Iterator[Raw]:
    """Yield entries as they come; a server that is gone is waited for."""
    pause_s = 0.0
    while True:
        try:
            entries, cursor = _ask(client, cursor)
        except CallFailed as error:
            if error.code not in _PASSING:
                raise
            pause_s = min(max(2 * pause_s, _PAUSE_S_MIN), _PAUSE_S_MAX)
            if pause_s == _PAUSE_S_TOLD:
                console.complain(f"{error.sentence} Waiting for it")
            time.sleep(pause_s)
        else:
            if pause_s >= _PAUSE_S_TOLD:
                console.complain(f"{client.url} answers again")
            pause_s = 0.0
            yield from entries


def _print_json(raw: Raw) -> None:
    sys.stdout.write(raw.json.decode() + "\n")
    sys.stdout.flush()


def _text_printer(wanted: Wanted) -> Callable[[Raw], None]:
    paper = Paper(sys.stdout)

    def print_entry(raw: Raw) -> None:
        for line in wanted.lines(raw.entry):
            paper.write(line)
        if wanted.end(raw.entry):
            paper.write(shown_success(raw.entry))

    return print_entry


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """End quietly when what reads our output has seen enough: `camber logs | head`."""
    try:
        yield
    except BrokenPipeError:
        # Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None
