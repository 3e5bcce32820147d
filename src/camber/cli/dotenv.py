r"""`.env` files: `NAME=value` lines, as the common tools read and write them.

A value in single quotes or backticks is taken as it is, over several lines too; in double quotes
`\n` and `\r` stand for line ends; a bare one ends before ` #`.
"""

from __future__ import annotations

import re
from typing import Final

from camber.errors import CamberError

_NAME: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]+\Z")
_QUOTES: Final = "'`\""


class NotDotenv(CamberError):
    """A text that is no `.env` file, or a value that none can hold."""

    code = "NotDotenv"


def parse_dotenv(text: str, source: str) -> dict[str, str]:
    """Return the variables of a `.env` file; of one that is there twice the last value.

    Raises:
        NotDotenv: a line is none of `NAME=value`, a comment or empty; it names `source` and line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end].strip()
        if not line or line.startswith("#"):
            at = end + 1
            continue
        start = at + len(text[at:end]) - len(text[at:end].lstrip())
        match = _NAME.match(text, start, end)
        if match is None:
            raise _wrong(text, at, source, "it is no NAME=value")
        value, at = _value(text, match.end(), source)
        found[match.group(1)] = value
    return found


def _value(text: str, at: int, source: str) -> tuple[str, int]:
    """Return the value that begins at `at`, and where the next line does."""
    quote = text[at : at + 1]
    if quote and quote in _QUOTES:
        close = text.find(quote, at + 1)
        if close == -1:
            raise _wrong(text, at, source, f"the quote {quote} is not closed")
        end = _line_end(text, close)
        rest = text[close + 1 : end].strip()
        if rest and not rest.startswith("#"):
            raise _wrong(text, close, source, "more follows the closing quote")
        value = text[at + 1 : close]
        if quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        return value, end + 1
    end = _line_end(text, at)
    bare = text[at:end]
    comment = re.search(r"(^|\s)#", bare)
    return (bare if comment is None else bare[: comment.start()]).strip(), end + 1


def format_dotenv(name: str, value: str) -> str:
    """Return the line that `parse_dotenv` reads as this variable.

    Raises:
        NotDotenv: no form of quotes holds the value.
    """
    if _BARE.match(value) or not value:
        return f"{name}={value}"
    if "\r" not in value:
        for quote in _QUOTES[:2]:
            if quote not in value:
                return f"{name}={quote}{value}{quote}"
    if '"' not in value and "\\" not in value:
        escaped = value.replace("\r", "\\r").replace("\n", "\\n")
        return f'{name}="{escaped}"'
    msg = f"the value of {name} cannot be written in a .env file; read it with --json"
    raise NotDotenv(msg)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end == -1 else end


def _wrong(text: str, at: int, source: str, why: str) -> NotDotenv:
    line = text.count("\n", 0, at) + 1
    # Without the line itself: it may hold a secret.
    return NotDotenv(f"{source}, line {line}: {why}")
