"""Who may read and write what. Tables without a rule are closed."""

from camber import Access, QueryCtx, row_rule

from .auth import users
from .schema import AuthAccount, Invitation, Note, Session, User

admin = users.role("admin")
staff = users.role("admin", "support")


@row_rule
def own(ctx: QueryCtx, note: Note) -> bool:
    user = users.current(ctx)
    return user is not None and note.owner == user.id


@row_rule
def oneself(ctx: QueryCtx, user: User) -> bool:
    caller = users.current(ctx)
    return caller is not None and caller.id == user.id


@row_rule
def ones(ctx: QueryCtx, row: AuthAccount | Session) -> bool:
    user = users.current(ctx)
    return user is not None and row.user_id == user.id


def keeps_roles(ctx: QueryCtx, old: User, new: User) -> bool:
    """People change what is their own, but no roles: those are for administrators to give."""
    if "admin" in users.roles(ctx):
        return True
    return users.require(ctx).id == old.id and old.roles == new.roles


access = Access(default="deny")
access.table(Note, read=own, write=own)
access.table(User, read=oneself | staff, update=keeps_roles)
access.table(Session, read=ones, update=ones)
access.table(AuthAccount, read=ones)
access.table(Invitation, insert=admin)
