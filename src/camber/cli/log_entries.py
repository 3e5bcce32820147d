"""Entries of the log of functions, as commands get and print them.

For people an entry is some lines of text, each with a style for terminals; what user code or a
client has put into it cannot move the cursor or pass for another line. For machines it is one flat
JSON object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from camber.functions.logs import Level, tame


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One line that a function has logged."""

    level: Level
    messages: tuple[str, ...]
    timestamp: int
    is_truncated: bool = False

    @property
    def text(self) -> str:
        """Return what was logged."""
        end = " (truncated due to length)" if self.is_truncated else ""
        return " ".join(self.messages) + end


class Used(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a run has read and written."""

    database_read_documents: float = 0
    database_read_bytes: float = 0
    database_write_documents: float = 0
    database_write_bytes: float = 0


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry (protocol 8.5), and what of it commands use."""

    kind: str
    udf_type: str
    identifier: str
    timestamp: float
    request_id: str
    execution_id: str
    log_lines: tuple[Line, ...]
    component_path: str | None = None
    cached_result: bool = False
    caller: str | None = None
    execution_time: float = 0.0
    error: str | None = None
    usage_stats: Used = Used()
    mutation_retry_count: int = 0

    @property
    def comes_by_itself(self) -> bool:
        """Return whether no client waits for it: it was scheduled, or is a cron job."""
        return self.caller in _BY_ITSELF

    @property
    def is_end(self) -> bool:
        """Return whether the function has ended with it."""
        return self.kind == "Completion"


#: Levels in order of weight.
LEVELS: Final[tuple[Level, ...]] = ("DEBUG", "LOG", "INFO", "WARN", "ERROR")
_STYLES: Final = {"DEBUG": "dim", "LOG": "", "INFO": "", "WARN": "yellow", "ERROR": "red"}
#: What is said of functions that no client has asked for.
_BY_ITSELF: Final = {"Scheduler": "as scheduled", "Cron": "as a cron job"}
_FAILED: Final = "red"
_SUCCEEDED: Final = "green"
_PREFIX: Final = "cyan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line for people: what it is about, and what it says."""

    prefix: str
    text: str
    style: str


def shown_lines(entry: LogEntry) -> Iterator[tuple[Level, Shown]]:
    """Yield the lines that a function has logged, and why it failed, each with its level."""
    # The lines of a cached result were printed when it was made.
    if not entry.cached_result:
        for line in entry.log_lines:
            text = f"[{line.level}] {line.text}"
            prefix = _prefix(entry, line.timestamp / 1000)
            yield line.level, Shown(prefix=prefix, text=tame(text), style=_STYLES[line.level])
    if entry.error is not None:
        text = f"{entry.error}\n{_facts(entry, 'failed')}"
        prefix = _prefix(entry, entry.timestamp)
        yield "ERROR", Shown(prefix=prefix, text=tame(text), style=_FAILED)


def shown_again(entry: LogEntry, times: int) -> Shown:
    """Return the one line that says that a function has failed as it had before."""
    headline, _, _ = (entry.error or "").partition("\n")
    text = f"{tame(headline)} (as before, {times} times now; {tame(_facts(entry, 'failed'))})"
    return Shown(prefix=_prefix(entry, entry.timestamp), text=text, style=_FAILED)


def shown_success(entry: LogEntry) -> Shown:
    """Return the line that says that a function has ended well."""
    told = "answered from the cache" if entry.cached_result else "ran"
    prefix = _prefix(entry, entry.timestamp)
    return Shown(prefix=prefix, text=tame(_facts(entry, told)), style=_SUCCEEDED)


def _prefix(entry: LogEntry, seconds: float) -> str:
    local = datetime.fromtimestamp(seconds, UTC).astimezone()
    path = (
        f"{entry.component_path}/{entry.identifier}" if entry.component_path else entry.identifier
    )
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03} {entry.udf_type[:1]}({tame(path)})"


def _facts(entry: LogEntry, told: str) -> str:
    parts = [f"{told} in {entry.execution_time * 1000:.1f} ms"]
    used = entry.usage_stats
    for verb, documents, size in (
        ("read", used.database_read_documents, used.database_read_bytes),
        ("wrote", used.database_write_documents, used.database_write_bytes),
    ):
        if documents:
            parts.append(f"{verb} {_counted(documents, 'document')} ({size:.0f} bytes)")
    if entry.comes_by_itself:
        parts.append(_BY_ITSELF[entry.caller or ""])
    if entry.mutation_retry_count:
        parts.append(f"lost {_counted(entry.mutation_retry_count, 'time')} to other commits")
    parts.append(f"request {entry.request_id}")
    return ", ".join(parts)


def _counted(count: float, noun: str) -> str:
    return f"{count:.0f} {noun}{'' if count == 1 else 's'}"


class Paper:
    """Where lines for people go: with colours on a terminal, plain elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal: Any = None
        if stream.isatty():
            # Imported where it is used: a server that writes to a file needs none of it.
            from rich.console import Console

            self._terminal = Console(file=stream, highlight=False, soft_wrap=True)

    def write(self, line: Shown) -> None:
        """Write one line."""
        if self._terminal is None:
            self._stream.write(f"{line.prefix} {line.text}\n")
        else:
            from rich.text import Text

            self._terminal.print(
                Text.assemble((line.prefix, _PREFIX), " ", (line.text, line.style))
            )
        self._stream.flush()


def for_machines(entry: LogEntry) -> dict[str, Any]:
    """Return an entry as one flat object."""
    lines = [
        {"level": line.level.lower(), "message": line.text, "time": iso_time(line.timestamp / 1000)}
        for line in entry.log_lines
    ]
    flat: dict[str, Any] = {
        "level": _level(entry),
        "time": iso_time(entry.timestamp),
        "event": "function" if entry.is_end else "function_progress",
        "function": entry.identifier,
        "kind": entry.udf_type.lower(),
        "request_id": entry.request_id,
        "execution_id": entry.execution_id,
    }
    if entry.component_path:
        flat["component"] = entry.component_path
    if entry.is_end:
        used = entry.usage_stats
        flat |= {
            "caller": entry.caller,
            "outcome": "success" if entry.error is None else "failure",
            "duration_ms": round(entry.execution_time * 1000, 3),
            "cached": entry.cached_result,
            "documents_read": int(used.database_read_documents),
            "bytes_read": int(used.database_read_bytes),
            "documents_written": int(used.database_write_documents),
            "bytes_written": int(used.database_write_bytes),
            "retries": entry.mutation_retry_count,
        }
        if entry.error is not None:
            flat["error"] = entry.error
    if lines:
        flat["lines"] = lines
    return flat


def _level(entry: LogEntry) -> str:
    if entry.error is not None:
        return "error"
    weights = [LEVELS.index(line.level) for line in entry.log_lines]
    heaviest = LEVELS[max(weights, default=0)]
    return heaviest.lower() if heaviest in {"WARN", "ERROR"} else "info"


def iso_time(seconds: float) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
