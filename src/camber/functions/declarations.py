"""What an application declares beside functions, tables, crons, routes and components: providers.

Declaring is data: nothing here runs anything. The parts that act on these declarations are built
one after another; until one is, what would need it says so when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from camber.errors import CamberError


class DeclarationError(CamberError):
    """A provider that cannot be declared as it is."""

    code = "DeclarationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """An OpenID Connect provider whose tokens are accepted, in `auth_config.providers`."""

    domain: str
    application_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomJwt:
    """An issuer of JWTs whose tokens are accepted; `jwks` is a URL or a `data:` URI."""

    issuer: str
    jwks: str
    algorithm: str
    application_id: str | None = None
