"""The keys with which a deployment signs the access tokens of its own users.

They are two deployment variables: JWT_PRIVATE_KEY, which signs, and JWKS, which is told. A key that
was rotated out stays in JWKS, with the time of its end in `exp`, until what it has signed has expired.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from camber.errors import CamberError

PRIVATE_KEY: Final = "JWT_PRIVATE_KEY"
KEY_SET: Final = "JWKS"
#: RS256, which is what clients of Convex's library and its migrations expect (components_a 1.2).
_BITS: Final = 2048
_EXPONENT: Final = 65537


class SigningKeysUnreadable(CamberError):
    """A set of keys that cannot be added to."""

    code = "SigningKeysUnreadable"


def new_signing_keys() -> dict[str, str]:
    """Return the variables of a deployment that signs its first token."""
    private, public = _new_pair()
    return {PRIVATE_KEY: private, KEY_SET: _text([public])}


def rotated_signing_keys(key_set: str | None, *, now_s: float, trusted_s: float) -> dict[str, str]:
    """Return the variables with another key; those before are trusted for `trusted_s` more seconds.

    Raises:
        SigningKeysUnreadable: what is there are no keys.
    """
    private, public = _new_pair()
    kept = [] if key_set is None else _retired(key_set, now_s, now_s + trusted_s)
    return {PRIVATE_KEY: private, KEY_SET: _text([public, *kept])}


def _retired(key_set: str, now_s: float, end_s: float) -> list[dict[str, Any]]:
    """Return the keys of a set that are trusted now, none of them beyond a time."""
    try:
        keys = json.loads(key_set)["keys"]
        ends = [min(float(key.get("exp", end_s)), end_s) for key in keys]
    except (ValueError, TypeError, KeyError, AttributeError):
        msg = (
            f'variable {KEY_SET} is no JSON of the form {{"keys": […]}}. Remove it for new keys; '
            "all tokens that were signed before are good no more then"
        )
        raise SigningKeysUnreadable(msg) from None
    return [{**key, "exp": int(end)} for key, end in zip(keys, ends, strict=True) if end > now_s]


def _text(keys: list[dict[str, Any]]) -> str:
    return json.dumps({"keys": keys}, separators=(",", ":"))


def _new_pair() -> tuple[str, dict[str, Any]]:
    """Return a private key in PEM, and its public half as a JWK that is named by its thumbprint."""
    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    numbers = key.public_key().public_numbers()
    required = {"e": _base64url(numbers.e), "kty": "RSA", "n": _base64url(numbers.n)}
    # RFC 7638: of exactly these members, in this order.
    thumbprint = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    return pem, {**required, "use": "sig", "alg": "RS256", "kid": kid}


def _base64url(number: int) -> str:
    content = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
