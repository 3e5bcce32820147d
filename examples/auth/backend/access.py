"""Who may read and write what. Tables without a rule are closed."""

from camber import Access, QueryCtx, row_rule

from .auth import users
from .schema import Note, User


@row_rule
def own(ctx: QueryCtx, note: Note) -> bool:
    user = users.current(ctx)
    return user is not None and note.owner == user.id


@row_rule
def oneself(ctx: QueryCtx, user: User) -> bool:
    caller = users.current(ctx)
    return caller is not None and caller.id == user.id


access = Access(default="deny")
access.table(Note, read=own, write=own)
access.table(User, read=oneself | users.role("admin"))
