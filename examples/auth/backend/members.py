"""People, as they and the staff see them."""

from camber import AppError, Id, MutationCtx, QueryCtx, internal_mutation, mutation, query

from .access import admin, staff
from .auth import users
from .schema import Role, User


@query(allow=users.signed_in)
def me(ctx: QueryCtx) -> User:
    """Who calls."""
    return users.require(ctx)


@mutation(allow=users.signed_in)
def finish_onboarding(ctx: MutationCtx) -> None:
    """Remember that the caller has been shown around."""
    ctx.db.patch(users.require(ctx).id, onboarded=True)


@query(allow=staff)
def newest(ctx: QueryCtx) -> list[User]:
    """Who has come last."""
    return ctx.db.query(User).order("desc").take(50)


@mutation(allow=admin)
def set_roles(ctx: MutationCtx, member: Id[User], roles: list[Role]) -> None:
    """Give somebody these roles, and no others. Their page shows it at once."""
    if member == users.require(ctx).id:
        sentence = "Your own roles are for another administrator to change."
        raise AppError({"code": "OWN_ROLES", "message": sentence})
    ctx.db.patch(member, roles=sorted(set(roles)))


@internal_mutation
def promote(ctx: MutationCtx, email: str) -> None:
    """Make the first administrator, whose address is proven: `camber run members:promote`."""
    db = ctx.db.unrestricted
    found = db.query(User).with_index(User.by_email, email=email).collect()
    user = next((each for each in found if each.email_verification_time is not None), None)
    if user is None:
        raise AppError({"code": "NOBODY", "message": f"Nobody has proven to be {email}."})
    db.patch(user.id, roles=["admin"])
