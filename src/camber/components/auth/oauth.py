"""Providers that know their users themselves: OAuth 2 and OpenID Connect."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from camber.components.auth.accounts import Profile
from camber.components.auth.policy import AuthConfigError, Variables, required, variable_of
from camber.components.auth.verification import normalised

#: Asks the provider for what is at a URL, with its user's token.
AskJson = Callable[[str], Awaitable[Any]]
#: Characters of an account's id, and of texts of a profile.
_TEXT_MAX: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a provider answers. Those of an OIDC provider without any are discovered."""

    authorization: str
    token: str
    userinfo: str | None = None
    jwks: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalUser:
    """A user as a provider knows them: the account's id there, and fields of `users`."""

    id: str
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """An OAuth 2 provider.

    Client id and secret are the variables AUTH_<ID>_ID and AUTH_<ID>_SECRET, the id in capitals and
    `-` as `_`.

    Args:
        id: what clients call it, and a part of its callback URL.
        endpoints: where it answers.
        scope: what it is asked for.
        client_auth: how this application proves to it who it is: `client_secret_basic`,
            `client_secret_post` or `none`.
        response_mode: `query`, or `form_post` where its answers are forms.
        parameters: further parameters of its sign-in page.
        profile: makes fields of `users`, and `id`, out of what it says of a user.
        trusts_email: whether it says an address only if it is its user's: then who has that
            address here already is the same person.
    """

    id: str
    endpoints: Endpoints | None = None
    scope: str | None = None
    client_auth: str = "client_secret_basic"
    response_mode: str = "query"
    parameters: Mapping[str, str] = field(default_factory=dict)
    profile: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    trusts_email: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.id):
            msg = f"{self.id!r} cannot be a provider's id, which is in its URL: a-z, 0-9 and '-'"
            raise AuthConfigError(msg)
        if self.response_mode not in {"query", "form_post"}:
            msg = f"provider {self.id!r}: response_mode is query or form_post, not {self.response_mode!r}"
            raise AuthConfigError(msg)
        if self.client_auth not in {"client_secret_basic", "client_secret_post", "none"}:
            msg = (
                f"provider {self.id!r}: client_auth is client_secret_basic, client_secret_post or "
                f"none, not {self.client_auth!r}"
            )
            raise AuthConfigError(msg)

    @property
    def is_oidc(self) -> bool:
        """Return whether it tells who its user is by an ID token."""
        return False

    def client_id(self, env: Variables) -> str:
        """Return what this application is called there."""
        return required(env, variable_of(self.id, "ID"), f"the client id at {self.id}")

    def client_secret(self, env: Variables) -> str | None:
        """Return what proves that it is this application."""
        if self.client_auth == "none":
            return None
        return required(env, variable_of(self.id, "SECRET"), f"the client secret at {self.id}")

    def issuer_of(self, env: Variables) -> str | None:
        """Return what an OIDC provider calls itself."""
        del env
        return None

    def require_variables(self, env: Variables) -> None:
        """Do nothing, if what the application has to know of the provider is set.

        Raises:
            AuthConfigError: it is not.
        """
        self.client_id(env)
        self.client_secret(env)
        self.issuer_of(env)

    async def said(self, ask: AskJson, endpoints: Endpoints) -> Mapping[str, Any]:
        """Return what the provider says of its user."""
        if endpoints.userinfo is None:
            msg = f"provider {self.id!r} has no endpoint userinfo to ask who its user is"
            raise AuthConfigError(msg)
        found = await ask(endpoints.userinfo)
        if not isinstance(found, dict):
            msg = f"{endpoints.userinfo} says of its user {type(found).__name__}, no object"
            raise AuthConfigError(msg)
        return found

    def user(self, said: Mapping[str, Any]) -> ExternalUser:
        """Return a user by what the provider says.

        Raises:
            AuthConfigError: that has no id.
        """
        fields = dict(self._standard(said) if self.profile is None else self.profile(said))
        account_id = fields.pop("id", None)
        if not isinstance(account_id, str) or not 0 < len(account_id) <= _TEXT_MAX:
            msg = (
                f"the profile of provider {self.id!r} needs an `id`, a text; it has {account_id!r}"
            )
            raise AuthConfigError(msg)
        if isinstance(fields.get("email"), str):
            fields["email"] = normalised(fields["email"])
        proven = fields.pop("emailVerified", None)
        if not isinstance(proven, bool):
            proven = self._proves_email(said)
        # What is not known does not take the place of what was.
        known = {name: value for name, value in fields.items() if value is not None}
        proven = proven and "email" in known
        return ExternalUser(id=account_id, profile=Profile(fields=known, email_proven=proven))

    def _proves_email(self, said: Mapping[str, Any]) -> bool:
        del said
        return self.trusts_email

    def _standard(self, said: Mapping[str, Any]) -> dict[str, Any]:
        subject = said.get("sub", said.get("id"))
        name = said.get("name") or said.get("nickname") or said.get("preferred_username")
        return {
            "id": str(subject) if isinstance(subject, str | int) else None,
            "name": _text(name),
            "email": _text(said.get("email")),
            "image": _text(said.get("picture")),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Oidc(OAuth2):
    """An OpenID Connect provider.

    Its issuer is `issuer`, or the variable AUTH_<ID>_ISSUER; where it answers is discovered. An
    address counts as the user's if the claim `email_verified` says so, or `trusts_email` does.
    """

    issuer: str | None = None

    @property
    def is_oidc(self) -> bool:
        """Return whether it tells who its user is by an ID token."""
        return True

    def issuer_of(self, env: Variables) -> str | None:
        """Return what it calls itself."""
        return self.issuer or required(env, variable_of(self.id, "ISSUER"), f"who {self.id} is")

    def _proves_email(self, said: Mapping[str, Any]) -> bool:
        return said.get("email_verified") is True or self.trusts_email


def Google(id: str = "google", **options: Any) -> Oidc:  # noqa: N802  # reads as the classes do
    """Return Google, as an OpenID Connect provider."""
    return Oidc(id=id, **{"issuer": "https://accounts.google.com", **options})


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub(OAuth2):
    """GitHub, which is no OpenID Connect provider; `web` and `api` are those of an Enterprise server."""

    id: str = "github"
    web: str = "https://github.com"
    api: str = "https://api.github.com"
    scope: str | None = "read:user user:email"
    client_auth: str = "client_secret_post"

    def __post_init__(self) -> None:
        OAuth2.__post_init__(self)
        if self.endpoints is None:
            endpoints = Endpoints(
                authorization=f"{self.web}/login/oauth/authorize",
                token=f"{self.web}/login/oauth/access_token",
                userinfo=f"{self.api}/user",
            )
            object.__setattr__(self, "endpoints", endpoints)

    async def said(self, ask: AskJson, endpoints: Endpoints) -> Mapping[str, Any]:
        """Return the user, with the address that GitHub has verified: the public one may be any."""
        found = dict(await OAuth2.said(self, ask, endpoints))
        addresses = await ask(f"{self.api}/user/emails")
        found["email"] = next(
            (
                each.get("email")
                for each in (addresses if isinstance(addresses, list) else ())
                if isinstance(each, dict) and each.get("primary") and each.get("verified") is True
            ),
            None,
        )
        return found

    def _proves_email(self, said: Mapping[str, Any]) -> bool:
        # It was asked for as one that is verified.
        return said.get("email") is not None

    def _standard(self, said: Mapping[str, Any]) -> dict[str, Any]:
        number = said.get("id")
        return {
            "id": str(number) if isinstance(number, int | str) else None,
            "name": _text(said.get("name")) or _text(said.get("login")),
            "email": _text(said.get("email")),
            "image": _text(said.get("avatar_url")),
        }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _TEXT_MAX else None
