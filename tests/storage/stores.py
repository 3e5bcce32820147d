"""The stores that the contract suite runs against: name and how to open one in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from camber.storage.memory import MemoryStore
from camber.storage.sqlite.store import SqliteStore
from camber.storage.store import Store


def _searching(folder: Path) -> SqliteStore:
    """A store that searches all of history as soon as two entries were removed since."""
    store = SqliteStore(folder / "store.sqlite")
    store._reader.recently_removed_max = 1
    return store


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "store.sqlite"),
    "sqlite-searching": _searching,
}
