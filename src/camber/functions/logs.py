"""Log lines: `ctx.log`, and what user code prints.

A line is structured where it is made: level, the parts that were logged, when. Callers get its
text (`[LOG] 'sent' 3`), the operator's log all of it.

`print` is replaced once for the process; which function a line belongs to is known by a context
variable, so that functions on several threads and tasks keep apart and everything else prints as
before.
"""

from __future__ import annotations

import builtins
import contextvars
import sys
import unicodedata
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Literal, TextIO

import msgspec

from camber import limits

_TRUNCATED = " (truncated due to length)"
_OVERFLOW = "Log overflow: further lines of this execution are dropped"

Level = Literal["DEBUG", "INFO", "LOG", "WARN", "ERROR"]


def tame(text: str) -> str:
    """Return text whose further lines are set in, and whose control characters are written out.

    What user code or a client has put into it cannot move a cursor or pass for another entry.
    """
    return "".join(
        "\n    " if c == "\n" else c if c == "\t" or not _is_control(c) else ascii(c)[1:-1]
        for c in text
    )


def _is_control(character: str) -> bool:
    # Cc moves a terminal's cursor, Cf turns the direction of writing, Zl and Zp end lines.
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs"}


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that user code logged. `messages` are what was logged, each shown as text."""

    level: Level
    messages: tuple[str, ...]
    timestamp_ms: int
    is_truncated: bool = False

    @property
    def text(self) -> str:
        """Return the line as callers see it (protocol 5.6)."""
        end = _TRUNCATED if self.is_truncated else ""
        return f"[{self.level}] {' '.join(self.messages)}{end}"


class Log:
    """The log lines of one execution; `ctx.log` of its context.

    `lines` are the execution's own and go to the operator's log. `texts` go to the caller: the
    same, and the lines of functions that were run from here.
    """

    def __init__(
        self, now_ns: Callable[[], int], tell: Callable[[LogLine], None] | None = None
    ) -> None:
        self.lines: list[LogLine] = []
        self.texts: list[str] = []
        self._now_ns = now_ns
        self._tell = tell

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

    def _write(self, level: Level, values: tuple[Any, ...], fields: dict[str, Any]) -> None:
        parts = [shown(value) for value in values]
        parts += [f"{name}={shown(value)}" for name, value in fields.items()]
        self.line(level, parts)

    def line(self, level: Level, messages: Iterable[str]) -> None:
        """Write one line of finished parts."""
        self._append(_line(level, tuple(messages), self._now_ms()))

    def include(self, log: Log) -> None:
        """Take over the lines of a call that was part of this very execution."""
        for line in log.lines:
            self._append(line)

    def show(self, texts: Iterable[str]) -> None:
        """Show the caller the lines of a call that was an execution of its own."""
        for text in texts:
            self._show(text)

    def _append(self, line: LogLine) -> None:
        if len(self.lines) >= limits.log_lines_max:
            return
        if len(self.lines) == limits.log_lines_max - 1:
            line = _line("WARN", (_OVERFLOW,), line.timestamp_ms)
        self.lines.append(line)
        self._show(line.text)
        if self._tell is not None:
            self._tell(line)

    def _show(self, text: str) -> None:
        if len(self.texts) < limits.log_lines_max - 1:
            self.texts.append(text)
        elif len(self.texts) == limits.log_lines_max - 1:
            self.texts.append(f"[WARN] {_OVERFLOW}")

    def _now_ms(self) -> int:
        return self._now_ns() // 1_000_000


def _line(level: Level, messages: tuple[str, ...], timestamp_ms: int) -> LogLine:
    text = " ".join(messages)
    if not text.isascii():
        # A half of a pair has no place in UTF-8, and what shows a value is user code.
        messages = tuple(part.encode(errors="replace").decode() for part in messages)
    # Four bytes are the most that a character takes: the common short line is not encoded.
    if len(text) * 4 > limits.log_line_bytes_max:
        encoded = text.encode(errors="replace")
        if len(encoded) > limits.log_line_bytes_max:
            kept = encoded[: limits.log_line_bytes_max - len(_TRUNCATED)].decode(errors="ignore")
            return LogLine(
                level=level, messages=(kept,), timestamp_ms=timestamp_ms, is_truncated=True
            )
    return LogLine(level=level, messages=messages, timestamp_ms=timestamp_ms)


def shown(value: Any) -> str:
    """Return a logged value as text."""
    if isinstance(value, str):
        # As the official runtime shows strings: in single quotes unless they contain one.
        return repr(str(value))
    return repr(value)


_current: contextvars.ContextVar[Log | None] = contextvars.ContextVar("camber_log", default=None)


class capturing:  # noqa: N801  # a statement of its own, as contextlib's are
    """Send what is printed within the block, in this context, to `log`."""

    __slots__ = ("_log", "_token")

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._token = _current.set(self._log)

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)


def _is_debugger(frame: FrameType) -> bool:
    """Return whether `pdb` prints, or what was typed at its prompt: that is for the terminal."""
    module = frame.f_globals.get("__name__")
    return module in {"pdb", "bdb", "cmd"} or frame.f_code.co_filename in {"<stdin>", "<console>"}


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
        is_logged = log is not None and file in {None, sys.stdout}
        if log is None or not is_logged or _is_debugger(sys._getframe(1)):  # noqa: SLF001
            original(*values, sep=sep, end=end, file=file, flush=flush)
            return
        parts = [shown(value) for value in values]
        # Another separator is part of what was printed: the line is one message then.
        log.line("LOG", parts if sep is None or sep == " " else [sep.join(parts)])

    print_.__camber__ = True  # type: ignore[attr-defined]
    builtins.print = print_  # type: ignore[assignment]  # the two overloads in one
