"""Texts that let whoever holds them upload one file, or see one for a while.

They are authenticated by a key derived from the instance secret, and say all that they mean: no
list of them is kept.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from camber.errors import AuthenticationFailed, PermissionDenied

_PURPOSE: Final = b"camber file capability v1"
_VERSION: Final = b"\x01"
_TAG_BYTES: Final = 32
_TIME_BYTES: Final = 8
_INTERNAL_BYTES: Final = 16
_HEAD_BYTES: Final = len(_VERSION) + _TIME_BYTES + _INTERNAL_BYTES
#: Characters of a token: a component's path is the only part that varies.
_TOKEN_LENGTH_MAX: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTicket:
    """The right to upload one file: which one it will be, of which component, and until when.

    `internal` is what the file's id is made of, so that a second file by the same right is known.
    """

    internal: bytes
    component: str
    expires_ms: int


def capabilities_key(secret: bytes) -> bytes:
    """Return the key that authenticates the capabilities of the instance with this secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)


class Capabilities:
    """Makes and reads the capabilities of one deployment."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def upload_token(self, ticket: UploadTicket) -> str:
        """Return the text of a ticket."""
        assert len(ticket.internal) == _INTERNAL_BYTES
        body = (
            _VERSION
            + ticket.expires_ms.to_bytes(_TIME_BYTES, "big")
            + ticket.internal
            + ticket.component.encode()
        )
        return urlsafe_b64encode(body + self._tag(b"upload", body)).rstrip(b"=").decode()

    def upload_ticket(self, token: str, now_ms: float) -> UploadTicket:
        """Return the ticket of a text.

        Raises:
            AuthenticationFailed: it is none of ours (StorageTokenInvalid), or its time is over
                (StorageTokenExpired).
        """
        raw = _decoded(token)
        body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        is_ours = len(body) >= _HEAD_BYTES and body.startswith(_VERSION)
        if not is_ours or not hmac.compare_digest(tag, self._tag(b"upload", body)):
            msg = "the upload URL's token is not one of this deployment; ask for a new URL"
            raise AuthenticationFailed(msg, code="StorageTokenInvalid")
        at = len(_VERSION) + _TIME_BYTES
        ticket = UploadTicket(
            expires_ms=int.from_bytes(body[len(_VERSION) : at], "big"),
            internal=body[at:_HEAD_BYTES],
            component=body[_HEAD_BYTES:].decode(),
        )
        if now_ms >= ticket.expires_ms:
            raise ticket_expired()
        return ticket

    def url_query(self, file: str, expires_s: int) -> str:
        """Return the query of a URL that shows a file, by its id, until `expires_s`.

        That is in seconds since the Unix epoch.
        """
        return f"expires={expires_s}&signature={self._signature(file, expires_s)}"

    def check_url(self, file: str, expires: str, signature: str, now_s: float) -> int:
        """Return until when a URL shows a file, given the parts of its query.

        Raises:
            PermissionDenied: they are none of ours (StorageUrlInvalid), or its time is over
                (StorageUrlExpired).
        """
        is_number = expires.isascii() and expires.isdigit() and len(expires) < 16
        expires_s = int(expires) if is_number else 0
        expected = self._signature(file, expires_s).encode()
        given = signature.encode(errors="replace")
        if not is_number or not hmac.compare_digest(expected, given):
            msg = "the file's URL is not one of this deployment, or was changed"
            raise PermissionDenied(msg, code="StorageUrlInvalid")
        if now_s >= expires_s:
            msg = "the file's URL has expired; ask the application for a new one"
            raise PermissionDenied(msg, code="StorageUrlExpired")
        return expires_s

    def _signature(self, file: str, expires_s: int) -> str:
        tag = self._tag(b"url", f"{file} {expires_s}".encode())
        return urlsafe_b64encode(tag).rstrip(b"=").decode()

    def _tag(self, purpose: bytes, body: bytes) -> bytes:
        return hmac.new(self._key, purpose + b"\0" + body, sha256).digest()


def ticket_expired() -> AuthenticationFailed:
    """Return what is told of a right to upload whose time is over."""
    msg = "the upload URL has expired; ask for a new one"
    return AuthenticationFailed(msg, code="StorageTokenExpired")


def _decoded(token: str) -> bytes:
    """Return the bytes of a token; none if it is no text of one, or not the only one."""
    if len(token) > _TOKEN_LENGTH_MAX or not token.isascii():
        return b""
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (BinasciiError, ValueError):
        return b""
    # Python passes over what is no digit.
    is_canonical = urlsafe_b64encode(raw).rstrip(b"=").decode() == token
    return raw if is_canonical else b""
