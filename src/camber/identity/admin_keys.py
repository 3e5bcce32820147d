"""Admin keys: `<instance name>|<secret part>` (protocol 8.1).

The root key's secret part is an HMAC under a key derived from the instance secret, in hex: it can
be checked without being stored, is always valid, and allows everything. Issued keys allow some
operations until they expire or are revoked; of those only a hash is kept. Their secret part is
`ck_<id>_<secret>`. The name is for people: a deployment that is called otherwise keeps its keys.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from camber.errors import AuthenticationFailed
from camber.identity.identity import Admin
from camber.identity.operations import Operation

_ISSUED: Final = "ck_"
_ROOT: Final = b"camber admin key v1"
#: Bytes of chance in an issued key's id and in its secret.
KEY_ID_BYTES: Final = 6
KEY_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key as it is kept: `digest` is the SHA-256 of its secret. Times are ms since the epoch."""

    id: str
    name: str
    digest: bytes
    operations: frozenset[Operation]
    created: float
    expires: float | None = None

    def has_expired(self, now_ms: float) -> bool:
        """Return whether the key's time is over."""
        return self.expires is not None and now_ms >= self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made: the only time that its text is known."""

    text: str
    issued: IssuedKey


def root_key(instance_name: str, secret: bytes) -> str:
    """Return the root key of an instance."""
    return f"{instance_name}|{_root_secret(secret)}"


def _root_secret(secret: bytes) -> str:
    return hmac.new(secret, _ROOT, sha256).hexdigest()


class AdminKeys:
    """Makes and checks the admin keys of one instance.

    `configured` is a key that an operator chose; it is valid beside the root key and allows
    everything too. Which keys are issued is told by `replace_issued`.
    """

    def __init__(
        self,
        *,
        instance_name: str,
        secret: bytes,
        now_ms: Callable[[], float],
        configured: str | None = None,
    ) -> None:
        self._instance_name = instance_name
        self._root_secret = _root_secret(secret)
        self._configured = configured
        self._now_ms = now_ms
        self._issued: Mapping[str, IssuedKey] = {}

    @property
    def key(self) -> str:
        """Return a key that allows everything."""
        return self._configured or f"{self._instance_name}|{self._root_secret}"

    def issue(
        self,
        *,
        name: str,
        operations: Iterable[Operation],
        lifetime_ms: float | None,
        random_bytes: Callable[[int], bytes],
    ) -> NewKey:
        """Return a new key. It is valid once it is among those of `replace_issued`."""
        key_id = random_bytes(KEY_ID_BYTES).hex()
        secret = random_bytes(KEY_SECRET_BYTES).hex()
        now = self._now_ms()
        issued = IssuedKey(
            id=key_id,
            name=name,
            digest=_digest(secret),
            operations=frozenset(operations),
            created=now,
            expires=None if lifetime_ms is None else now + lifetime_ms,
        )
        return NewKey(text=f"{self._instance_name}|{_ISSUED}{key_id}_{secret}", issued=issued)

    def replace_issued(self, keys: Iterable[IssuedKey]) -> None:
        """Take in which keys have been issued and not revoked."""
        self._issued = {key.id: key for key in keys}

    def valid(self, key_id: str) -> IssuedKey | None:
        """Return an issued key that is neither revoked nor expired, or None."""
        issued = self._issued.get(key_id)
        return None if issued is None or issued.has_expired(self._now_ms()) else issued

    def check(self, key: str) -> Admin:
        """Return who holds a key, and what it allows.

        Raises:
            AuthenticationFailed: it is not valid here (code BadAdminKey).
        """
        name, bar, secret = key.rpartition("|")
        if self._is_master(key, f"{name.rpartition(':')[2]}{bar}{secret}", secret):
            return Admin()
        issued = self._issued_of(secret) if bar else None
        if issued is None:
            msg = "the admin key is not valid for this deployment"
            raise AuthenticationFailed(msg, code="BadAdminKey")
        if issued.has_expired(self._now_ms()):
            msg = f"the key {issued.name!r} has expired; make a new one with `camber keys create`"
            raise AuthenticationFailed(msg, code="BadAdminKey")
        return Admin(operations=issued.operations, key_id=issued.id)

    def _is_master(self, key: str, bare: str, secret: str) -> bool:
        """Return whether a key is the root key or the configured one.

        `bare` is the key without what may stand before the name: `prod:`, `preview:team:project:`.
        """
        valid = bare != secret and _equal(secret, self._root_secret)
        if self._configured is not None:
            valid |= _equal(key, self._configured)
            valid |= _equal(bare, self._configured)
        return valid

    def _issued_of(self, secret: str) -> IssuedKey | None:
        if not secret.startswith(_ISSUED):
            return None
        key_id, _, text = secret.removeprefix(_ISSUED).partition("_")
        issued = self._issued.get(key_id)
        if issued is None or not hmac.compare_digest(issued.digest, _digest(text)):
            return None
        return issued


def _digest(secret: str) -> bytes:
    # A plain hash will do: the secret is 256 bits of chance, which nobody can try out.
    return sha256(_encoded(secret)).digest()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_encoded(one), _encoded(other))


def _encoded(text: str) -> bytes:
    # JSON can carry halves of characters, which are no UTF-8.
    return text.encode(errors="surrogatepass")
