from collections.abc import Mapping
from typing import Any

from camber import ActionCtx, AppError, Id, MutationCtx
from camber.components.auth import (
    Anonymous,
    Auth,
    Credentials,
    EmailCode,
    GitHub,
    MagicLink,
    Message,
    Oidc,
    Password,
    PhoneCode,
)

from .schema import User


async def deliver(message: Message, ctx: ActionCtx) -> None:
    await ctx.run_mutation(
        "letters:keep",
        to=message.identifier,
        token=message.token,
        url=message.url,
        provider=message.provider,
    )


async def by_number(ctx: ActionCtx, params: Mapping[str, Any]) -> str | None:
    """People with a badge: the number is the account, the PIN its secret."""
    if params.get("new"):
        made = await auth.create_account(
            ctx,
            provider="badge",
            account_id=params["number"],
            secret=params["pin"],
            profile={"name": params["number"]},
        )
        return made.user_id
    if params["number"] == "0":
        return None
    found = await auth.retrieve_account(
        ctx, provider="badge", account_id=params["number"], secret=params["pin"]
    )
    return found.user_id


auth = Auth(
    __name__,
    users=User,
    providers=[
        Password(reset=EmailCode(send=deliver, id="reset")),
        Password(
            id="verified",
            verify=EmailCode(send=deliver, id="verify"),
            reset=EmailCode(send=deliver, id="verified-reset"),
        ),
        MagicLink(send=deliver),
        EmailCode(send=deliver),
        PhoneCode(send=deliver),
        Anonymous(),
        Credentials(id="badge", authorize=by_number),
        GitHub(web="http://127.0.0.1:1", api="http://127.0.0.1:1"),
        Oidc(id="oidc"),
        Oidc(id="posting", response_mode="form_post"),
    ],
    allowed_redirects=["myapp://*", "https://*.preview.example.com", "http://localhost:5999/app"],
)


@auth.before_session_creation
def no_banned(ctx: MutationCtx, user_id: Id[User]) -> None:
    user = ctx.db.get(user_id)
    if user is not None and user.name == "banned":
        raise AppError({"code": "BANNED"})


@auth.custom_claims
def claims(ctx: MutationCtx, user_id: Id[User], session_id: str) -> dict[str, Any]:
    user = ctx.db.get(user_id)
    return {"plan": None if user is None else user.plan}
