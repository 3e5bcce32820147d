"""Invitations, the way in that is this application's own: `by_invitation` in auth.py."""

import secrets

from camber import ActionCtx, AppError, Id, MutationCtx, action, internal_mutation

from .access import admin
from .auth import hash_of
from .schema import Invitation, Role, User

NAME_LENGTH_MAX = 80


@action(allow=admin)
async def invite(ctx: ActionCtx, name: str, roles: list[Role]) -> str:
    """Invite somebody; return the code, which nobody is told again."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        sentence = f"A name has 1 to {NAME_LENGTH_MAX} characters."
        raise AppError({"code": "BAD_NAME", "message": sentence})
    code = secrets.token_urlsafe(16)
    await ctx.run_mutation(keep, name=name, roles=roles, code_hash=hash_of(code))
    return code


@internal_mutation
def keep(ctx: MutationCtx, name: str, roles: list[Role], code_hash: str) -> None:
    """Keep an invitation."""
    ctx.db.insert(Invitation(name=name, roles=roles, code_hash=code_hash))


@internal_mutation
def accept(ctx: MutationCtx, code_hash: str) -> Id[User] | None:
    """Make a user of whoever has an invitation, which is used up."""
    db = ctx.db.unrestricted
    invitation = db.query(Invitation).with_index(Invitation.by_code, code_hash=code_hash).unique()
    if invitation is None:
        return None
    db.delete(invitation.id)
    return db.insert(User(name=invitation.name, roles=invitation.roles))
