"""What commands print: for people, or as JSON lines."""

from __future__ import annotations

import json
import logging
import sys
from enum import Enum
from types import TracebackType
from typing import Any

from camber.cli.log_entries import iso_time
from camber.host import RealHost

_HOST = RealHost()
#: The names that functions' own levels have.
_LEVELS = {logging.WARNING: "warn", logging.CRITICAL: "error"}


class LogFormat(Enum):
    """How the server writes its log."""

    TEXT = "text"
    JSON = "json"


class Console:
    """Writes to standard output and standard error, each line at once."""

    def __init__(self, log_format: LogFormat = LogFormat.TEXT) -> None:
        self._format = log_format

    def say(self, text: str, **fields: Any) -> None:
        """Write one line of what happens."""
        self._write("info", text, fields, sys.stdout)

    def complain(self, text: str, **fields: Any) -> None:
        """Write what went wrong."""
        self._write("error", text, fields, sys.stderr)

    def _write(self, level: str, text: str, fields: dict[str, Any], stream: Any) -> None:
        if self._format is LogFormat.JSON:
            now = iso_time(_HOST.now_ns() / 1e9)
            line = {"level": level, "time": now, "event": "server", "message": text, **fields}
            text = json.dumps(line)
        # In one piece: other threads write too, and `print` may write the line's end by itself.
        stream.write(f"{text}\n")
        stream.flush()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "level": _LEVELS.get(record.levelno, record.levelname.lower()),
            "time": iso_time(record.created),
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(log_format: LogFormat) -> None:
    """Send the log of the server and its libraries to standard error."""
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # What user code writes by other ways than its log lines is shown to people as it is.
    output = logging.getLogger("camber.output")
    output.setLevel(logging.INFO)
    if log_format is LogFormat.TEXT:
        plain = logging.StreamHandler()
        plain.setFormatter(logging.Formatter("%(message)s"))
        output.handlers = [plain]
        output.propagate = False
    logging.captureWarnings(capture=log_format is LogFormat.JSON)
    if log_format is LogFormat.JSON:
        sys.excepthook = _log_uncaught


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write what ends the process as everything else: one line."""
    logging.getLogger("camber").critical("the server ended", exc_info=(kind, error, trace))
