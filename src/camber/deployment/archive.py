"""Releases on their way: an archive of sources, made where they are and unpacked where they serve.

A gzipped tar of plain files. Equal files make equal archives. Whoever unpacks one trusts nothing
in it: no path leaves the folder, nothing is a link, and nothing grows beyond its bound.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, BinaryIO, Final

from camber import limits
from camber.errors import CamberError

_COPY_BYTES: Final = 1024 * 1024
#: What a tar adds to each file, at most, beside its padding: headers for a long name.
_TAR_OVERHEAD_BYTES: Final = 8 * 1024


class ArchiveRefused(CamberError):
    """A release that cannot be packed, or an archive that holds none."""

    code = "InvalidArchive"


def pack(root: Path, files: Iterable[str], stream: BinaryIO) -> None:
    """Write an archive of the `files` below `root`, in their order.

    Raises:
        ArchiveRefused: there are too many, or they are too large.
        OSError: a file cannot be read.
    """
    count = total = 0
    # No time and no name in the header: an archive tells of its files and of nothing else.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in files:
            path = root / name
            with path.open("rb") as content:
                entry = tarfile.TarInfo(name)
                entry.size = path.stat().st_size
                count += 1
                total += entry.size
                _check_size(count, total, name)
                archive.addfile(entry, content)


def unpack(stream: BinaryIO, folder: Path) -> list[str]:
    """Write the files of an archive below `folder`, which is empty; return their paths, sorted.

    Raises:
        ArchiveRefused: it is no archive, or holds what no release does.
        OSError: a file cannot be written.
    """
    names: list[str] = []
    total = 0
    try:
        with (
            gzip.GzipFile(fileobj=stream, mode="rb") as compressed,
            _Bounded(compressed) as bounded,
            tarfile.open(fileobj=bounded, mode="r|") as archive,
        ):
            for entry in archive:
                _check_entry(entry)
                total += entry.size
                _check_size(len(names) + 1, total, entry.name)
                content = archive.extractfile(entry)
                assert content is not None
                _write(folder / entry.name, content)
                names.append(entry.name)
            # To the very end, where the checksum of it all stands.
            while bounded.read(_COPY_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ArchiveRefused(f"the archive is damaged, or is none: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        msg = f"the archive has two files in one place: {Path(error.filename).name}"
        raise ArchiveRefused(msg) from error
    return sorted(names)


def _check_entry(entry: tarfile.TarInfo) -> None:
    if not entry.isreg():
        raise ArchiveRefused(f"{entry.name!r} in the archive is no plain file")
    parts = entry.name.split("/")
    is_sound = (
        entry.name.isprintable()
        and "\\" not in entry.name
        and not {"", ".", ".."} & set(parts)
        and len(entry.name.encode()) <= limits.release_path_bytes_max
    )
    if not is_sound:
        raise ArchiveRefused(f"{entry.name!r} is no path of a file in a release")


def _check_size(count: int, total: int, name: str) -> None:
    if count > limits.release_files_max:
        msg = (
            f"more than {limits.release_files_max} files; {name} is one too many. Take out of "
            "[tool.camber] include what functions do not need"
        )
        raise ArchiveRefused(msg, code="ReleaseTooLarge")
    if total > limits.release_bytes_max:
        msg = (
            f"more than {limits.release_bytes_max // 1024**2} MiB of files; {name} is too much. "
            "Take out of [tool.camber] include what functions do not need"
        )
        raise ArchiveRefused(msg, code="ReleaseTooLarge")


def _write(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(content, target, _COPY_BYTES)


class _Bounded(io.BufferedIOBase):
    """A stream that ends in an error where an archive of any release would have ended."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self._left = limits.release_bytes_max + limits.release_files_max * _TAR_OVERHEAD_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        most = self._left + 1
        wanted = most if size is None or size < 0 else min(size, most)
        piece = self._stream.read(wanted)
        self._left -= len(piece)
        if self._left < 0:
            msg = f"it unpacks to more than {limits.release_bytes_max // 1024**2} MiB"
            raise ArchiveRefused(msg, code="ReleaseTooLarge")
        return piece
