"""Public keys and what was signed with them, by PyJWT.

It and what it stands on take 25 ms to load, so this is imported where the first key is read: a server
whose application trusts no provider needs none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from camber import limits
from camber.identity.algorithms import Algorithm

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RS256: Final = RSAAlgorithm(RSAAlgorithm.SHA256)
_ES256: Final = ECAlgorithm(ECAlgorithm.SHA256)
_EDDSA: Final = OKPAlgorithm()

_READERS: Final[Mapping[Algorithm, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]]] = {
    Algorithm.RS256: RSAAlgorithm,
    Algorithm.ES256: ECAlgorithm,
    Algorithm.EDDSA: OKPAlgorithm,
}


def has_signed(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is one of `message` by the private half of a key."""
    if isinstance(key, RSAPublicKey):
        return _RS256.verify(message, key, signature)
    if isinstance(key, EllipticCurvePublicKey):
        return _ES256.verify(message, key, signature)
    return _EDDSA.verify(message, key, signature)


def public_key(algorithm: Algorithm, jwk: Mapping[str, str]) -> PublicKey | None:
    """Return the key that a JWK describes for an algorithm, or None: it is none, or a weak one."""
    try:
        key = _READERS[algorithm].from_jwk(json.dumps(jwk))
    except (InvalidKeyError, ValueError):
        return None
    if isinstance(key, RSAPublicKey):
        shortest, longest = limits.rsa_key_bits_min, limits.rsa_key_bits_max
        return key if shortest <= key.key_size <= longest else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None
