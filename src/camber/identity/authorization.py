"""The Authorization header of HTTP requests (protocol 4.3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, cast

from msgspec.structs import replace

from camber.errors import BadRequest
from camber.identity.admin_keys import AdminKeys
from camber.identity.identity import Admin, Anonymous, Identity, UserIdentity
from camber.identity.token_verifier import TokenVerifier
from camber.values.wire import BadJson, decode_json


@dataclass(frozen=True, slots=True)
class AdminKey:
    """The text of an admin key, perhaps with an identity to act as."""

    text: str


@dataclass(frozen=True, slots=True)
class BearerToken:
    """The token of a user."""

    text: str


def credentials_of_header(header: str | None) -> AdminKey | BearerToken | None:
    """Return what a request with this Authorization header goes by, which nobody has checked.

    Raises:
        BadRequest: the header is malformed.
    """
    if header is None:
        return None
    scheme, _, credentials = header.partition(" ")
    credentials = credentials.strip()
    if not credentials:
        msg = "the Authorization header is `Bearer <token>` or `Convex <admin key>`"
        raise BadRequest(msg, code="InvalidAdminKey")
    match scheme.lower():
        case "convex":
            return AdminKey(credentials)
        case "bearer":
            return BearerToken(credentials)
        case _:
            msg = f"the Authorization scheme {scheme!r} is neither Bearer nor Convex"
            raise BadRequest(msg, code="InvalidAdminKey")


async def identity_of_header(
    header: str | None, admin_keys: AdminKeys, verifier: TokenVerifier
) -> Identity:
    """Return who sends a request with this Authorization header.

    Raises:
        BadRequest: the header is malformed.
        AuthenticationFailed: its token or key is not valid here.
        FeatureUnavailable: the token's provider does not answer.
    """
    match credentials_of_header(header):
        case None:
            return Anonymous()
        case AdminKey(text):
            return identity_of_admin_key(text, admin_keys)
        case BearerToken(text):
            found = verifier.verified_now(text) or await verifier.verified(text)
            return found.user


def identity_of_admin_key(text: str, admin_keys: AdminKeys) -> Admin:
    """Return the admin of `key` or `key:<base64 of an identity to act as>`."""
    # A deployment type may stand before the bar; what comes after it has no colon of its own.
    name, bar, rest = text.partition("|")
    if bar:
        secret, colon, encoded = rest.partition(":")
        key = f"{name}|{secret}"
    else:
        key, colon, encoded = text.partition(":")
    admin = admin_keys.check(key)
    return replace(admin, acting_as=acting_as_of_base64(encoded)) if colon else admin


def acting_as_of_base64(encoded: str) -> UserIdentity:
    """Return the identity that an admin wants to act as."""
    try:
        fields = decode_json(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, BadJson) as error:
        msg = f"the identity after the admin key is not base64 of JSON: {error}"
        raise BadRequest(msg, code="HeaderParseFailure") from None
    return acting_as_of(fields)


def acting_as_of(fields: object) -> UserIdentity:
    """Return the identity that decoded JSON describes."""
    if not isinstance(fields, dict):
        msg = "an identity to act as is a JSON object"
        raise BadRequest(msg, code="HeaderParseFailure")
    return UserIdentity.from_dict(cast("dict[str, Any]", fields))
