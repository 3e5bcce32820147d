"""Access tokens: JWTs that this deployment signs, and the public keys that it tells others.

The key is the variable JWT_PRIVATE_KEY, what is told the variable JWKS. A key that was rotated out
stays in JWKS until all it has signed has expired, which its member `exp` says.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from camber.components.auth.policy import AuthConfigError, Variables, required

AUDIENCE: Final = "convex"
#: Claims that say what the token is; an application's own have other names.
RESERVED: Final = frozenset({"sub", "iss", "aud", "iat", "exp", "nbf", "jti"})
_KEYS = (
    "a push makes the keys of access tokens where auth_config trusts "
    'OidcProvider(domain=Env("CONVEX_SITE_URL"), application_id="convex"), and so does `camber auth keys rotate`'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key and the name of its public half, where it has one."""

    private_key: Any
    kid: str | None

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the token with these claims."""
        import jwt

        # No `typ`: Convex's own tokens have none.
        headers: dict[str, Any] = {"typ": None}
        if self.kid is not None:
            headers["kid"] = self.kid
        return jwt.encode(dict(claims), self.private_key, algorithm="RS256", headers=headers)


def signer_of(env: Variables) -> Signer:
    """Return what signs the tokens of this deployment.

    Raises:
        AuthConfigError: there is no key, it is none, or what is told of keys does not have it.
    """
    private_key = required(env, "JWT_PRIVATE_KEY", _KEYS)
    return _signer(private_key, required(env, "JWKS", _KEYS))


@functools.lru_cache(maxsize=4)
def _signer(pem: str, key_set: str) -> Signer:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private_key = load_pem_private_key(_with_lines(pem).encode(), password=None)
    except (ValueError, TypeError):
        msg = f"variable JWT_PRIVATE_KEY is no private key in PEM. {_KEYS}"
        raise AuthConfigError(msg) from None
    if not isinstance(private_key, RSAPrivateKey):
        msg = f"variable JWT_PRIVATE_KEY is no RSA key, and tokens are signed by RS256. {_KEYS}"
        raise AuthConfigError(msg)
    modulus = private_key.public_key().public_numbers().n
    for key in _keys(key_set):
        if key.get("kty") == "RSA" and _number(key.get("n")) == modulus:
            return Signer(private_key=private_key, kid=key.get("kid"))
    msg = f"variable JWKS does not have the public half of JWT_PRIVATE_KEY. {_KEYS}"
    raise AuthConfigError(msg)


def _with_lines(pem: str) -> str:
    """Return a key with its lines: Convex's own tool stores it with spaces in their place."""
    begin, found, rest = pem.strip().partition("-----BEGIN PRIVATE KEY-----")
    body, _, _ = rest.partition("-----END PRIVATE KEY-----")
    if not found or begin:
        return pem
    lines = "\n".join(body.split())
    return f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"


def _number(text: object) -> int:
    import base64

    if not isinstance(text, str):
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except ValueError:
        return 0


def _keys(key_set: str) -> list[dict[str, Any]]:
    try:
        keys = json.loads(key_set)["keys"]
    except (ValueError, TypeError, KeyError):
        msg = f'variable JWKS is no JSON of the form {{"keys": […]}}. {_KEYS}'
        raise AuthConfigError(msg) from None
    return [key for key in keys if isinstance(key, dict)]


def published_keys(env: Variables, now_s: float) -> dict[str, Any]:
    """Return the public keys whose tokens are good now, as others are told."""
    keys = _keys(required(env, "JWKS", _KEYS))
    return {"keys": [key for key in keys if _expires(key) > now_s]}


def _expires(key: Mapping[str, Any]) -> float:
    expires = key.get("exp")
    return float(expires) if isinstance(expires, int | float) else float("inf")


def issuer_of(env: Variables) -> str:
    """Return who signs: the origin of this deployment's HTTP actions."""
    return required(env, "CONVEX_SITE_URL", "it is built in")


def checked_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return an application's claims.

    Raises:
        AuthConfigError: one is not the application's to make.
    """
    taken = sorted(RESERVED & claims.keys())
    if taken:
        msg = f"custom claims cannot be called {', '.join(taken)}: the token has its own"
        raise AuthConfigError(msg)
    return dict(claims)
