from camber import Index, Table
from camber.components.auth import AuthSession, AuthUser


class User(AuthUser, table="users"):
    plan: str = "free"


class Session(AuthSession, table="authSessions"):
    device: str | None = None


class Letter(Table, table="letters"):
    """What was sent, as those who got it have it."""

    to: str
    token: str
    url: str
    provider: str
    by_to = Index("to")


class Note(Table, table="notes"):
    text: str
