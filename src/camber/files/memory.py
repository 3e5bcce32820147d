"""Blobs in memory, for tests and for what ends with its process."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from camber import limits
from camber.files.blobs import BlobReader, BlobWriter, checked_key, gone


class MemoryBlobs:
    """A place for blobs that is gone when its process ends."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def keys(self) -> set[str]:
        """Return the keys of all blobs."""
        with self._lock:
            return set(self._blobs)

    def write(self, key: str) -> BlobWriter:
        return _Writer(self, checked_key(key))

    def read(self, key: str, start: int, end: int) -> BlobReader:
        with self._lock:
            blob = self._blobs.get(checked_key(key))
        if blob is None:
            raise gone(f"there is no blob {key}")
        return _Reader(memoryview(blob)[start:end])

    def remove(self, key: str) -> None:
        with self._lock:
            self._blobs.pop(checked_key(key), None)

    def put(self, key: str, data: bytes) -> None:
        """Make a blob, whole."""
        with self._lock:
            self._blobs[key] = data


class _Writer:
    def __init__(self, blobs: MemoryBlobs, key: str) -> None:
        self._blobs = blobs
        self._key = key
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def finish(self) -> None:
        self._blobs.put(self._key, bytes(self._data))

    def abandon(self) -> None:
        self._data.clear()
        self._blobs.remove(self._key)


@dataclass(slots=True)
class _Reader:
    rest: memoryview

    def read(self) -> bytes:
        piece = bytes(self.rest[: limits.file_piece_bytes])
        self.rest = self.rest[len(piece) :]
        return piece

    def close(self) -> None:
        self.rest = memoryview(b"")
