"""The store in one SQLite file."""

from camber.storage.sqlite.store import Durability, SqliteStore, StoreUnusable

__all__ = ["Durability", "SqliteStore", "StoreUnusable"]
