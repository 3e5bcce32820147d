"""What an application declares of those who sign its users in: the list `providers` of `auth_config`.

Declaring is data: nothing here asks a provider for anything. A text that is not known when the
module loads is `Env("NAME")`: the deployment variable of that name, as it is when a token is
verified.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from camber.errors import CamberError
from camber.functions.components import Env
from camber.identity import algorithms


class DeclarationError(CamberError):
    """A provider that cannot be declared as it is."""

    code = "DeclarationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """An OpenID Connect provider whose tokens are accepted, in `auth_config.providers`.

    Args:
        domain: the provider's issuer. Where its keys are is read from
            `<domain>/.well-known/openid-configuration`.
        application_id: the audience that its tokens are for.
    """

    domain: str | Env
    application_id: str | Env

    def __post_init__(self) -> None:
        _check_texts(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomJwt:
    """An issuer of JWTs whose tokens are accepted, in `auth_config.providers`.

    Args:
        issuer: what its tokens have for `iss`.
        jwks: the URL of its keys, or a `data:` URI that has them.
        algorithm: with which it signs: `RS256`, `ES256` or `EdDSA`.
        application_id: the audience that its tokens are for. Without one, tokens that it has made
            for others are accepted too.
    """

    issuer: str | Env
    jwks: str | Env
    algorithm: str
    application_id: str | Env | None = None

    def __post_init__(self) -> None:
        _check_texts(self)
        if self.algorithm not in algorithms.NAMES:
            known = ", ".join(algorithms.NAMES)
            msg = f"CustomJwt(algorithm={self.algorithm!r}): it is one of {known}"
            raise DeclarationError(msg)


def _check_texts(provider: OidcProvider | CustomJwt) -> None:
    kind = type(provider).__name__
    for field in fields(provider):
        value = getattr(provider, field.name)
        if value is None and field.default is None:
            continue
        if value is None:
            msg = (
                f"{kind}({field.name}=None): it is needed. If it was to come from os.environ, that has no "
                'such variable; Env("NAME") is the deployment variable of that name'
            )
            raise DeclarationError(msg)
        if not isinstance(value, str | Env):
            msg = f'{kind}({field.name}={value!r}): it is a text or Env("NAME")'
            raise DeclarationError(msg)
        if isinstance(value, str) and not value.strip():
            msg = f"{kind}({field.name}={value!r}): it is empty"
            raise DeclarationError(msg)
