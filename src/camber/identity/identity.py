"""Identities: nobody, a user, or an admin who may act as a user (protocol 9.4, 9.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from camber.errors import BadRequest, IdentityUnverified, PermissionDenied
from camber.identity.operations import ALL_OPERATIONS, Operation, sorted_operations
from camber.values.packed import pack
from camber.values.value import Value, canonical

#: Attributes in Python and names on the wire, in the order in which they are documented.
_FIELDS: Final = {
    "token_identifier": "tokenIdentifier",
    "subject": "subject",
    "issuer": "issuer",
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile_url": "profileUrl",
    "picture_url": "pictureUrl",
    "website_url": "websiteUrl",
    "email": "email",
    "email_verified": "emailVerified",
    "gender": "gender",
    "birthday": "birthday",
    "timezone": "timezone",
    "language": "language",
    "phone_number": "phoneNumber",
    "phone_number_verified": "phoneNumberVerified",
    "address": "address",
    "updated_at": "updatedAt",
}
#: And the attributes by their names on the wire.
WIRE_NAMES: Final = {wire: attribute for attribute, wire in _FIELDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIdentity:
    """A signed-in user, as the token says. `claims` are those that have no attribute here.

    `token_identifier` is stable and unique over all providers.
    """

    token_identifier: str
    subject: str
    issuer: str
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    nickname: str | None = None
    preferred_username: str | None = None
    profile_url: str | None = None
    picture_url: str | None = None
    website_url: str | None = None
    email: str | None = None
    email_verified: bool | None = None
    gender: str | None = None
    birthday: str | None = None
    timezone: str | None = None
    language: str | None = None
    phone_number: str | None = None
    phone_number_verified: bool | None = None
    address: str | None = None
    updated_at: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Value]:
        """Return the identity as clients have it: camelCase, absent claims left out."""
        found: dict[str, Value] = dict(self.claims)
        for attribute, wire in _FIELDS.items():
            value = getattr(self, attribute)
            if value is not None:
                found[wire] = value
        return found

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> UserIdentity:
        """Return the identity that an admin acts as; unknown fields are custom claims.

        Raises:
            BadRequest: neither tokenIdentifier nor issuer and subject are there.
        """
        issuer, subject = fields.get("issuer"), fields.get("subject")
        token_identifier = fields.get("tokenIdentifier")
        if token_identifier is None and (issuer is None or subject is None):
            msg = "an identity to act as needs tokenIdentifier, or both issuer and subject"
            raise BadRequest(msg, code="HeaderParseFailure")
        if token_identifier is None:
            token_identifier = f"{issuer}|{subject}"
        first, _, last = str(token_identifier).rpartition("|")
        known = {
            WIRE_NAMES[wire]: value
            for wire, value in fields.items()
            if wire in WIRE_NAMES and value is not None
        }
        known.update(
            token_identifier=str(token_identifier),
            issuer=str(first if issuer is None else issuer),
            subject=str(last if subject is None else subject),
        )
        claims = {wire: value for wire, value in fields.items() if wire not in WIRE_NAMES}
        return UserIdentity(**known, claims=claims)


class Anonymous(msgspec.Struct, frozen=True, tag=True):
    """Nobody has signed in."""


class Unverified(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Whoever sends an HTTP request with a token or key that is not valid here, and why.

    The request is let in, since an application may use the header for what it likes; whoever asks
    who that is gets this error.
    """

    code: str
    sentence: str


class User(msgspec.Struct, frozen=True, tag=True):
    """A user whose token was verified.

    `until_ns` is when the token ends, by the wall clock; None for one of a test, which has no token.
    """

    user: UserIdentity
    until_ns: int | None = None
    token: str | None = None

    def has_expired(self, now_ns: int) -> bool:
        """Return whether the token has ended."""
        return self.until_ns is not None and now_ns >= self.until_ns


class Admin(msgspec.Struct, frozen=True, tag=True):
    """The holder of an admin key, who may act as a user.

    `key_id` is that of an issued key, None for the root key.
    """

    acting_as: UserIdentity | None = None
    operations: frozenset[Operation] = ALL_OPERATIONS
    key_id: str | None = None

    def require(self, operation: Operation, what: str) -> None:
        """Do nothing if the key allows `operation`; `what` needs it.

        Raises:
            PermissionDenied: it does not.
        """
        if operation not in self.operations:
            allowed = ", ".join(each.value for each in sorted_operations(self.operations))
            # The official CLI knows the beginning of this sentence (protocol 5.3).
            msg = (
                f"You do not have permission to perform this operation: {what} needs a key that "
                f"allows {operation.value}; this one allows {allowed or 'nothing'}"
            )
            raise PermissionDenied(msg)


Identity: TypeAlias = Anonymous | User | Admin | Unverified


def user_of(identity: Identity) -> UserIdentity | None:
    """Return the user that functions see.

    Raises:
        IdentityUnverified: nobody knows.
    """
    match identity:
        case Unverified(code=code, sentence=sentence):
            raise IdentityUnverified(sentence, code=code)
        case Anonymous():
            return None
        case User(user):
            return user
        case Admin(acting_as):
            return acting_as


def identity_key(identity: Identity) -> str:
    """Return a text that is equal for identities that functions cannot tell apart."""
    if isinstance(identity, Unverified):
        return f"unverified {identity.code} {identity.sentence}"
    user = user_of(identity)
    return "" if user is None else pack(canonical(user.to_dict())).hex()
