"""Blobs in a folder: one file for each, in one of 256 folders by the first digits of its key.

A blob on its way has a name of its own until it is whole and on disk.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from camber import limits
from camber.errors import StorageFailed, StorageFull
from camber.files.blobs import BlobMissing, BlobReader, BlobWriter, checked_key, gone
from camber.files.durable import make_folder, sync

_log = logging.getLogger("camber.files")

_PARTIAL: Final = ".partial"
#: Bytes between two looks at how much room there is.
_LOOK_BYTES: Final = 8 * 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalBlobs:
    """A place for blobs below `folder`, which leaves `reserved_bytes` of its disk to others."""

    def __init__(
        self, folder: Path, *, reserved_bytes: int = limits.file_disk_reserved_bytes
    ) -> None:
        self._folder = folder
        self._reserved_bytes = reserved_bytes

    def write(self, key: str) -> BlobWriter:
        path = self._path(key)
        try:
            make_folder(path.parent)
            check_room(path.parent, self._reserved_bytes)
            partial = _partial(path)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise _failed("begun", error) from error
        return LocalWriter(path, descriptor, reserved_bytes=self._reserved_bytes)

    def read(self, key: str, start: int, end: int) -> BlobReader:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError:
            raise gone(f"{self._path(key)} is not there") from None
        except OSError as error:
            raise _failed("opened", error) from error
        size = os.fstat(descriptor).st_size
        if size < end:
            os.close(descriptor)
            raise BlobMissing(
                f"the content of a file has been cut off: {size} bytes of {end} are there"
            )
        return _Reader(descriptor, start, end)

    def remove(self, key: str) -> None:
        path = self._path(key)
        try:
            _partial(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed("removed", error) from error

    def _path(self, key: str) -> Path:
        checked_key(key)
        return self._folder / key[:2] / key


class LocalWriter:
    """A file on its way to `path`, written through `descriptor`."""

    def __init__(self, path: Path, descriptor: int, *, reserved_bytes: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._reserved_bytes = reserved_bytes
        self._since_look = 0

    def write(self, data: bytes) -> None:
        assert self._descriptor is not None
        self._since_look += len(data)
        try:
            if self._since_look >= _LOOK_BYTES:
                self._since_look = 0
                check_room(self._path.parent, self._reserved_bytes)
            with memoryview(data) as rest:
                at = 0
                while at < len(rest):
                    at += os.write(self._descriptor, rest[at:])
        except OSError as error:
            raise _failed("written", error) from error

    def finish(self) -> None:
        assert self._descriptor is not None
        try:
            os.fsync(self._descriptor)
            self._close()
            _partial(self._path).rename(self._path)
            sync(self._path.parent)
        except OSError as error:
            raise _failed("written", error) from error

    def abandon(self) -> None:
        self._close()
        # What cannot be removed now is removed by its key later.
        with suppress(OSError):
            _partial(self._path).unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class _Reader:
    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor: int | None = descriptor
        self._at = start
        self._end = end

    def read(self) -> bytes:
        assert self._descriptor is not None
        wanted = min(limits.file_piece_bytes, self._end - self._at)
        if not wanted:
            return b""
        try:
            piece = os.pread(self._descriptor, wanted, self._at)
        except OSError as error:
            raise _failed("read", error) from error
        if not piece:
            raise BlobMissing(f"the content of a file ends at byte {self._at} of {self._end}")
        self._at += len(piece)
        return piece

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def check_room(folder: Path, reserved_bytes: int) -> None:
    """Raise if a disk has no more free than is reserved.

    Raises:
        StorageFull: it has not.
    """
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < reserved_bytes:
        msg = (
            f"the disk where files are kept has {free} bytes free, and {reserved_bytes} of it are kept for "
            "documents: make room, or delete files"
        )
        raise StorageFull(msg)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + _PARTIAL)


def _failed(what: str, error: OSError) -> StorageFailed:
    if error.errno in _FULL:
        return StorageFull(f"a file could not be {what}: the disk is full. Make room on it")
    # Clients are told too, and where files lie is none of their business.
    _log.error("a file could not be %s: %s", what, error)
    return StorageFailed(
        f"a file could not be {what}: {error.strerror}. The server's output says more"
    )
