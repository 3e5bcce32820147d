"""Sets of public keys, as providers publish them (JWK, RFC 7517), and what was signed with one.

A key is good for one algorithm, which follows from the key and not from any token. Whatever else a
set has is left out: keys for encryption, symmetric ones, other curves, RSA keys that are too short.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from camber import limits
from camber.errors import CamberError
from camber.identity.algorithms import Algorithm
from camber.values.wire import BadJson, decode_json

_PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RS256: Final = RSAAlgorithm(RSAAlgorithm.SHA256)
_ES256: Final = ECAlgorithm(ECAlgorithm.SHA256)
_EDDSA: Final = OKPAlgorithm()

_READERS: Final[Mapping[Algorithm, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]]] = {
    Algorithm.RS256: RSAAlgorithm,
    Algorithm.ES256: ECAlgorithm,
    Algorithm.EDDSA: OKPAlgorithm,
}

#: For each kind of key and curve its algorithm, and the members that are its public half.
_KINDS: Final[Mapping[tuple[object, object], tuple[Algorithm, tuple[str, ...]]]] = {
    ("RSA", None): (Algorithm.RS256, ("kty", "n", "e")),
    ("EC", "P-256"): (Algorithm.ES256, ("kty", "crv", "x", "y")),
    ("OKP", "Ed25519"): (Algorithm.EDDSA, ("kty", "crv", "x")),
}


class KeySetError(CamberError):
    """What was to be a set of keys is none."""

    code = "InvalidKeySet"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKey:
    """A public key. `id` is its `kid`, if it has one."""

    id: str | None
    algorithm: Algorithm
    key: _PublicKey

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is one of `message` by this key's private half."""
        key = self.key
        if isinstance(key, RSAPublicKey):
            return _RS256.verify(message, key, signature)
        if isinstance(key, EllipticCurvePublicKey):
            return _ES256.verify(message, key, signature)
        return _EDDSA.verify(message, key, signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The keys of a provider that can be used."""

    keys: tuple[VerifyingKey, ...]

    @staticmethod
    def parse(text: bytes) -> KeySet:
        """Return the set that a JSON text says.

        Raises:
            KeySetError: it is none.
        """
        try:
            found = decode_json(text)
        except BadJson as error:
            raise KeySetError(error.sentence) from None
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list):
            msg = 'it is as {"keys": […]}, a JSON object whose member keys is a list'
            raise KeySetError(msg)
        if len(keys) > limits.provider_keys_max:
            msg = f"it has {len(keys)} keys; a provider may have {limits.provider_keys_max}"
            raise KeySetError(msg)
        usable = (_usable(key) for key in keys if isinstance(key, dict))
        return KeySet(keys=tuple(key for key in usable if key is not None))

    def candidates(self, algorithm: Algorithm, key_id: str | None) -> tuple[VerifyingKey, ...]:
        """Return the keys that may have signed a token which says this in its header.

        A token that names no key can only be by the one key that there is for its algorithm, or by
        the one that has no name: a provider that begins to name its keys has both for a while.
        """
        found = tuple(key for key in self.keys if key.algorithm is algorithm)
        if key_id is None and len(found) > 1:
            found = tuple(key for key in found if key.id is None)
        if key_id is None:
            return found if len(found) == 1 else ()
        return tuple(key for key in found if key.id == key_id)


def _usable(jwk: Mapping[str, Any]) -> VerifyingKey | None:
    """Return a key that is for signatures which are accepted; None for any other."""
    try:
        kind = _KINDS.get((jwk.get("kty"), jwk.get("crv")))
    except TypeError:
        return None
    if kind is None:
        return None
    algorithm, members = kind
    operations = jwk.get("key_ops", ["verify"])
    if (
        jwk.get("alg", algorithm.value) != algorithm.value
        or jwk.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    # What a set must not have, a private half, is not even looked at.
    if not all(isinstance(jwk.get(member), str) for member in members):
        return None
    key = _public_key(algorithm, {member: jwk[member] for member in members})
    id_ = jwk.get("kid")
    if key is None or not isinstance(id_, str | None):
        return None
    return VerifyingKey(id=id_, algorithm=algorithm, key=key)


def _public_key(algorithm: Algorithm, jwk: Mapping[str, str]) -> _PublicKey | None:
    try:
        key = _READERS[algorithm].from_jwk(json.dumps(jwk))
    except (InvalidKeyError, ValueError):
        return None
    if isinstance(key, RSAPublicKey):
        shortest, longest = limits.rsa_key_bits_min, limits.rsa_key_bits_max
        return key if shortest <= key.key_size <= longest else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None
