"""Notes, which nobody but their author sees: access.py says so."""

from camber import AppError, MutationCtx, QueryCtx, mutation, query

from .auth import users
from .schema import Note

TEXT_LENGTH_MAX = 500


@query(allow=users.signed_in)
def mine(ctx: QueryCtx) -> list[Note]:
    """The caller's newest notes."""
    owner = users.require(ctx).id
    return ctx.db.query(Note).with_index(Note.by_owner, owner=owner).order("desc").take(50)


@mutation(allow=users.signed_in)
def add(ctx: MutationCtx, text: str) -> None:
    """Write a note down."""
    text = text.strip()
    if not 0 < len(text) <= TEXT_LENGTH_MAX:
        sentence = f"A note has 1 to {TEXT_LENGTH_MAX} characters."
        raise AppError({"code": "BAD_NOTE", "message": sentence})
    ctx.db.insert(Note(owner=users.require(ctx).id, text=text))
