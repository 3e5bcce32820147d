"""Log lines: `ctx.log`, and what user code prints.

`print` is replaced once for the process; which function a line belongs to is known by a context
variable, so that functions on several threads and tasks keep apart and everything else prints as
before.
"""

from __future__ import annotations

import builtins
import contextvars
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from camber import limits

_TRUNCATED = " (truncated due to length)"


class Log:
    """The log lines of one execution; `ctx.log` of its context."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, *values: Any, **fields: Any) -> None:
        """Write a `[DEBUG]` line."""
        self._write("DEBUG", values, fields)

    def info(self, *values: Any, **fields: Any) -> None:
        """Write an `[INFO]` line."""
        self._write("INFO", values, fields)

    def warn(self, *values: Any, **fields: Any) -> None:
        """Write a `[WARN]` line."""
        self._write("WARN", values, fields)

    def error(self, *values: Any, **fields: Any) -> None:
        """Write an `[ERROR]` line."""
        self._write("ERROR", values, fields)

    def extend(self, lines: list[str]) -> None:
        """Take over the lines of a nested call."""
        for line in lines:
            self._append(line)

    def _write(self, level: str, values: tuple[Any, ...], fields: dict[str, Any]) -> None:
        parts = [_shown(value) for value in values]
        parts += [f"{name}={_shown(value)}" for name, value in fields.items()]
        self.line(level, " ".join(parts))

    def line(self, level: str, text: str) -> None:
        """Write one line of finished text."""
        self._append(f"[{level}] {_cut(text)}")

    def _append(self, line: str) -> None:
        if len(self.lines) < limits.log_lines_max - 1:
            self.lines.append(line)
        elif len(self.lines) == limits.log_lines_max - 1:
            self.lines.append("[WARN] Log overflow: further lines of this execution are dropped")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        # As the official runtime shows strings: in single quotes unless they contain one.
        return repr(str(value))
    return repr(value)


def _cut(text: str) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= limits.log_line_bytes_max:
        return text
    room = limits.log_line_bytes_max - len(_TRUNCATED)
    return encoded[:room].decode(errors="ignore") + _TRUNCATED


_current: contextvars.ContextVar[Log | None] = contextvars.ContextVar("camber_log", default=None)


@contextmanager
def capturing(log: Log) -> Iterator[None]:
    """Send what is printed within the block, in this context, to `log`."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)


def install_print() -> None:
    """Make `print` of user code a log line. Elsewhere it prints as before."""
    if getattr(builtins.print, "__camber__", False):
        return
    original = builtins.print

    def print_(
        *values: Any,
        sep: str | None = " ",
        end: str | None = "\n",
        file: TextIO | None = None,
        flush: bool = False,  # print's own signature
    ) -> None:
        log = _current.get()
        if log is None or file not in {None, sys.stdout}:
            original(*values, sep=sep, end=end, file=file, flush=flush)
            return
        separator = " " if sep is None else sep
        log.line("LOG", separator.join(_shown(value) for value in values))

    print_.__camber__ = True  # type: ignore[attr-defined]
    builtins.print = print_  # type: ignore[assignment]  # the two overloads in one
