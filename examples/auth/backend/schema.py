"""People, where they are signed in, what they write down, and invitations for others."""

from typing import Literal

from camber import Id, Index, Table, field
from camber.components.auth import AuthAccount, AuthSession, AuthUser

Role = Literal["admin", "support"]


class User(AuthUser, table="users"):
    """What signing in stores of people, and what this application adds."""

    roles: list[Role] = field(default_factory=list)
    #: Whether they have been shown around.
    onboarded: bool = False


class Session(AuthSession, table="authSessions"):
    #: What the page says that it runs on.
    device: str | None = None


class Note(Table, table="notes"):
    owner: Id[User]
    text: str
    by_owner = Index("owner")


class Invitation(Table, table="invitations"):
    """A way in for one person. Its code is not kept, only the SHA-256 of it."""

    code_hash: str
    name: str
    roles: list[Role]
    by_code = Index("code_hash")


__all__ = ["AuthAccount", "Invitation", "Note", "Role", "Session", "User"]
