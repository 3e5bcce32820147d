"""Tokens that were verified, and those of them that are remembered.

A client sends its token with each request. To look at its signature again each time would take longer
than many a query.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from camber import limits
from camber.identity.identity import User
from camber.identity.key_sets import VerifyingKey
from camber.identity.providers import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token that was accepted: whose it is, and the provider and the key that vouch for it."""

    user: User
    provider: Provider
    key: VerifyingKey


class RememberedTokens:
    """The tokens that were verified last, by their hashes.

    There is a bound on the bytes of what they were; those that nobody has sent for the longest time
    are forgotten first.
    """

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, tuple[VerifiedToken, int]] = OrderedDict()
        self._bytes = 0

    def find(self, text: str, now_ns: int) -> VerifiedToken | None:
        """Return what a token was found to be, if it is remembered and has not ended."""
        digest = _digest(text)
        found = self._tokens.get(digest)
        if found is None:
            return None
        token, size = found
        if token.user.has_expired(now_ns):
            del self._tokens[digest]
            self._bytes -= size
            return None
        self._tokens.move_to_end(digest)
        return token

    def add(self, text: str, token: VerifiedToken) -> None:
        """Remember a token."""
        digest = _digest(text)
        _, before = self._tokens.pop(digest, (None, 0))
        self._tokens[digest] = token, len(text)
        self._bytes += len(text) - before
        while self._bytes > limits.tokens_remembered_bytes_max:
            _, (_, size) = self._tokens.popitem(last=False)
            self._bytes -= size

    def clear(self) -> None:
        """Forget all."""
        self._tokens.clear()
        self._bytes = 0


def _digest(text: str) -> bytes:
    # JSON can carry halves of characters, which are no UTF-8.
    return sha256(text.encode(errors="surrogatepass")).digest()
