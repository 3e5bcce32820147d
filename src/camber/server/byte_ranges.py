"""`Range` headers (RFC 9110 14), as files are served: one range at most. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes `start` up to `end`, which are there."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """No byte of what was asked for is there, or more than one range was asked for."""


def asked_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of `size` bytes that a header asks for; None for all of them.

    A header that is no range of bytes asks for nothing, and neither does any of an empty file.

    Raises:
        Unsatisfiable: it asks for what is not there, or for several ranges.
    """
    if header is None or not size:
        return None
    unit, _, value = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    ranges = [part.strip() for part in value.split(",") if part.strip()]
    found = [_RANGE.fullmatch(part) for part in ranges]
    if not found or not all(found):
        return None
    if len(found) > 1:
        raise Unsatisfiable
    match = found[0]
    assert match is not None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return None
    if start >= end:
        raise Unsatisfiable
    return ByteRange(start=start, end=end)
