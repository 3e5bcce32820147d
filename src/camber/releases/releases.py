"""Which release serves at a snapshot.

The number of the serving release is a document. Every function reads it in its own transaction,
so a push invalidates what ran on the old release and conflicts with what still runs on it.
"""

from __future__ import annotations

from collections import OrderedDict

from camber.engine import system_tables
from camber.engine.transaction import Transaction
from camber.errors import FeatureUnavailable
from camber.functions.loading import Application
from camber.values.packed import unpack

#: Releases whose code is kept for functions that began on them.
_KEPT = 8

RELEASE_ID = system_tables.singleton_id(system_tables.RELEASES)


class Releases:
    """The loaded releases of this process, by number."""

    def __init__(self) -> None:
        self._applications: OrderedDict[int, Application] = OrderedDict()

    def prepare(self, number: int, application: Application) -> None:
        """Keep an application ready for snapshots that name its number."""
        self._applications[number] = application
        while len(self._applications) > _KEPT:
            self._applications.popitem(last=False)

    def withdraw(self, number: int) -> None:
        """Forget an application whose push failed."""
        self._applications.pop(number, None)

    @property
    def newest(self) -> Application | None:
        """Return the application that was prepared last."""
        return next(reversed(self._applications.values()), None)

    def serving(self, transaction: Transaction) -> Application:
        """Return the application that serves at the transaction's snapshot; recorded as read.

        A snapshot from before this process ran gets the newest one: its own code is gone.

        Raises:
            FeatureUnavailable: nothing has been pushed yet.
        """
        application = self._applications.get(release_number(transaction)) or self.newest
        if application is None:
            raise FeatureUnavailable(
                "no functions are loaded yet: the first push has not succeeded. "
                "The server's output says why"
            )
        return application


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
