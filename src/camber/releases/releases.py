"""Which release serves at a snapshot.

The number of the serving release is a document. Every function reads it in its own transaction,
so a push invalidates what ran on the old release and conflicts with what still runs on it.
"""

from __future__ import annotations

from collections import OrderedDict

from camber.engine import system_tables
from camber.engine.transaction import Transaction
from camber.errors import FeatureUnavailable
from camber.runtime.release import LoadedRelease
from camber.values.packed import unpack

#: Releases whose code is kept for functions that began on them.
_KEPT = 8

RELEASE_ID = system_tables.singleton_id(system_tables.RELEASES)


class Releases:
    """The loaded releases of this process, by number."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[int, LoadedRelease] = OrderedDict()

    def prepare(self, number: int, release: LoadedRelease) -> None:
        """Keep a release ready for snapshots that name its number."""
        self._loaded[number] = release
        while len(self._loaded) > _KEPT:
            self._loaded.popitem(last=False)

    def withdraw(self, number: int) -> None:
        """Forget a release whose push failed."""
        self._loaded.pop(number, None)

    @property
    def newest(self) -> LoadedRelease | None:
        """Return the release that was prepared last."""
        return next(reversed(self._loaded.values()), None)

    def serving(self, transaction: Transaction) -> LoadedRelease:
        """Return the release that serves at the transaction's snapshot; recorded as read.

        A snapshot from before this process ran gets the newest one: its own code is gone.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """
        release = self._loaded.get(release_number(transaction)) or self.newest
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
