"""Whose tokens are accepted: providers as an application trusts them, with all variables filled in.

A provider is trusted for what its tokens say of `iss` and `aud`, and for keys that are fetched over
https alone. Plain http goes to this machine only: whoever is on the way could put in other keys.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from camber.errors import CamberError
from camber.identity.algorithms import Algorithm
from camber.identity.key_sets import KeySet, KeySetError

_DATA: Final = "data:"


class ProviderError(CamberError):
    """A provider that cannot be trusted as it is declared."""

    code = "InvalidAuthProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIssuer:
    """An OpenID Connect provider. `issuer` has a scheme, and no slash at the end."""

    issuer: str
    application_id: str

    @staticmethod
    def of(*, issuer: str, application_id: str, own_site: str) -> OidcIssuer:
        """Return a provider. `own_site` is where this deployment is a provider itself.

        Raises:
            ProviderError: its issuer is no URL, or one that cannot be trusted.
        """
        return OidcIssuer(
            issuer=_checked_issuer("domain", issuer, own_site),
            application_id=_not_empty("application_id", application_id),
        )

    @property
    def algorithms(self) -> Collection[Algorithm]:
        """Return what it may sign with."""
        return tuple(Algorithm)

    @property
    def discovery_url(self) -> str:
        """Return where it says where its keys are (OpenID Connect Discovery 4)."""
        return f"{self.issuer}/.well-known/openid-configuration"

    def is_for(self, issuer: str, audiences: Collection[str]) -> bool:
        """Return whether a token that says this may be one of its."""
        return same_issuer(issuer, self.issuer) and self.application_id in audiences

    def __str__(self) -> str:
        return f"OidcProvider(domain={self.issuer!r}, application_id={self.application_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtIssuer:
    """An issuer of JWTs that signs with one algorithm.

    Its keys are at the URL `jwks`, unless they were given: `keys`.
    """

    issuer: str
    jwks: str
    algorithm: Algorithm
    application_id: str | None
    #: They follow from `jwks`.
    keys: KeySet | None = field(compare=False)

    @staticmethod
    def of(
        *, issuer: str, jwks: str, algorithm: str, application_id: str | None, own_site: str
    ) -> JwtIssuer:
        """Return an issuer. `own_site` is where this deployment is one itself.

        Raises:
            ProviderError: a URL is none or cannot be trusted, or what is given for keys is none.
        """
        keys = None
        if jwks.startswith(_DATA):
            try:
                keys = KeySet.parse(_content(jwks))
            except KeySetError as error:
                msg = f"jwks is a data: URI without keys: {error.sentence}"
                raise ProviderError(msg) from None
        else:
            _check_url("jwks", jwks, own_site)
        return JwtIssuer(
            # It is never asked for anything: its name need not be a URL that can be trusted.
            issuer=normalised_issuer(_not_empty("issuer", issuer)),
            jwks=jwks,
            algorithm=Algorithm(algorithm),
            application_id=None
            if application_id is None
            else _not_empty("application_id", application_id),
            keys=keys,
        )

    @property
    def algorithms(self) -> Collection[Algorithm]:
        """Return what it may sign with."""
        return (self.algorithm,)

    def is_for(self, issuer: str, audiences: Collection[str]) -> bool:
        """Return whether a token that says this may be one of its."""
        return same_issuer(issuer, self.issuer) and (
            self.application_id is None or self.application_id in audiences
        )

    def __str__(self) -> str:
        audience = (
            "" if self.application_id is None else f", application_id={self.application_id!r}"
        )
        return f"CustomJwt(issuer={self.issuer!r}{audience})"


Provider: TypeAlias = OidcIssuer | JwtIssuer


def normalised_issuer(issuer: str) -> str:
    """Return an issuer with a scheme and without slashes at the end, by which two are the same."""
    with_scheme = issuer if "://" in issuer else f"https://{issuer}"
    return with_scheme.rstrip("/")


def same_issuer(one: str, other: str) -> bool:
    """Return whether two issuers are the same, but for a scheme or a slash that one leaves out."""
    return normalised_issuer(one) == normalised_issuer(other)


def is_within(url: str, origin: str) -> bool:
    """Return whether a URL is one of those below an origin, which may have a path."""
    return url.startswith(f"{origin.rstrip('/')}/")


def is_trustworthy(url: str) -> bool:
    """Return whether what is fetched from a URL comes from there: over TLS, or from this machine."""
    parts = _split(url)
    return parts is not None and (parts.scheme == "https" or _is_local(parts))


def is_local(url: str) -> bool:
    """Return whether a URL leads to this machine."""
    parts = _split(url)
    return parts is not None and _is_local(parts)


def _is_local(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_issuer(name: str, issuer: str, own_site: str) -> str:
    found = normalised_issuer(_not_empty(name, issuer))
    _check_url(name, found, own_site)
    if "?" in found:
        msg = f"{name} is {issuer!r}: an issuer has no query"
        raise ProviderError(msg)
    return found


def _check_url(name: str, url: str, own_site: str) -> None:
    parts = _split(url)
    if parts is None:
        msg = f"{name} is {url!r}, which is no URL such as https://login.example.com"
        raise ProviderError(msg)
    if parts.username is not None or parts.fragment:
        msg = f"{name} is {url!r}: it has no user and no fragment"
        raise ProviderError(msg)
    # What this deployment serves itself is not fetched over any network.
    if not is_trustworthy(url) and not is_within(f"{url}/", own_site):
        msg = f"{name} is {url!r}: it is https, unless the provider is on this machine"
        raise ProviderError(msg)


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL that can be asked for something, or None."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_url else None


def _not_empty(name: str, text: str) -> str:
    if not text.strip():
        msg = f"{name} is empty"
        raise ProviderError(msg)
    return text.strip()


def _content(uri: str) -> bytes:
    """Return what a `data:` URI has (RFC 2397)."""
    kind, comma, data = uri.removeprefix(_DATA).partition(",")
    if not comma:
        msg = "jwks is a data: URI without a comma: it is as data:application/json,{…}"
        raise ProviderError(msg)
    content = unquote_to_bytes(data)
    if not kind.endswith(";base64"):
        return content
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        msg = f"jwks is a data: URI that is not base64: {error}"
        raise ProviderError(msg) from None
