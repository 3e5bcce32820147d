"""Who keeps in memory what system tables say is told when they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from camber.engine.engine import Engine
from camber.storage.store import Commit


class FollowedTables:
    """Looks at each commit once for all who follow a system table. Lives on the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._followers: dict[int, list[Callable[[], None]]] = {}
        engine.on_publish(self._published)

    def follow(self, tables: Iterable[int], changed: Callable[[], None]) -> None:
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
                call()
