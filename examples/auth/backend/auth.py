"""The ways in. Those of others need an id and a secret: see README.md."""

from camber import QueryCtx, Users, query
from camber.components.auth import (
    Anonymous,
    Auth,
    EmailCode,
    GitHub,
    Google,
    MagicLink,
    Oidc,
    Password,
    console_sender,
)

from .schema import AuthSession, User

EXTERNAL = (Oidc(id="work"), GitHub(), Google())

auth = Auth(
    __name__,
    users=User,
    providers=[
        Password(
            verify=EmailCode(send=console_sender, id="verify"),
            reset=EmailCode(send=console_sender, id="reset"),
        ),
        MagicLink(send=console_sender),
        Anonymous(),
        *EXTERNAL,
    ],
)
#: Who calls, and their roles.
users = Users(User, sessions=AuthSession)


@query
def external(ctx: QueryCtx) -> list[str]:
    """The providers of others that this deployment has an id for."""
    return [each.id for each in EXTERNAL if ctx.env.get(f"AUTH_{each.id.upper()}_ID")]
