"""Blobs in a bucket of S3, or of what speaks its protocol, through `obstore`.

Region, endpoint and credentials are read from the environment as the tools of AWS have them
(`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`). Credentials that
functions are not to see are `CAMBER_S3_ACCESS_KEY_ID` and `CAMBER_S3_SECRET_ACCESS_KEY`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from camber import limits
from camber.errors import StorageFailed
from camber.files.blobs import (
    BlobMissing,
    BlobReader,
    BlobsUnusable,
    BlobWriter,
    checked_key,
    gone,
)

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import S3Store

_log = logging.getLogger("camber.files")

SCHEME: Final = "s3"
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
#: What a bucket takes in at once; a blob has 10,000 of them at most.
_PART_BYTES: Final = max(8 * 1024 * 1024, -(-limits.file_bytes_max // 10_000))
_PARTS_AT_ONCE: Final = 2


class S3Blobs:
    """A place for blobs in a bucket: `s3://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Find the bucket; nothing is asked of it yet.

        Raises:
            BlobsUnusable: the URL names none, or obstore is not installed.
        """
        self._store = _store(url)

    def write(self, key: str) -> BlobWriter:
        import obstore

        return _Writer(
            self._store,
            checked_key(key),
            obstore.open_writer(
                self._store, key, buffer_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            ),
        )

    def read(self, key: str, start: int, end: int) -> BlobReader:
        import obstore
        from obstore.exceptions import BaseError

        if start == end:
            return _Reader(iter(()))
        try:
            found = obstore.get(self._store, checked_key(key), options={"range": (start, end)})
        except FileNotFoundError:
            raise gone(f"the bucket has no object {key}") from None
        except (BaseError, OSError) as error:
            raise _failed("read", error) from error
        size = found.meta["size"]
        if size < end:
            raise BlobMissing(
                f"the content of a file has been cut off: {size} bytes of {end} are there"
            )
        return _Reader(iter(found.stream(min_chunk_size=limits.file_piece_bytes // 2)))

    def remove(self, key: str) -> None:
        import obstore
        from obstore.exceptions import BaseError

        try:
            obstore.delete(self._store, checked_key(key))
        except FileNotFoundError as error:
            if not self._is_there():
                raise _failed("removed", error) from error
        except (BaseError, OSError) as error:
            raise _failed("removed", error) from error

    def _is_there(self) -> bool:
        """Return whether the bucket is: what is not in one that is misspelt may be in another."""
        import obstore
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            next(iter(obstore.list(self._store, chunk_size=1)), None)
        except (PermissionDeniedError, UnauthenticatedError):
            # There is one that forbids that.
            return True
        except (BaseError, OSError):
            return False
        return True


class _Writer:
    def __init__(self, store: S3Store, key: str, writing: WritableFile) -> None:
        self._store = store
        self._key = key
        self._writing: WritableFile | None = writing

    def write(self, data: bytes) -> None:
        from obstore.exceptions import BaseError

        assert self._writing is not None
        try:
            self._writing.write(data)
        except (BaseError, OSError) as error:
            raise _failed("written", error) from error

    def finish(self) -> None:
        from obstore.exceptions import BaseError

        assert self._writing is not None
        try:
            self._writing.close()
        except (BaseError, OSError) as error:
            raise _failed("written", error) from error

    def abandon(self) -> None:
        import obstore
        from obstore.exceptions import BaseError

        # The parts that are there already are for the bucket's own rule to forget: obstore has
        # no word for it. What became whole after all is removed.
        self._writing = None
        with suppress(BaseError, OSError):
            obstore.delete(self._store, self._key)


class _Reader:
    """Cuts what comes from a bucket into pieces that are not larger than others'."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream: Iterator[bytes] | None = stream
        self._rest = memoryview(b"")

    def read(self) -> bytes:
        from obstore.exceptions import BaseError

        assert self._stream is not None
        try:
            if not self._rest:
                self._rest = memoryview(bytes(next(self._stream, b"")))
        except (BaseError, OSError) as error:
            raise _failed("read", error) from error
        piece = bytes(self._rest[: limits.file_piece_bytes])
        self._rest = self._rest[len(piece) :]
        return piece

    def close(self) -> None:
        self._stream = None
        self._rest = memoryview(b"")


def _store(url: str) -> S3Store:
    parts = urlsplit(url)
    if parts.scheme != SCHEME or not parts.netloc or parts.query or parts.fragment:
        msg = f"{url!r} names no bucket: it should be like s3://bucket/prefix"
        raise BlobsUnusable(msg)
    try:
        from obstore.store import S3Store
    except ImportError:
        msg = f"files in a bucket ({url}) need obstore: pip install 'camber[s3]'"
        raise BlobsUnusable(msg) from None
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    prefix = parts.path.strip("/")
    # What is not given here it looks for itself, in the environment and on the machine.
    given = {
        "endpoint": endpoint,
        "access_key_id": os.environ.get("CAMBER_S3_ACCESS_KEY_ID"),
        "secret_access_key": os.environ.get("CAMBER_S3_SECRET_ACCESS_KEY"),
    }
    try:
        return S3Store(
            parts.netloc,
            prefix=prefix or None,
            client_options={"allow_http": (endpoint or "").startswith("http://")},
            **{name: text for name, text in given.items() if text},  # type: ignore[arg-type]
        )
    # obstore raises errors of several kinds here, for settings of all kinds.
    except Exception as error:
        raise BlobsUnusable(f"{url} cannot be used: {_first_line(error)}") from error


def _failed(what: str, error: Exception) -> StorageFailed:
    # Clients are told too, and where the bucket is is none of their business.
    _log.error("a file could not be %s in its bucket: %s", what, _first_line(error))
    return StorageFailed(
        f"a file could not be {what}: its bucket refuses it, or does not answer. The server's output says why"
    )


def _first_line(error: Exception) -> str:
    """Return what obstore says of an error, without the dump of its insides that follows."""
    return str(error).strip().partition("\n")[0]
