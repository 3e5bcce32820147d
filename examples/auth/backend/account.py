"""What somebody signs in by, and where."""

from msgspec import Struct

from camber import Id, MutationCtx, QueryCtx, mutation, query

from .auth import auth, users
from .schema import AuthAccount, Session

DEVICE_LENGTH_MAX = 80


class SignedIn(Struct, kw_only=True):
    """A session, as its user sees it."""

    id: Id[Session]
    since: float
    device: str | None
    here: bool


@query(allow=users.signed_in)
def ways(ctx: QueryCtx) -> list[str]:
    """The providers that the caller can sign in by."""
    accounts = ctx.db.query(AuthAccount).with_index(
        AuthAccount.by_user_and_provider, user_id=users.require(ctx).id
    )
    return [account.provider for account in accounts]


@query(allow=users.signed_in)
def sessions(ctx: QueryCtx) -> list[SignedIn]:
    """Where the caller is signed in."""
    here = users.session(ctx)
    found = ctx.db.query(Session).with_index(Session.by_user, user_id=users.require(ctx).id)
    return [
        SignedIn(
            id=each.id,
            since=each.creation_time,
            device=each.device,
            here=here is not None and each.id == here.id,
        )
        for each in found
    ]


@mutation(allow=users.signed_in)
def name_device(ctx: MutationCtx, device: str) -> None:
    """Say what the caller's session runs on, once."""
    session = users.session(ctx)
    if session is not None and session.device is None:
        ctx.db.patch(session.id, device=device[:DEVICE_LENGTH_MAX])


@mutation(allow=users.signed_in)
def sign_out_elsewhere(ctx: MutationCtx) -> None:
    """End all sessions of the caller but this one."""
    here = users.session(ctx)
    auth.end_sessions(ctx, users.require(ctx).id, keep=[] if here is None else [here.id])
