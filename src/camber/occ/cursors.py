"""Cursors and journals: positions in an index, sealed so that clients can keep them.

Sealed with AES-SIV under keys derived from the instance secret: nobody can read the indexed
values in a cursor or forge one, and the same position of the same query always gives the same
text, so that equal results stay equal.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from camber.errors import AppError

_CURSOR: Final = b"camber cursor v1"
_JOURNAL: Final = b"camber journal v1"


class InvalidCursor(AppError):
    """A cursor or journal that is not one, or belongs to another query.

    Clients know its data and start again from the first page (protocol 3.14).
    """

    def __init__(self, reason: str) -> None:
        super().__init__({"isConvexSystemError": True, "paginationError": "InvalidCursor"})
        self.reason = reason

    def __str__(self) -> str:
        return f"InvalidCursor: {self.reason}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position after a key, or at the end of the query, of the query with `fingerprint`."""

    position: bytes | None
    fingerprint: bytes


def cursor_key(secret: bytes) -> bytes:
    """Return the key that seals the cursors of the instance with this secret."""
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=b"camber cursors").derive(secret)


class CursorCipher:
    """Seals and opens the cursors of one instance."""

    def __init__(self, key: bytes) -> None:
        self._siv = AESSIV(key)

    def seal(self, cursor: Cursor) -> str:
        """Return the text of a cursor."""
        return self._seal(cursor, _CURSOR)

    def open(self, text: str) -> Cursor:
        """Return the cursor of a text.

        Raises:
            InvalidCursor: the text was not sealed here.
        """
        return self._open(text, _CURSOR)

    def seal_journal(self, end: Cursor) -> str:
        """Return the journal that pins the end of a page."""
        return self._seal(end, _JOURNAL)

    def open_journal(self, text: str) -> Cursor:
        """Return the end that a journal pins.

        Raises:
            InvalidCursor: the text was not sealed here.
        """
        return self._open(text, _JOURNAL)

    def _seal(self, cursor: Cursor, purpose: bytes) -> str:
        plain = msgspec.msgpack.encode((cursor.position, cursor.fingerprint))
        return base64.urlsafe_b64encode(self._siv.encrypt(plain, [purpose])).decode()

    def _open(self, text: str, purpose: bytes) -> Cursor:
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            # One text for each cursor: base64 alone would let the spare bits of its end vary.
            if base64.urlsafe_b64encode(sealed).decode() != text:
                raise ValueError(text)
            plain = self._siv.decrypt(sealed, [purpose])
        except (binascii.Error, ValueError, InvalidTag):
            reason = "it was not made by this deployment, or was changed"
            raise InvalidCursor(reason) from None
        position, fingerprint = msgspec.msgpack.decode(plain, type=tuple[bytes | None, bytes])
        return Cursor(position, fingerprint)
