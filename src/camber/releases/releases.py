"""Which release serves at a snapshot.

The number of the serving release is a document. Every function reads it in its own transaction,
so a push invalidates what ran on the old release and conflicts with what still runs on it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from camber import limits
from camber.engine import system_tables
from camber.engine.transaction import Transaction
from camber.errors import FeatureUnavailable
from camber.host import Host
from camber.runtime.release import LoadedRelease
from camber.values.packed import unpack

RELEASE_ID = system_tables.RELEASE_ID


class Releases:
    """The loaded releases of this process, by number; each is closed when nothing needs it."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[int, LoadedRelease] = OrderedDict()
        self._newest: int | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def prepare(self, number: int, release: LoadedRelease) -> None:
        """Keep a release ready for snapshots that name its number."""
        self._loaded[number] = release

    def withdraw(self, number: int) -> None:
        """Forget a release that does not serve after all."""
        self._loaded.pop(number, None)

    def switched(self, number: int) -> None:
        """Note that a prepared release serves from now on."""
        self._newest = number

    def close_superseded(self, host: Host) -> None:
        """Begin to close all but the newest few: each ends when what runs on it has ended."""
        while len(self._loaded) > 1 + limits.superseded_releases_max:
            _, release = self._loaded.popitem(last=False)
            task = host.spawn("close a release", release.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all. Nothing runs on them any more."""
        self._newest = None
        while self._loaded:
            _, release = self._loaded.popitem()
            await release.close()
        await asyncio.gather(*self._closing)

    @property
    def newest(self) -> LoadedRelease | None:
        """Return the release that was switched to last."""
        return None if self._newest is None else self._loaded.get(self._newest)

    def is_mounted(self, component: str) -> bool:
        """Return whether the release that was switched to last has a component; itself it always is."""
        newest = self.newest
        return not component or (newest is not None and component in newest.analysis.components)

    def serving(self, transaction: Transaction) -> LoadedRelease:
        """Return the release that serves at the transaction's snapshot; recorded as read.

        A snapshot of which the code is gone, as from before this process ran, gets the newest.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """
        return self.of(release_number(transaction))

    def of(self, number: int) -> LoadedRelease:
        """Return the release with this number, or the newest one if its code is gone.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """
        release = self._loaded.get(number) or self.newest
        if release is None:
            raise FeatureUnavailable(
                "no functions are loaded yet: the first push has not succeeded. "
                "The server's output says why"
            )
        return release


def release_number(transaction: Transaction) -> int:
    """Return the number of the serving release at the transaction's snapshot; 0 for none."""
    packed = transaction.get(RELEASE_ID)
    if packed is None:
        return 0
    document = unpack(packed)
    assert isinstance(document, dict)
    number = document["number"]
    assert isinstance(number, int)
    return number
