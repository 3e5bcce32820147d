"""JSON Web Tokens (RFC 7515, 7519): what one says, whether it holds now, and which user that makes.

A token is read strictly, before anything in it is believed. Of its header only `alg` and `kid` are
looked at: keys, or URLs of keys, that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are those of
whoever made it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from camber import limits
from camber.errors import AuthenticationFailed
from camber.identity.algorithms import Algorithm
from camber.identity.identity import WIRE_NAMES, UserIdentity
from camber.identity.providers import OidcIssuer, Provider
from camber.values.value import FLOAT64_INTEGER_MAX, InvalidValue, Value, canonical
from camber.values.wire import BadJson, decode_json

_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that nobody has verified. `algorithm` and `key_id` are what its header says."""

    algorithm: Algorithm
    key_id: str | None
    issuer: str
    audiences: tuple[str, ...]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


class NotVerified(Exception):  # what it becomes depends on the provider
    """A token that is not to be accepted; says why."""


def read_token(text: str) -> Token:
    """Return what a token says.

    Raises:
        AuthenticationFailed: it is no token, or none that could be verified (InvalidAuthHeader).
    """
    if len(text) > limits.token_bytes_max:
        raise _invalid(
            f"the token has {len(text)} bytes; one may have {limits.token_bytes_max}. Have the provider "
            "put less into it"
        )
    parts = _COMPACT.match(text)
    if parts is None:
        raise _invalid("the token is no signed JWT: three parts in base64url, with dots between")
    header, claims = _object_of("header", parts[1]), _object_of("claims", parts[2])
    if "crit" in header:
        raise _invalid("the token's header has crit: it asks for what is not understood here")
    return Token(
        algorithm=_algorithm(header),
        key_id=_key_id(header),
        issuer=_issuer(claims),
        audiences=_audiences(claims),
        claims=claims,
        signed=text[: parts.end(2)].encode(),
        signature=_decoded("signature", parts[3]),
    )


def _object_of(name: str, part: str) -> dict[str, Any]:
    try:
        found = decode_json(_decoded(name, part))
    except BadJson as error:
        raise _invalid(f"the token's {name} is {error.sentence}") from None
    if not isinstance(found, dict):
        raise _invalid(f"the token's {name} is no JSON object")
    return found


def _decoded(name: str, part: str) -> bytes:
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise _invalid(f"the token's {name} is not base64url") from None
    # One content has one text: bits that belong to no byte are none to play with.
    if base64.urlsafe_b64encode(content).rstrip(b"=") != part.encode():
        raise _invalid(f"the token's {name} is not base64url")
    return content


def _algorithm(header: Mapping[str, Any]) -> Algorithm:
    named = header.get("alg")
    for algorithm in Algorithm:
        if named == algorithm.value:
            return algorithm
    known = ", ".join(each.value for each in Algorithm)
    raise _invalid(f"the token's alg is {_shown(named)}; it has to be one of {known}")


def _key_id(header: Mapping[str, Any]) -> str | None:
    key_id = header.get("kid")
    if not isinstance(key_id, str | None):
        raise _invalid("the token's kid is no text")
    return key_id


def _issuer(claims: Mapping[str, Any]) -> str:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise _invalid("the token has no iss: nobody knows who has made it")
    return issuer


def _audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    audience = claims.get("aud", [])
    found = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(each, str) for each in found):
        raise _invalid("the token's aud is neither a text nor a list of texts")
    return tuple(found)


def _invalid(sentence: str) -> AuthenticationFailed:
    return AuthenticationFailed(sentence, code="InvalidAuthHeader")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def check_claims(token: Token, provider: Provider, now_s: float) -> float:
    """Do nothing if a token's claims are such that its provider's signature makes it good now.

    Returns until when, in seconds since the epoch.

    Raises:
        NotVerified: they are not.
    """
    if isinstance(provider, OidcIssuer) and len(token.audiences) > 1:
        # OpenID Connect Core 3.1.3.7: who else it is for has not been trusted by anybody.
        raise NotVerified(f"it is for {len(token.audiences)} audiences; a provider's token has one")
    subject = token.claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise NotVerified("it has no sub: it says not whom it is about")
    tolerance_s = limits.token_tolerance_s
    expires = _time(token, "exp")
    if expires is None:
        raise NotVerified("it has no exp: it would be good for ever")
    if now_s >= expires + tolerance_s:
        raise NotVerified(f"it expired {now_s - expires:.0f} s ago")
    not_before = _time(token, "nbf")
    if not_before is not None and now_s < not_before - tolerance_s:
        raise NotVerified(f"it is not good before {not_before - now_s:.0f} s from now")
    issued = _time(token, "iat")
    if issued is not None and now_s < issued - limits.token_issued_ahead_s_max:
        raise NotVerified(
            f"it was made {issued - now_s:.0f} s from now: the provider's clock, or this machine's, is "
            "wrong"
        )
    return expires + tolerance_s


def _time(token: Token, name: str) -> float | None:
    value = token.claims.get(name)
    if value is None and name not in token.claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise NotVerified(f"its {name} is {_shown(value)}, which is no time")
    return float(value)


# Users.

#: Claims of OpenID Connect that are texts, and the fields that they become (protocol 9.4).
_TEXTS: Final = {
    "name": "name",
    "given_name": "given_name",
    "family_name": "family_name",
    "nickname": "nickname",
    "preferred_username": "preferred_username",
    "profile": "profile_url",
    "picture": "picture_url",
    "website": "website_url",
    "email": "email",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phone_number",
}
_FLAGS: Final = {
    "email_verified": "email_verified",
    "phone_number_verified": "phone_number_verified",
}
#: Claims that are about the token, and not about the user.
_REGISTERED: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
#: And that change with each token: results would never be shared.
_CHANGING: Final = frozenset({"fva"})
_OF_ALL: Final = frozenset({"token_identifier", "subject", "issuer"})


def user_of_token(token: Token, provider: Provider) -> UserIdentity:
    """Return the user of a token that was verified."""
    fields, claims = (
        _of_oidc(token.claims) if isinstance(provider, OidcIssuer) else _of_custom(token.claims)
    )
    subject = token.claims["sub"]
    return UserIdentity(
        token_identifier=f"{token.issuer}|{subject}",
        subject=subject,
        issuer=token.issuer,
        **fields,
        claims=claims,
    )


def _of_oidc(claims: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Value]]:
    """Return attributes and claims by OpenID Connect Core 5.1."""
    consumed = {*_TEXTS, *_FLAGS, "address", "updated_at"}
    others = _values({name: value for name, value in claims.items() if name not in consumed})
    # What attributes are called on the wire is said by the standard's claims alone.
    custom = {name: value for name, value in others.items() if name not in WIRE_NAMES}
    return _standard_fields(claims), custom


def _of_custom(claims: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Value]]:
    """Return attributes and claims of a token that stands for nothing but itself."""
    fields: dict[str, Any] = {}
    custom: dict[str, Value] = {}
    for name, value in _values(_flattened(claims)).items():
        attribute = WIRE_NAMES.get(name)
        if attribute is None:
            custom[name] = value
        elif attribute not in _OF_ALL and _fits(attribute, value):
            fields[attribute] = value
    return fields, custom


def _fits(attribute: str, value: Value) -> bool:
    return isinstance(value, bool if attribute in _FLAGS.values() else str)


def _standard_fields(claims: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, attribute in _TEXTS.items():
        value = claims.get(name)
        if isinstance(value, str):
            found[attribute] = value
    for name, attribute in _FLAGS.items():
        value = claims.get(name)
        # Some providers say it in words.
        flag = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
        if isinstance(flag, bool):
            found[attribute] = flag
    address = claims.get("address")
    formatted = address.get("formatted") if isinstance(address, dict) else None
    if isinstance(formatted, str):
        found["address"] = formatted
    updated = _moment(claims.get("updated_at"))
    if updated is not None:
        found["updated_at"] = updated
    return found


def _moment(value: object) -> str | None:
    """Return a time as RFC 3339 has it; some providers say it so already."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _flattened(claims: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return claims with those within others under dotted names."""
    found: dict[str, Any] = {}
    for name, value in claims.items():
        if isinstance(value, dict):
            found.update(_flattened(value, f"{before}{name}."))
        else:
            found[f"{before}{name}"] = value
    return found


def _values(claims: Mapping[str, Any]) -> dict[str, Value]:
    """Return the claims that an application sees; one that is no value is left out."""
    found: dict[str, Value] = {}
    for name, value in claims.items():
        if name in _REGISTERED or name in _CHANGING:
            continue
        try:
            named = canonical({name: _in_float64(value)})
        except (InvalidValue, OverflowError):
            continue
        assert isinstance(named, dict)
        found.update(named)
    return found


def _in_float64(value: Any) -> Any:
    """Return JSON with the numbers that it has for clients, all of which are float64."""
    if isinstance(value, int) and abs(value) > FLOAT64_INTEGER_MAX:
        return float(value)
    if isinstance(value, list):
        return [_in_float64(each) for each in value]
    if isinstance(value, dict):
        return {name: _in_float64(each) for name, each in value.items()}
    return value
