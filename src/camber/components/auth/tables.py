"""The tables of signing in, with the names that they have in Convex's own library.

`users` is the application's: it extends `AuthUser` by what it wants to know of people. The others
come with `Auth`. Nothing that lets anybody in is stored as it is: passwords, codes, the secrets of
refresh tokens and the signatures of OAuth flows are hashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from camber import Id, Index, Table, field


class AuthUser(Table):
    """The base of the application's table `users`: `class User(AuthUser, table="users")`.

    Times are milliseconds since the Unix epoch. An address is verified if it has a time.
    """

    name: str | None = None
    image: str | None = None
    email: str | None = None
    email_verification_time: float | None = field(name="emailVerificationTime", default=None)
    phone: str | None = None
    phone_verification_time: float | None = field(name="phoneVerificationTime", default=None)
    is_anonymous: bool | None = field(name="isAnonymous", default=None)

    by_email = Index("email", name="email")
    by_phone = Index("phone", name="phone")


if TYPE_CHECKING:
    users = AuthUser


class AuthSession(Table, table="authSessions"):
    """A user who is signed in on one device, until a moment that is fixed when it begins."""

    user_id: Id["users"] = field(name="userId")  # noqa: UP037  # a table, no class
    expiration_time: float = field(name="expirationTime")

    by_user = Index("userId", name="userId")
    by_expiration = Index("expirationTime", name="expirationTime")


class AuthAccount(Table, table="authAccounts"):
    """A way in for a user: an account at a provider. `secret` is the hash of a password."""

    user_id: Id["users"] = field(name="userId")  # noqa: UP037  # a table, no class
    provider: str
    provider_account_id: str = field(name="providerAccountId")
    secret: str | None = None
    #: When somebody last chose a secret who had yet to prove the address.
    claim_time: float | None = field(name="claimTime", default=None)
    #: The address that was verified, not whether one was.
    email_verified: str | None = field(name="emailVerified", default=None)
    phone_verified: str | None = field(name="phoneVerified", default=None)

    by_user_and_provider = Index("userId", "provider", name="userIdAndProvider")
    by_provider_and_account = Index("provider", "providerAccountId", name="providerAndAccountId")


class AuthRefreshToken(Table, table="authRefreshTokens"):
    """A refresh token: a tree of them belongs to a session, each the child of the one it replaces.

    `hash` is of its secret. That is made of its parent's and of `nonce`, which is forgotten with
    the first use: until then whoever has the parent can be given the same token again.
    """

    session_id: Id[AuthSession] = field(name="sessionId")
    expiration_time: float = field(name="expirationTime")
    first_used_time: float | None = field(name="firstUsedTime", default=None)
    parent_refresh_token_id: Id[AuthRefreshToken] | None = field(
        name="parentRefreshTokenId", default=None
    )
    hash: str | None = None
    nonce: str | None = None

    by_session = Index("sessionId", name="sessionId")
    by_session_and_parent = Index(
        "sessionId", "parentRefreshTokenId", name="sessionIdAndParentRefreshTokenId"
    )
    by_expiration = Index("expirationTime", name="expirationTime")


class FlowEnd(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a provider has said at the end of an OAuth flow, until its browser asks to be let in."""

    provider_account_id: str
    #: Of `users`, by their names on the wire.
    fields: dict[str, Any]
    email_proven: bool
    #: Of who was signed in where the flow began.
    session_id: Id[AuthSession] | None


class AuthVerificationCode(Table, table="authVerificationCodes"):
    """A code that was sent to somebody, or to a browser at the end of an OAuth flow; its SHA-256.

    It is of an account, or of a flow whose account is looked for or made when it is redeemed.
    """

    account_id: Id[AuthAccount] | None = field(name="accountId", default=None)
    flow: FlowEnd | None = None
    provider: str
    code: str
    expiration_time: float = field(name="expirationTime")
    #: The verifier of the browser that began an OAuth flow: nobody else may redeem the code.
    verifier: str | None = None
    #: The address that whoever has the code has proven to be theirs.
    email_verified: str | None = field(name="emailVerified", default=None)
    phone_verified: str | None = field(name="phoneVerified", default=None)

    by_account = Index("accountId", name="accountId")
    by_code = Index("code", name="code")
    by_expiration = Index("expirationTime", name="expirationTime")


class AuthVerifier(Table, table="authVerifiers"):
    """An OAuth flow that a browser has begun; `signature` is the SHA-256 of what its cookies hold."""

    session_id: Id[AuthSession] | None = field(name="sessionId", default=None)
    signature: str | None = None

    by_signature = Index("signature", name="signature")


class AuthRateLimit(Table, table="authRateLimits"):
    """A bucket of attempts, which is full where there is no document."""

    identifier: str
    last_attempt_time: float = field(name="lastAttemptTime")
    attempts_left: float = field(name="attemptsLeft")

    by_identifier = Index("identifier", name="identifier")
    by_last_attempt = Index("lastAttemptTime", name="lastAttemptTime")


class AuthKnownAddress(Table, table="authKnownAddresses"):
    """That somebody has signed in to an account from an address, both as one hash."""

    identifier: str
    last_time: float = field(name="lastTime")

    by_identifier = Index("identifier", name="identifier")
    by_last_time = Index("lastTime", name="lastTime")


TABLES: tuple[type[Table], ...] = (
    AuthSession,
    AuthAccount,
    AuthRefreshToken,
    AuthVerificationCode,
    AuthVerifier,
    AuthRateLimit,
    AuthKnownAddress,
)
