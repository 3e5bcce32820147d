"""Providers that let in who knows a secret, who wants no name, and whom an application lets in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from camber import ActionCtx, AppError
from camber.components.auth.accounts import Profile
from camber.components.auth.passwords import Hasher, Scrypt
from camber.components.auth.policy import PASSWORD_LENGTH_MAX
from camber.components.auth.verification import Verification, address_of


def _plain_profile(params: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"email": address_of(params, "email")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """An address and a password.

    `params.flow` is what is wanted: `signUp`, `signIn`, `reset`, `reset-verification`,
    `email-verification` or `change`.

    Args:
        verify: proves addresses before anybody is let in. Without it nobody can be told apart
            who signs up with another's address, and signing up tells which addresses are taken.
        reset: proves addresses of who has forgotten a password.
        profile: makes the fields of `users` out of parameters; an `email` is among them.
        validate: raises an `AppError` for a password that is too weak.
    """

    id: str = "password"
    verify: Verification | None = None
    reset: Verification | None = None
    min_length: int = 8
    profile: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _plain_profile
    validate: Callable[[str], None] | None = None
    hasher: Hasher = field(default_factory=Scrypt)

    def check(self, password: object) -> str:
        """Return a password that may be one.

        Raises:
            AppError: it may not (code InvalidPassword).
        """
        if not isinstance(password, str) or not password:
            sentence = "`params` needs a password"
            raise AppError(
                {"code": "MissingParameter", "parameter": "password", "message": sentence}
            )
        if not self.min_length <= len(password) <= PASSWORD_LENGTH_MAX:
            sentence = f"a password has {self.min_length} to {PASSWORD_LENGTH_MAX} characters"
            raise AppError({"code": "InvalidPassword", "message": sentence})
        if self.validate is not None:
            self.validate(password)
        return password

    def user(self, params: Mapping[str, Any]) -> Profile:
        """Return what is known of who signs up: the address is proven later, or never."""
        fields = self.profile(params)
        return Profile(fields=fields, email_awaited=self.verify is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """A user without a name, another one each time."""

    id: str = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorized:
    """Whom an application lets in: a user, in a new session unless there is one."""

    user_id: str
    session_id: str | None = None


#: Looks at parameters; returns whom to let in, or None.
Authorizing = Callable[[ActionCtx, Mapping[str, Any]], Awaitable["Authorized | str | None"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An application's own way in.

    Args:
        authorize: an `async def` of an `ActionCtx` and the parameters. It returns the id of the
            user, or None for nobody. `Auth.create_account`, `Auth.retrieve_account` and others help.
        hasher: makes what is stored of secrets.
    """

    authorize: Authorizing
    id: str = "credentials"
    hasher: Hasher = field(default_factory=Scrypt)
