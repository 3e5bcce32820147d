"""Headers of a request, as ASGI has them, and those of an answer that say what a browser may do with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.types import Scope

#: An answer is what its Content-Type says, and never a page because it looks like one.
AS_DECLARED: Final = (b"x-content-type-options", b"nosniff")

#: A front end that an operator serves runs its own scripts; what is around it may not frame it, nor
#: move what its relative URLs mean.
PAGE_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "frame-ancestors 'self'; base-uri 'self'",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }
)

_NO_SCRIPTS: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
#: Browsers show a PDF by a program of their own, which a sandbox would keep out; what scripts a PDF
#: has run in that program, and not in our origin.
_UNBOXED: Final = frozenset({"application/pdf"})


def header_of(scope: Scope, name: bytes) -> str | None:
    """Return a header's first value, or None. Asked often, of headers that are mostly not there."""
    for found, value in scope["headers"]:
        if found == name:
            return str(value, "latin-1")
    return None


def length_of(scope: Scope) -> int | None:
    """Return how many bytes the body has as its head says, or None if that says nothing of it.

    Of a number that is too long its beginning, which is too much for anybody.
    """
    said = header_of(scope, b"content-length")
    return int(said[:18]) if said is not None and said.isdecimal() else None


def untrusted_file_headers(media_type: str | None) -> dict[str, str]:
    """Return the headers with which a file is served that anybody may have made.

    Whatever it is, a page or a picture with scripts in it too, no script of it runs, and it is of no
    origin: it cannot read what this server, or a page of its origin, keeps in the browser. Pages of
    other origins may show it, which is what files are for.
    """
    kind = (media_type or "").partition(";")[0].strip().lower()
    return {
        "Content-Security-Policy": _NO_SCRIPTS if kind in _UNBOXED else f"{_NO_SCRIPTS}; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Referrer-Policy": "no-referrer",
    }
