"""The Authorization header of HTTP requests (protocol 4.3)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

from msgspec.structs import replace

from camber.errors import AuthenticationFailed, BadRequest
from camber.identity.admin_keys import AdminKeys
from camber.identity.identity import Admin, Anonymous, Identity, UserIdentity
from camber.values.wire import BadJson, decode_json


def identity_of_header(header: str | None, admin_keys: AdminKeys) -> Identity:
    """Return who sends a request with this Authorization header.

    Raises:
        BadRequest: the header is malformed.
        AuthenticationFailed: its token or key is not valid here.
    """
    if header is None:
        return Anonymous()
    scheme, _, credentials = header.partition(" ")
    credentials = credentials.strip()
    if not credentials:
        msg = "the Authorization header is `Bearer <token>` or `Convex <admin key>`"
        raise BadRequest(msg, code="InvalidAdminKey")
    match scheme.lower():
        case "convex":
            return identity_of_admin_key(credentials, admin_keys)
        case "bearer":
            return identity_of_token(credentials)
        case _:
            msg = f"the Authorization scheme {scheme!r} is neither Bearer nor Convex"
            raise BadRequest(msg, code="InvalidAdminKey")


def identity_of_token(token: str) -> Identity:
    """Return the user of a token: none can be verified yet.

    Raises:
        AuthenticationFailed: always (code NoAuthProvider).
    """
    del token
    msg = "no identity provider is configured for this deployment, so no token can be verified"
    raise AuthenticationFailed(msg, code="NoAuthProvider")


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
