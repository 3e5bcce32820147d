"""Who keeps in memory what system tables say is told when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from camber.engine.engine import Engine
from camber.storage.store import Commit

_log = logging.getLogger("camber.deployment")

#: Before a follower that could not take in a change is told again.
_AGAIN_S: Final = 1.0

Changed = Callable[[], None]


class FollowedTables:
    """Looks at each commit once for all who follow a system table. Lives on the event loop.

    Followers read, and a read may fail. The commit stands all the same: whoever could not take it
    in is told again until it has, so that a key that was revoked does not stay valid for that.
    """

    def __init__(self, engine: Engine) -> None:
        self._host = engine.host
        self._followers: dict[int, list[Changed]] = {}
        #: Who could not take in what has changed, in the order of their failures.
        self._behind: dict[Changed, None] = {}
        self._again: asyncio.Task[None] | None = None
        self._is_closed = False
        engine.on_publish(self._published)

    async def close(self) -> None:
        """Tell nobody again."""
        self._is_closed = True
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)

    def follow(self, tables: Iterable[int], changed: Changed) -> None:
        """Call `changed` after commits to one of the tables with these numbers, once for each group."""
        for table in tables:
            self._followers.setdefault(table, []).append(changed)

    def _published(self, commits: Sequence[Commit]) -> None:
        followers = self._followers
        changed = [
            change.table
            for commit in commits
            for change in commit.changes
            if change.table in followers
        ]
        if changed:
            told = {call: None for table in changed for call in followers[table]}
            for call in told:
                self._tell(call)
            if self._behind and self._again is None and not self._is_closed:
                self._again = self._host.spawn("followed tables", self._tell_again())

    def _tell(self, changed: Changed) -> None:
        try:
            changed()
        except Exception:  # noqa: BLE001  # the committer and the others go on
            name = getattr(changed, "__qualname__", repr(changed))
            _log.exception("%s, told of a commit, met a bug; it is told again", name)
            self._behind[changed] = None
        else:
            self._behind.pop(changed, None)

    async def _tell_again(self) -> None:
        while self._behind:
            await self._host.sleep(_AGAIN_S)
            for changed in list(self._behind):
                self._tell(changed)
        self._again = None
