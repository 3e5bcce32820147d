"""The ways in. Those of others need an id and a secret: see README.md."""

import hashlib
from collections.abc import Mapping
from typing import Any

from camber import ActionCtx, AppError, QueryCtx, Users, query
from camber.components.auth import (
    Anonymous,
    Auth,
    Credentials,
    EmailCode,
    Endpoints,
    GitHub,
    Google,
    Linking,
    MagicLink,
    OAuth2,
    Oidc,
    Password,
    console_sender,
)

from .schema import Session, User


async def by_invitation(ctx: ActionCtx, params: Mapping[str, Any]) -> str:
    """Let in whoever has an invitation: a way of this application's own."""
    code = params.get("invitation")
    user = None
    if isinstance(code, str):
        user = await ctx.run_mutation("invitations:accept", code_hash=hash_of(code))
    if user is None:
        sentence = "There is no such invitation, or somebody has come in by it already."
        raise AppError({"code": "BAD_INVITATION", "message": sentence})
    return user


def hash_of(code: str) -> str:
    return hashlib.sha256(code.strip().encode()).hexdigest()


#: Sign-in at others: GitHub, two by OpenID Connect, and one by plain OAuth 2.
EXTERNAL = (
    GitHub(),
    Google(),
    Oidc(id="work"),
    OAuth2(
        id="gitlab",
        endpoints=Endpoints(
            authorization="https://gitlab.com/oauth/authorize",
            token="https://gitlab.com/oauth/token",
            userinfo="https://gitlab.com/api/v4/user",
        ),
        scope="read_user",
    ),
)

auth = Auth(
    __name__,
    users=User,
    providers=[
        Password(
            verify=EmailCode(send=console_sender, id="verify"),
            reset=EmailCode(send=console_sender, id="reset"),
        ),
        EmailCode(send=console_sender),
        MagicLink(send=console_sender),
        Anonymous(),
        Credentials(id="invitation", authorize=by_invitation),
        *EXTERNAL,
    ],
    # "Connect GitHub" in the page: what somebody adds who is signed in is theirs.
    linking=Linking.SIGNED_IN,
)
#: Who calls, and their roles.
users = Users(User, sessions=Session)


@query
def external(ctx: QueryCtx) -> list[str]:
    """The providers of others that this deployment has an id for."""
    return [each.id for each in EXTERNAL if ctx.env.get(f"AUTH_{each.id.upper()}_ID")]
