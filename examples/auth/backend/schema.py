"""People, and what they write down for themselves."""

from typing import Literal

from camber import Id, Index, Table, field
from camber.components.auth import AuthSession, AuthUser


class User(AuthUser, table="users"):
    roles: list[Literal["admin"]] = field(default_factory=list)


class Note(Table, table="notes"):
    owner: Id[User]
    text: str
    by_owner = Index("owner")


__all__ = ["AuthSession", "Note", "User"]
