"""Signing in, for Convex's own front end `@convex-dev/auth`: docs/signing-in.md.

It is written on the public API alone, as an application could have done. Its tables and functions
are the application's, since clients call `auth:signIn` and users are the application's to extend.
"""

from __future__ import annotations

from camber.components.auth.accounts import UserChange
from camber.components.auth.auth import Account, Auth
from camber.components.auth.oauth import Endpoints, GitHub, Google, OAuth2, Oidc
from camber.components.auth.passwords import Hasher, Scrypt
from camber.components.auth.policy import AuthConfigError, Linking, SessionPolicy
from camber.components.auth.providers import Anonymous, Authorized, Credentials, Password
from camber.components.auth.tables import (
    AuthAccount,
    AuthKnownAddress,
    AuthRateLimit,
    AuthRefreshToken,
    AuthSession,
    AuthUser,
    AuthVerificationCode,
    AuthVerifier,
)
from camber.components.auth.verification import (
    EmailCode,
    MagicLink,
    Message,
    PhoneCode,
    console_sender,
)

__all__ = [
    "Account",
    "Anonymous",
    "Auth",
    "AuthAccount",
    "AuthConfigError",
    "AuthKnownAddress",
    "AuthRateLimit",
    "AuthRefreshToken",
    "AuthSession",
    "AuthUser",
    "AuthVerificationCode",
    "AuthVerifier",
    "Authorized",
    "Credentials",
    "EmailCode",
    "Endpoints",
    "GitHub",
    "Google",
    "Hasher",
    "Linking",
    "MagicLink",
    "Message",
    "OAuth2",
    "Oidc",
    "Password",
    "PhoneCode",
    "Scrypt",
    "SessionPolicy",
    "UserChange",
    "console_sender",
]
