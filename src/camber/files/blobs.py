"""What is asked of a place for blobs.

Every verb is a plain blocking `def`, called on a thread that may wait. A blob is written once,
is there whole or not at all, and never changes.
"""

from __future__ import annotations

import logging
import re
from typing import Final, Protocol

from camber.errors import StorageDamaged, StorageFailed

_log = logging.getLogger("camber.files")

_KEY: Final = re.compile(r"[0-9a-f]{32}")


class BlobMissing(StorageDamaged):
    """A blob that should be there and is not: somebody else has removed it."""

    code = "FileContentMissing"


class BlobsUnusable(StorageFailed):
    """The place for blobs cannot be used as asked."""

    code = "FileStorageUnusable"


class BlobWriter(Protocol):
    """A blob on its way. Used by one thread at a time; ended by `finish` or by `abandon`."""

    def write(self, data: bytes) -> None:
        """Add bytes at its end.

        Raises:
            StorageFull: there is no room for them.
            StorageFailed: they could not be written otherwise.
        """

    def finish(self) -> None:
        """Make it durable, and found under its key from now on.

        Raises:
            StorageFailed: it could not be. It still has to be abandoned.
        """

    def abandon(self) -> None:
        """Leave nothing of it, as far as that is possible; `BlobStore.remove` does the rest."""


class BlobReader(Protocol):
    """Part of a blob, read from its beginning on. Used by one thread at a time."""

    def read(self) -> bytes:
        """Return the next bytes, at most `limits.file_piece_bytes`; none at the end.

        Raises:
            StorageFailed: they cannot be read.
        """

    def close(self) -> None:
        """Let go of it; closing twice does nothing."""


class BlobStore(Protocol):
    """A place for blobs. Keys are 32 hex digits."""

    def write(self, key: str) -> BlobWriter:
        """Begin a blob under a key that has none.

        Raises:
            StorageFailed: it cannot be begun.
        """

    def read(self, key: str, start: int, end: int) -> BlobReader:
        """Return bytes `start` up to `end`, which the blob has, to be read.

        Raises:
            BlobMissing: there is no such blob.
            StorageFailed: it cannot be read.
        """

    def remove(self, key: str) -> None:
        """Remove a blob, and what was left of one on its way; that there is none is fine.

        Raises:
            StorageFailed: it may still be there.
        """


def gone(why: str) -> BlobMissing:
    """Return what is told of a blob that is not there; `why` is for the operator alone."""
    _log.error("the content of a file is gone: %s", why)
    return BlobMissing("the content of the file is gone. The server's output says more")


def checked_key(key: str) -> str:
    """Return a key that is one: it becomes a part of paths."""
    assert _KEY.fullmatch(key), f"{key!r} is no key of a blob"
    return key
