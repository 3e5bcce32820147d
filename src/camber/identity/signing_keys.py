"""The keys with which a deployment signs the access tokens of its own users.

They are two deployment variables: JWT_PRIVATE_KEY, which signs, and JWKS, which is told. A key that
was rotated out stays in JWKS, with the time of its end in `exp`, until what it has signed has expired.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from camber.errors import BadRequest

PRIVATE_KEY: Final = "JWT_PRIVATE_KEY"
KEY_SET: Final = "JWKS"
#: RS256, which is what clients of Convex's library and its migrations expect (components_a 1.2).
_BITS: Final = 2048
_EXPONENT: Final = 65537


class SigningKeysUnreadable(BadRequest):
    """A set of keys that cannot be added to."""

    code = "SigningKeysUnreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key of a deployment: its private half in PEM, and its public half as a JWK."""

    private_key: str
    public_key: Mapping[str, Any]

    @property
    def kid(self) -> str:
        """Return its name, the thumbprint of the public half."""
        return str(self.public_key["kid"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key that signs no more, and until when what it has signed is accepted."""

    kid: str | None
    until_s: int


def new_signing_keys() -> dict[str, str]:
    """Return the variables of a deployment that signs its first token."""
    return variables_of(new_signing_key())


def variables_of(key: SigningKey) -> dict[str, str]:
    """Return the variables of a deployment that has signed with no other key."""
    return {PRIVATE_KEY: key.private_key, KEY_SET: _text([dict(key.public_key)])}


def rotated_signing_keys(
    key: SigningKey, key_set: str | None, *, now_s: float, trusted_s: float
) -> dict[str, str]:
    """Return the variables with another key; those before are trusted for `trusted_s` more seconds.

    Raises:
        SigningKeysUnreadable: what is there are no keys.
    """
    kept = [] if key_set is None else _retired(key_set, now_s, now_s + trusted_s)
    return {PRIVATE_KEY: key.private_key, KEY_SET: _text([dict(key.public_key), *kept])}


def trusted_keys(variables: Mapping[str, str]) -> list[TrustedKey]:
    """Return the keys of a set, as it was rotated, that sign no more."""
    keys = json.loads(variables[KEY_SET])["keys"]
    return [TrustedKey(kid=key.get("kid"), until_s=key["exp"]) for key in keys if "exp" in key]


def _retired(key_set: str, now_s: float, end_s: float) -> list[dict[str, Any]]:
    """Return the keys of a set that are trusted now, none of them beyond a time."""
    try:
        keys = json.loads(key_set)["keys"]
        ends = [min(float(key.get("exp", end_s)), end_s) for key in keys]
    except (ValueError, TypeError, KeyError, AttributeError):
        msg = (
            f'variable {KEY_SET} is no JSON of the form {{"keys": […]}}. Remove it with `camber env '
            f"remove {KEY_SET}` and rotate again; what was signed before is accepted no more then"
        )
        raise SigningKeysUnreadable(msg) from None
    return [{**key, "exp": int(end)} for key, end in zip(keys, ends, strict=True) if end > now_s]


def _text(keys: list[dict[str, Any]]) -> str:
    return json.dumps({"keys": keys}, separators=(",", ":"))


def new_signing_key() -> SigningKey:
    """Make a key, which takes some hundredths of a second."""
    # Once in the life of a deployment, and not worth 6 ms of each start.
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    numbers = key.public_key().public_numbers()
    required = {"e": _base64url(numbers.e), "kty": "RSA", "n": _base64url(numbers.n)}
    # RFC 7638: of exactly these members, in this order.
    thumbprint = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    public = {**required, "use": "sig", "alg": "RS256", "kid": kid}
    return SigningKey(private_key=pem, public_key=public)


def _base64url(number: int) -> str:
    content = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
