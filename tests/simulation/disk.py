"""What a crash leaves behind: the store's engine in memory, and a journal of what has been done.

A call that writes is in the journal once it has happened, which is a moment within its time on the
writer's thread. A server that is killed before has not written; one that is killed after has, and
has told nobody. The next server gets a store that is made anew from the journal.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from camber.storage.ahead import SnapshotSource
from camber.storage.memory import MemoryStore
from camber.storage.store import Commit

#: The verbs that change what is stored.
_WRITES: Final = ("append", "build_index", "drop_index", "stage", "trim", "unstage")


#: A verb and what it was called with.
_Write = tuple[str, tuple[Any, ...], dict[str, Any]]


class DiskFailure(OSError):
    """A write that the simulated disk refused, or said that it had refused."""


class Killed(BaseException):
    """The server ends here, in the middle of a write."""


class DeadDisk(BaseException):
    """A server that was killed is still writing: the simulation is wrong."""


@dataclass(slots=True)
class Crash:
    """A crash in the middle of a write to come."""

    kill: Callable[[], None]
    #: Writes until then.
    writes_left: int
    #: Whether that write is on the disk.
    is_durable: bool


@dataclass(slots=True)
class Weather:
    """How the disk behaves at the moment."""

    #: How long a write takes at most, in nanoseconds.
    write_ns_max: int = 2_000_000
    #: How many writes in a thousand fail.
    failing_permille: int = 0


class Disk:
    """The disk of one simulation, under one server after another."""

    def __init__(self, chance: random.Random, note: Callable[[str], None]) -> None:
        self._chance = chance
        self._note = note
        self.weather = Weather()
        self._journal: list[_Write] = []
        #: What a crash loses.
        self._unsynced: list[_Write] = []
        self._store: _Store | None = None
        #: Every commit that is durable, in order.
        self.commits: list[Commit] = []
        self.failures = 0
        self.crash: Crash | None = None

    def open(self) -> MemoryStore:
        """Return the store as the disk has it; whoever had it before has it no more."""
        if self._store is not None:
            self._store.disk = None
        self._unsynced.clear()
        self._store = _Store(self)
        for verb, args, kwargs in self._journal:
            getattr(MemoryStore, verb)(self._store, *args, **kwargs)
        return self._store

    def reader(self) -> SnapshotSource:
        """Return the store as a process reads it that does not write."""
        assert self._store is not None
        return self._store

    def write_ns(self) -> int:
        """Return how long the next write takes."""
        return self._chance.randint(30_000, self.weather.write_ns_max)

    def write(self, verb: str, store: MemoryStore, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Do a write, or fail before or after it, or crash there."""
        crash = self._crash_now()
        if crash is not None and not crash.is_durable:
            crash.kill()
            raise Killed
        fails = self._chance.randrange(1000) < self.weather.failing_permille
        if fails and self._chance.random() < 0.5:
            self._fail(f"{verb} was refused")
        result = getattr(MemoryStore, verb)(store, *args, **kwargs)
        self._unsynced.append((verb, args, kwargs))
        self.sync()
        if crash is not None:
            crash.kill()
            raise Killed
        if fails:
            self._fail(f"{verb} was done, and reported as refused")
        return result

    def _crash_now(self) -> Crash | None:
        crash = self.crash
        if crash is None:
            return None
        crash.writes_left -= 1
        if crash.writes_left > 0:
            return None
        self.crash = None
        return crash

    def read(self) -> None:
        """Fail now and then: called where reading back is what a failed write is followed by."""
        if self._chance.randrange(1000) < self.weather.failing_permille:
            self._fail("the newest timestamp could not be read")

    def sync(self) -> None:
        """Make durable what has been written."""
        for verb, args, kwargs in self._unsynced:
            self._journal.append((verb, args, kwargs))
            if verb == "append":
                self.commits += args[0]
                self._note(f"durable {[commit.ts for commit in args[0]]}")
        self._unsynced.clear()

    def _fail(self, what: str) -> None:
        self.failures += 1
        self._note(what)
        raise DiskFailure(what)


class _Store(MemoryStore):
    """The store of one server."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk: Disk | None = disk

    def newest_ts(self) -> int:
        if self.disk is not None:
            self.disk.read()
        return super().newest_ts()


def _writing(verb: str) -> Callable[..., Any]:
    def write(self: _Store, *args: Any, **kwargs: Any) -> Any:
        if self.disk is None:
            msg = f"{verb} by a server that was killed"
            raise DeadDisk(msg)
        # An iterator is used up by the first who reads it.
        kept = tuple(list(arg) if hasattr(arg, "__next__") else arg for arg in args)
        return self.disk.write(verb, self, kept, kwargs)

    write.__name__ = verb
    return write


for _verb in _WRITES:
    setattr(_Store, _verb, _writing(_verb))
