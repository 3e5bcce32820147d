"""What the actions of signing in ask of the database: the arguments of the mutation `auth:store`.

Each is one transaction. What has to be remembered of a failure is returned and not raised, or it
would be undone with the rest.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct


class AccountName(Struct, frozen=True, kw_only=True):
    """An account, whether there is one or not."""

    provider: str
    account_id: str


class Known(AccountName, frozen=True, kw_only=True):
    """An account whose secret somebody has known, in an `attempts.Attempt`: what was stored of it."""

    attempt: str
    secret: str | None


class SignIn(Struct, frozen=True, kw_only=True):
    """Begin a session in the place of the caller's own, or go on with `session_id`.

    `hash` is of the secret of its refresh token. If a secret was known, that was no guess;
    nobody is let in if the account has another by now.
    """

    user_id: str
    hash: str
    session_id: str | None = None
    known: Known | None = None
    type: Literal["signIn"] = "signIn"


class SignOut(Struct, frozen=True, kw_only=True):
    """End the caller's session."""

    type: Literal["signOut"] = "signOut"


class Refresh(Struct, frozen=True, kw_only=True):
    """Take a refresh token for another."""

    token_id: str
    session_id: str
    hash: str
    child_hash: str
    child_nonce: str
    type: Literal["refresh"] = "refresh"


class RedeemCode(Struct, frozen=True, kw_only=True):
    """Sign in whoever has a code. Without a provider it is of one that clients can name."""

    code_hash: str
    params: dict[str, Any]
    hash: str
    verifier: str | None = None
    provider: str | None = None
    type: Literal["redeemCode"] = "redeemCode"


class BeginFlow(Struct, frozen=True, kw_only=True):
    """Remember that the caller's browser is about to go to an OAuth provider."""

    type: Literal["beginFlow"] = "beginFlow"


class SignFlow(Struct, frozen=True, kw_only=True):
    """Tie a flow to the cookies of the browser that goes."""

    verifier: str
    signature: str
    type: Literal["signFlow"] = "signFlow"


class EndFlow(Struct, frozen=True, kw_only=True):
    """A browser has come back with its cookies: keep its account, and a code that lets it in."""

    provider: str
    account_id: str
    fields: dict[str, Any]
    email_proven: bool
    signature: str
    code_hash: str
    type: Literal["endFlow"] = "endFlow"


class StartVerification(Struct, frozen=True, kw_only=True):
    """Keep a code that is about to be sent to an address, and its account.

    `fields` are those of a user who is new.
    """

    provider: str
    address: str
    code_hash: str
    fields: dict[str, Any]
    type: Literal["startVerification"] = "startVerification"


class TakeSending(Struct, frozen=True, kw_only=True):
    """Count a message to an address, whether anybody has an account by it or not."""

    provider: str
    address: str
    type: Literal["takeSending"] = "takeSending"


class CodeForAccount(Struct, frozen=True, kw_only=True):
    """Keep a code that is about to be sent to whom an account is of, if there is one."""

    provider: str
    account_provider: str
    account_id: str
    code_hash: str
    type: Literal["codeForAccount"] = "codeForAccount"


class TakeAttempt(Struct, frozen=True, kw_only=True):
    """Count an attempt at an account's secret, and return the account if there is one."""

    provider: str
    account_id: str
    type: Literal["takeAttempt"] = "takeAttempt"


class Succeeded(Struct, frozen=True, kw_only=True):
    """Take in that an attempt at an account's secret was no guess."""

    known: Known
    type: Literal["succeeded"] = "succeeded"


class CreateAccount(Struct, frozen=True, kw_only=True):
    """Make an account, or return the one that there is; count an attempt at its secret either way."""

    provider: str
    account_id: str
    secret: str | None
    fields: dict[str, Any]
    email_awaited: bool = False
    email_proven: bool = False
    type: Literal["createAccount"] = "createAccount"


class GetAccount(Struct, frozen=True, kw_only=True):
    """Return an account."""

    provider: str
    account_id: str
    type: Literal["getAccount"] = "getAccount"


class ReplaceSecret(Struct, frozen=True, kw_only=True):
    """Give an account another secret."""

    provider: str
    account_id: str
    secret: str
    type: Literal["replaceSecret"] = "replaceSecret"


class ClaimSecret(Struct, frozen=True, kw_only=True):
    """Give an account the secret of somebody who has yet to prove its address.

    It leaves one alone whose address somebody has proven, or whose user is signed in. Of two who
    try within `contest_ms` nobody's secret counts.
    """

    provider: str
    account_id: str
    secret: str
    contest_ms: float
    type: Literal["claimSecret"] = "claimSecret"


class ResetPassword(Struct, frozen=True, kw_only=True):
    """Redeem a code of an account for another secret, end its sessions and begin one."""

    provider: str
    account_id: str
    code_provider: str
    code_hash: str
    secret: str
    hash: str
    type: Literal["resetPassword"] = "resetPassword"


class ChangePassword(Struct, frozen=True, kw_only=True):
    """Give the caller's account another secret, and end all sessions but the caller's."""

    provider: str
    account_id: str
    secret: str
    hash: str
    type: Literal["changePassword"] = "changePassword"


class OwnAccount(Struct, frozen=True, kw_only=True):
    """Return the caller's account at a provider, and count an attempt at its secret."""

    provider: str
    type: Literal["ownAccount"] = "ownAccount"


class InvalidateSessions(Struct, frozen=True, kw_only=True):
    """End all sessions of a user but those that are named."""

    user_id: str
    keep: list[str] = []
    type: Literal["invalidateSessions"] = "invalidateSessions"


Operation: TypeAlias = (
    SignIn
    | SignOut
    | Refresh
    | RedeemCode
    | BeginFlow
    | SignFlow
    | EndFlow
    | StartVerification
    | TakeSending
    | CodeForAccount
    | TakeAttempt
    | Succeeded
    | CreateAccount
    | GetAccount
    | ReplaceSecret
    | ClaimSecret
    | ResetPassword
    | ChangePassword
    | OwnAccount
    | InvalidateSessions
)
