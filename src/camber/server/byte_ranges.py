"""`Range` headers (RFC 9110 14), as files are served: one range at most. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"([0-9]*)-([0-9]*)")
#: Digits of a position that a file may have. One of more digits lies beyond the end of any.
_DIGITS: Final = 18
_BEYOND: Final = 10**_DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes `start` up to `end`, which are there."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """No byte of what was asked for is there, or several ranges of bytes that are."""


class _Malformed(Exception):
    """A header that is no list of ranges: it asks for nothing."""


def asked_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of `size` bytes that a header asks for; None for all of them.

    A header of which any part is no range of bytes asks for nothing, and neither does any of an
    empty file. Ranges that lie beyond the end don't count beside one that does not.

    Raises:
        Unsatisfiable: it asks for what is not there, or for several ranges.
    """
    if header is None or not size:
        return None
    unit, _, value = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    try:
        asked = [_range(part.strip(), size) for part in value.split(",") if part.strip()]
    except _Malformed:
        return None
    if not asked:
        return None
    there = [each for each in asked if each is not None]
    if len(there) != 1:
        raise Unsatisfiable
    return there[0]


def _range(text: str, size: int) -> ByteRange | None:
    """Return one range; None if no byte of it is there."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _Malformed
    first, last = (number.lstrip("0") or number[:1] for number in match.groups())
    if not first:
        if not last:
            raise _Malformed
        start, end = max(0, size - _position(last)), size
    else:
        # Compared as texts, which may be of any length.
        if last and (len(last), last) < (len(first), first):
            raise _Malformed
        start, end = _position(first), min(_position(last) + 1, size) if last else size
    return ByteRange(start=start, end=end) if start < end else None


def _position(digits: str) -> int:
    return int(digits) if len(digits) <= _DIGITS else _BEYOND
