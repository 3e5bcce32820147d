"""Which client calls: the `Convex-Client` header and the version in the socket's path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from camber.errors import BadRequest
from camber.values.wire import Format

#: A semantic version, with an optional pre-release part.
_SEMVER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?\Z")
#: The first npm client that understands TransitionChunk (protocol 3.13).
_CHUNKS_SINCE = (1, 28, 0)
#: The first clients that name their format or expect plain JSON (protocol 1.3).
_CLEAN_SINCE = {"npm": (1, 4, 1), "python": (0, 5, 0)}


@dataclass(frozen=True, slots=True)
class ClientVersion:
    """A client's name and version; `UNKNOWN` if it does not say."""

    name: str
    version: tuple[int, int, int]

    @property
    def understands_chunks(self) -> bool:
        """Return whether large Transitions may come in parts."""
        return self.name == "npm" and self.version >= _CHUNKS_SINCE

    @property
    def default_format(self) -> Format:
        """Return the form of results for a request that names none."""
        since = _CLEAN_SINCE.get(self.name)
        if since is not None and self.version < since:
            return Format.ENCODED
        return Format.CLEAN


UNKNOWN = ClientVersion("unknown", (0, 0, 0))


def parse_version(text: str) -> tuple[int, int, int]:
    """Return a semantic version.

    Raises:
        BadRequest: it is none (code InvalidClientVersion).
    """
    match = _SEMVER.match(text)
    if match is None:
        msg = f"{text!r} is no version such as 1.48.0"
        raise BadRequest(msg, code="InvalidClientVersion")
    major, minor, patch = match.group(1, 2, 3)
    return int(major), int(minor), int(patch)


def parse_client_header(header: str | None) -> ClientVersion:
    """Return the client of a `Convex-Client` header: `npm-1.48.0`, `npm-cli-1.48.0`.

    Raises:
        BadRequest: it is there and names no client (code InvalidClientVersion).
    """
    if header is None:
        return UNKNOWN
    # The longest suffix that is a version wins: names have dashes, and so have pre-releases.
    for at, character in enumerate(header):
        if character == "-" and _SEMVER.match(header[at + 1 :]):
            return ClientVersion(header[:at], parse_version(header[at + 1 :]))
    msg = f"{header!r} is no client such as npm-1.48.0"
    raise BadRequest(msg, code="InvalidClientVersion")
