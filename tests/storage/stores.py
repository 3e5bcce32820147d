"""The stores that the contract suite runs against: name and how to open one in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from camber.storage.memory import MemoryStore
from camber.storage.sqlite.store import SqliteStore
from camber.storage.store import Store


def _laying_over(folder: Path) -> SqliteStore:
    """A store that soon stops to ask what was touched, and lays history over everything."""
    store = SqliteStore(folder / "store.sqlite")
    store._reader.commits_laid_over = 2
    return store


STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "store.sqlite"),
    "sqlite-laying-over": _laying_over,
}
