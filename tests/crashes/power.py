"""A disk that forgets what was not synced when its power is cut.

A `Disk` stands under SQLite as the VFS of one process. Everything goes through to the real files,
and beside them it keeps what a disk would have: of each file what was synced last, and the writes
since; of the folder which names were made durable, and what was created and removed since. At a cut
a die decides, sector by sector and name by name, what of the rest is there, is not, or is there in
part. `Disk.image` is what the machine finds when it starts again.

Names are durable as with SQLite's own VFS on a strict POSIX file system: syncing a file says nothing
of its name. The first sync of a journal or a log syncs the folder too, and so does a deletion that
asks for it. Locks and shared memory are the real ones: nothing of them outlives the power.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import apsw

_NAME = "power"
#: What a disk writes whole or not at all; a torn one is half of each.
_SECTOR = 512
_FOLDER_SYNCING = (
    apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
)

Image = dict[str, bytes]


class Honesty(Enum):
    """What a sync is worth."""

    #: What was synced is durable.
    SYNCS = "syncs"
    #: Nothing is done, and success is told: a disk that lies, or a program that does not sync.
    LIES = "lies"
    #: Files are synced, but never the folder with their names.
    FORGETS_NAMES = "forgets names"


@dataclass(frozen=True, slots=True)
class _Written:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Truncated:
    size: int


@dataclass(slots=True, eq=False)
class _File:
    """A file's bytes, under whatever name."""

    durable: bytearray
    since: list[_Written | _Truncated] = field(default_factory=list)
    size: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.durable)

    def sync(self) -> None:
        for change in self.since:
            _apply(self.durable, change)
        self.since.clear()

    def content(self) -> bytes:
        """Return what the running machine reads."""
        content = bytearray(self.durable)
        for change in self.since:
            _apply(content, change)
        return bytes(content)

    def after_cut(self, dice: random.Random, kept: float) -> bytes:
        content = bytearray(self.durable)
        for change in self.since:
            if isinstance(change, _Truncated):
                if dice.random() < kept:
                    _apply(content, change)
                continue
            for piece in _sectors(change):
                if dice.random() < kept:
                    _apply(content, piece)
                elif dice.random() < 0.1:
                    _apply(content, _Written(piece.offset, piece.data[: len(piece.data) // 2]))
        return bytes(content)


class Disk:
    """A folder's files as a disk has them."""

    def __init__(
        self, folder: Path, image: Image | None = None, *, honesty: Honesty = Honesty.SYNCS
    ) -> None:
        self.folder = folder.resolve()
        self._dice = random.Random(folder.name)
        self.honesty = honesty
        #: Writes, syncs, truncations, creations and removals so far.
        self.steps = 0
        #: Those of them that were of a database file itself, not of its log: checkpoints.
        self.main_steps = 0
        #: Bytes that all files may have together; None for as many as they like.
        self.room: int | None = None
        #: Syncs that fail from now on. What they should have made durable is so, or is lost for good, though
        #: the machine still reads it: the page cache forgets that it was to be written.
        self.failing_syncs = 0
        #: Called before each step.
        self.before_step: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._files = {name: _File(bytearray(data)) for name, data in (image or {}).items()}
        #: Per name what it has led to: durably first, then after each change since.
        self._names: dict[str, list[_File | None]] = {
            name: [file] for name, file in self._files.items()
        }
        for name, data in (image or {}).items():
            (self.folder / name).write_bytes(data)

    def image(self, dice: random.Random) -> Image:
        """Return the files that are there if the power is cut now."""
        # Of one cut: nearly nothing arrived, nearly everything, or anything.
        kept = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        with self._lock:
            found = {name: dice.choice(states) for name, states in self._names.items()}
            return {
                name: file.after_cut(dice, kept) for name, file in found.items() if file is not None
            }

    # What the files say.

    def name_of(self, path: str | None) -> str | None:
        """Return the name of one of the disk's files, or None for any other path."""
        if path is None or Path(path).parent != self.folder:
            return None
        return Path(path).name

    @contextmanager
    def step(self) -> Iterator[None]:
        """One change, before which the power may be cut."""
        with self._lock:
            self.before_step()
            self.steps += 1
            yield

    def is_unsynced(self, name: str) -> bool:
        """Return whether a file has writes that may be lost."""
        return name in self._files and bool(self._files[name].since)

    def open(self, name: str) -> _File:
        """Return the file of a name that is about to be opened; it is created if there is none."""
        with self._lock:
            self._follow()
            file = self._files.get(name)
            if file is None:
                with self.step():
                    file = self._files[name] = _File(bytearray())
                    self._names.setdefault(name, [None]).append(file)
            return file

    def size(self) -> int:
        """Return how many bytes all files have together."""
        return sum(file.size for file in self._files.values())

    def make_room(self, file: _File, size: int) -> None:
        """Let a file have `size` bytes.

        Raises:
            FullError: there is no room.
        """
        if self.room is None or size <= file.size:
            return
        if self.size() - file.size + size > self.room:
            raise apsw.FullError

    def _follow(self) -> None:
        """Take in what was removed or renamed past SQLite. Nobody has synced those names."""
        gone = [name for name in self._files if not (self.folder / name).exists()]
        there = [path for path in self.folder.iterdir() if path.name not in self._files]
        for path in there:
            for name in gone:
                if path.suffix != ".lock" and self._files[name].content() == path.read_bytes():
                    self._files[path.name] = self._files[name]
                    self._names.setdefault(path.name, [None]).append(self._files[name])
        for name in gone:
            self.remove(name)

    def remove(self, name: str) -> None:
        if name in self._files:
            with self.step():
                del self._files[name]
                self._names[name].append(None)

    def sync_names(self) -> None:
        if self.honesty is Honesty.SYNCS:
            with self._lock:
                for states in self._names.values():
                    del states[:-1]

    def sync(self, file: _File) -> None:
        """Make a file's bytes durable.

        Raises:
            IOError: the disk has failed to.
        """
        if self.failing_syncs and file.since:
            self.failing_syncs -= 1
            file.since = [change for change in file.since if self._dice.random() < 0.5]
            file.sync()
            raise apsw.IOError
        if self.honesty is not Honesty.LIES:
            file.sync()


@contextmanager
def powered(disk: Disk) -> Iterator[Disk]:
    """Put a disk under every connection that is opened within the block."""
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(_NAME, "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        ours = self._disk.name_of(path)
        if ours is None:
            return apsw.VFSFile("unix", name, flags)
        return _VfsFile(self._disk, ours, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        ours = self._disk.name_of(filename)
        super().xDelete(filename, False)
        if ours is not None:
            self._disk.remove(ours)
            if syncdir:
                self._disk.sync_names()


class _VfsFile(apsw.VFSFile):
    def __init__(
        self, disk: Disk, ours: str, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._file = disk.open(ours)
        super().__init__("unix", name, flags)
        self._is_main = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        self._syncs_folder = bool(flags[0] & _FOLDER_SYNCING)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._step():
            self._disk.make_room(self._file, offset + len(data))
            self._file.size = max(self._file.size, offset + len(data))
            super().xWrite(data, offset)
            self._file.since.append(_Written(offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with self._step():
            super().xTruncate(newsize)
            self._file.size = newsize
            self._file.since.append(_Truncated(newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        del flags
        with self._step():
            self._disk.sync(self._file)
            if self._syncs_folder:
                self._disk.sync_names()
                self._syncs_folder = False

    @contextmanager
    def _step(self) -> Iterator[None]:
        with self._disk.step():
            self._disk.main_steps += self._is_main
            yield


def _sectors(written: _Written) -> Iterator[_Written]:
    end = written.offset + len(written.data)
    start = written.offset
    while start < end:
        stop = min(end, (start // _SECTOR + 1) * _SECTOR)
        data = written.data[start - written.offset : stop - written.offset]
        yield _Written(start, data)
        start = stop


def _apply(content: bytearray, change: _Written | _Truncated) -> None:
    if isinstance(change, _Truncated):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    if len(content) < change.offset:
        content.extend(bytes(change.offset - len(content)))
    content[change.offset : change.offset + len(change.data)] = change.data
