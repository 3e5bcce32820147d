"""People, as they and their administrators see them."""

from camber import AppError, MutationCtx, QueryCtx, internal_mutation, query

from .auth import users
from .schema import User


@query
def me(ctx: QueryCtx) -> User | None:
    """Who calls, or nobody."""
    return users.current(ctx)


@query(allow=users.role("admin"))
def newest(ctx: QueryCtx) -> list[User]:
    """Who has come last."""
    return ctx.db.query(User).order("desc").take(50)


@internal_mutation
def promote(ctx: MutationCtx, email: str) -> None:
    """Make somebody an administrator, whose address is proven: `camber run members:promote`."""
    db = ctx.db.unrestricted
    found = db.query(User).with_index(User.by_email, email=email).collect()
    user = next((each for each in found if each.email_verification_time is not None), None)
    if user is None:
        raise AppError({"code": "NOBODY", "message": f"Nobody has proven to be {email}."})
    db.patch(user.id, roles=["admin"])
