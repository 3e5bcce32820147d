"""Headers of a request, as ASGI has them: pairs of bytes, names in lower case."""

from __future__ import annotations

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """Return a header's first value, or None. Asked often, of headers that are mostly not there."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None
