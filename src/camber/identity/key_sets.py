"""Sets of public keys, as providers publish them (JWK, RFC 7517), and what was signed with one.

A key is good for one algorithm, which follows from the key and not from any token. Whatever else a
set has is left out: keys for encryption, symmetric ones, other curves, RSA keys that are too short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from camber import limits
from camber.errors import CamberError
from camber.identity.algorithms import Algorithm
from camber.values.wire import BadJson, decode_json

if TYPE_CHECKING:
    from camber.identity.signatures import PublicKey

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
    key: PublicKey

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether `signature` is one of `message` by this key's private half."""
        from camber.identity.signatures import has_signed

        return has_signed(self.key, message, signature)


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
    from camber.identity.signatures import public_key

    key = public_key(algorithm, {member: jwk[member] for member in members})
    id_ = jwk.get("kid")
    if key is None or not isinstance(id_, str | None):
        return None
    return VerifyingKey(id=id_, algorithm=algorithm, key=key)
