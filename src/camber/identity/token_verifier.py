"""Verifying tokens of users: by whom, with which key, and who that is (protocol 9).

What needs no waiting does not wait: while a provider's keys are held, a token is verified at once, and
only the first time that it comes. One that was accepted can be held against what is trusted later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from camber import limits
from camber.errors import AuthenticationFailed, FeatureUnavailable
from camber.host import Host
from camber.identity.documents import Document, Fetch, Fetched, FetchFailed, Unavailable
from camber.identity.identity import User
from camber.identity.key_sets import KeySet, KeySetError
from camber.identity.providers import (
    JwtIssuer,
    OidcIssuer,
    Provider,
    is_local,
    is_trustworthy,
    is_within,
    same_issuer,
)
from camber.identity.tokens import NotVerified, Token, check_claims, read_token, user_of_token
from camber.identity.verified_tokens import RememberedTokens, VerifiedToken
from camber.values.wire import BadJson, decode_json

#: What keys may be served as (protocol 9.3).
_KEY_SET_TYPES: Final = frozenset({"application/json", "application/jwk-set+json"})


class Disclosure(Enum):
    """Whether who is refused is told which providers there are."""

    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A provider's keys, and how exactly it calls itself if that is known."""

    keys: KeySet
    issuer: str | None = None


class _Keys(Protocol):
    """Where a provider's keys come from."""

    def held(self) -> _Held | None:
        """Return them if they are here."""

    async def current(self) -> _Held:
        """Return them as they are now."""

    async def newer(self, than: _Held) -> _Held:
        """Return them as they are after those, which lack one."""


class TokenVerifier:
    """Verifies tokens for one deployment. Lives on the event loop."""

    def __init__(self, *, host: Host, fetch: Fetch, disclosure: Disclosure) -> None:
        self._host = host
        self._fetch = fetch
        self._disclosure = disclosure
        self._own_site = ""
        self._keys: dict[Provider, _Keys] = {}
        self._problems: tuple[str, ...] = ()
        self._remembered = RememberedTokens()
        #: How often whom it trusts, or what their keys are, has changed.
        self.changes = 0
        self._changed = asyncio.Event()

    def trust(
        self, providers: Iterable[Provider], problems: Sequence[str] = (), *, own_site: str = ""
    ) -> None:
        """Accept the tokens of these providers from now on, the first that matches first.

        `problems` say which others cannot be trusted as they are declared. `own_site` is where this
        deployment answers HTTP: what is below it, `fetch` gets without a network. Keys of its own are
        asked for again: whoever rotates them may have given one up.
        """
        self._own_site = own_site
        before = {each: keys for each, keys in self._keys.items() if not self._is_own(each)}
        self._keys = {each: before.get(each) or self._keys_of(each) for each in providers}
        self._problems = tuple(problems)
        self._note_change()

    def _note_change(self) -> None:
        # Another provider may be the first that matches now, or call itself otherwise.
        self._remembered.clear()
        self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self, since: int) -> None:
        """Return when whom it trusts, or what their keys are, is not as it was at change `since`."""
        while self.changes == since:
            await self._changed.wait()

    def _is_own(self, provider: Provider) -> bool:
        match provider:
            case OidcIssuer():
                return is_within(f"{provider.issuer}/", self._own_site)
            case JwtIssuer():
                return is_within(provider.jwks, self._own_site)

    @property
    def own_site(self) -> str:
        """Return where this deployment answers HTTP."""
        return self._own_site

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Return whose tokens are accepted."""
        return tuple(self._keys)

    def verified_now(self, text: str) -> VerifiedToken | None:
        """Return what a token is; None if its provider has to be asked first.

        Raises:
            AuthenticationFailed: it is not to be accepted.
        """
        if len(text) <= limits.token_bytes_max:
            known = self._remembered.find(text, self._host.now_ns())
            if known is not None and self.holds(known):
                return known
        asked = self._read(text)
        held = asked.keys.held()
        return None if held is None or _lacks_key(asked, held) else self._accepted(asked, held)

    async def verified(self, text: str) -> VerifiedToken:
        """Return what a token is.

        Raises:
            AuthenticationFailed: it is not to be accepted.
            FeatureUnavailable: its provider does not answer (AuthProviderDiscoveryFailed).
        """
        while True:
            asked = self._read(text)
            try:
                held = await asked.keys.current()
                if _lacks_key(asked, held):
                    held = await asked.keys.newer(held)
            except Unavailable as failure:
                said = "the identity provider of the token does not answer as it should; try again"
                if self._disclosure is Disclosure.ALL:
                    said += f": {failure}"
                raise FeatureUnavailable(said, code="AuthProviderDiscoveryFailed") from None
            # Who is trusted may have changed meanwhile, and these keys may be of before.
            if self._keys.get(asked.provider) is asked.keys:
                return self._accepted(asked, held)

    def holds(self, token: VerifiedToken) -> bool | None:
        """Return whether a token that was accepted would be now, but for its time.

        None if its provider has to be asked, see `ask`.
        """
        keys = self._keys.get(token.provider)
        if keys is None:
            return False
        held = keys.held()
        return None if held is None else token.key in held.keys.keys

    async def ask(self, provider: Provider) -> None:
        """Have a provider's keys here, if it is trusted and answers."""
        keys = self._keys.get(provider)
        if keys is not None:
            with contextlib.suppress(Unavailable):
                await keys.current()

    def _read(self, text: str) -> _Asked:
        token = read_token(text)
        provider = self._provider_of(token)
        if token.algorithm not in provider.algorithms:
            expected = " or ".join(each.value for each in provider.algorithms)
            raise _refused(provider, f"it is signed with {token.algorithm.value}, not {expected}")
        try:
            until_s = check_claims(token, provider, self._host.now_ns() / 1e9)
        except NotVerified as reason:
            raise _refused(provider, str(reason)) from None
        return _Asked(
            text=text,
            token=token,
            provider=provider,
            keys=self._keys[provider],
            until_ns=int(until_s * 1e9),
        )

    def _provider_of(self, token: Token) -> Provider:
        for provider in self._keys:
            if provider.is_for(token.issuer, token.audiences):
                return provider
        said = "no provider is configured for the issuer and audience of the token"
        if self._disclosure is Disclosure.ALL:
            known = "; ".join([*map(str, self._keys), *self._problems]) or "none"
            said += (
                f": iss {token.issuer!r}, aud {list(token.audiences)!r}. Those of auth_config are: "
                f"{known}"
            )
        raise AuthenticationFailed(said, code="NoAuthProvider")

    def _accepted(self, asked: _Asked, held: _Held) -> VerifiedToken:
        token, provider = asked.token, asked.provider
        if held.issuer is not None and held.issuer not in {token.issuer, f"https://{token.issuer}"}:
            raise _refused(provider, f"its iss is {token.issuer!r}, not {held.issuer!r}")
        candidates = held.keys.candidates(token.algorithm, token.key_id)
        if not candidates:
            named = "no kid" if token.key_id is None else f"kid {token.key_id!r}"
            raise _refused(
                provider,
                f"it names {named}, and the provider has no such key for {token.algorithm.value}",
            )
        for key in candidates:
            if key.has_signed(token.signed, token.signature):
                user = User(
                    user_of_token(token, provider), until_ns=asked.until_ns, token=asked.text
                )
                accepted = VerifiedToken(user=user, provider=provider, key=key)
                self._remembered.add(asked.text, accepted)
                return accepted
        raise _refused(provider, "its signature is not by the provider's key")

    def _keys_of(self, provider: Provider) -> _Keys:
        match provider:
            case OidcIssuer():
                return _DiscoveredKeys(
                    provider, self._host, self._fetch, lambda: self._own_site, self._note_change
                )
            case JwtIssuer(keys=KeySet() as keys):
                return _GivenKeys(keys)
            case JwtIssuer():
                return _FetchedKeys(provider.jwks, self._host, self._fetch, self._note_change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A token that is good if its provider has signed it."""

    text: str
    token: Token
    provider: Provider
    keys: _Keys
    until_ns: int


class _GivenKeys:
    """Keys that the application has given."""

    def __init__(self, keys: KeySet) -> None:
        self._held = _Held(keys=keys)

    def held(self) -> _Held | None:
        return self._held

    async def current(self) -> _Held:
        return self._held

    async def newer(self, than: _Held) -> _Held:
        return than


class _FetchedKeys:
    """Keys that are at a URL."""

    def __init__(self, url: str, host: Host, fetch: Fetch, changed: Callable[[], None]) -> None:
        self._document = Document(
            host=host, fetch=fetch, url=url, parse=_typed_key_set, changed=changed
        )

    def held(self) -> _Held | None:
        keys = self._document.held()
        return None if keys is None else _Held(keys=keys)

    async def current(self) -> _Held:
        return _Held(keys=await self._document.current())

    async def newer(self, than: _Held) -> _Held:
        return _Held(keys=await self._document.newer(than.keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Configuration:
    """What an OpenID Connect provider says of itself."""

    issuer: str
    jwks_uri: str


class _DiscoveredKeys:
    """Keys that are where their provider says that they are."""

    def __init__(
        self,
        provider: OidcIssuer,
        host: Host,
        fetch: Fetch,
        own_site: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self._provider = provider
        self._host = host
        self._fetch = fetch
        self._own_site = own_site
        self._changed = changed
        self._configuration = Document(
            host=host,
            fetch=fetch,
            url=provider.discovery_url,
            parse=self._parse,
            changed=changed,
        )
        self._key_set: Document[KeySet] | None = None

    def held(self) -> _Held | None:
        said = self._configuration.held()
        if said is None:
            return None
        keys = self._key_set_at(said.jwks_uri).held()
        return None if keys is None else _Held(keys=keys, issuer=said.issuer)

    async def current(self) -> _Held:
        said = await self._configuration.current()
        keys = await self._key_set_at(said.jwks_uri).current()
        return _Held(keys=keys, issuer=said.issuer)

    async def newer(self, than: _Held) -> _Held:
        said = await self._configuration.current()
        keys = await self._key_set_at(said.jwks_uri).newer(than.keys)
        return _Held(keys=keys, issuer=said.issuer)

    def _key_set_at(self, url: str) -> Document[KeySet]:
        if self._key_set is None or self._key_set.url != url:
            self._key_set = Document(
                host=self._host,
                fetch=self._fetch,
                url=url,
                parse=_key_set,
                changed=self._changed,
            )
        return self._key_set

    def _parse(self, fetched: Fetched) -> _Configuration:
        url = self._provider.discovery_url
        try:
            said = decode_json(fetched.content)
        except BadJson as error:
            msg = f"{url} is {error.sentence}"
            raise FetchFailed(msg) from None
        said = said if isinstance(said, dict) else {}
        issuer, jwks_uri = said.get("issuer"), said.get("jwks_uri")
        if not isinstance(issuer, str) or not isinstance(jwks_uri, str):
            msg = f"{url} has no issuer, or no jwks_uri: it is no configuration of OpenID Connect"
            raise FetchFailed(msg)
        if not same_issuer(issuer, self._provider.issuer):
            msg = f"{url} is the configuration of {issuer!r}: name that as the domain"
            raise FetchFailed(msg)
        if not self._may_have_keys_at(jwks_uri):
            msg = f"{url} says that the keys are at {jwks_uri!r}, which cannot be trusted"
            raise FetchFailed(msg)
        return _Configuration(issuer=issuer, jwks_uri=jwks_uri)

    def _may_have_keys_at(self, url: str) -> bool:
        own, issuer = self._own_site(), self._provider.issuer
        if is_within(f"{issuer}/", own):
            return is_within(url, own)
        # A provider elsewhere must not have us ask something on this machine.
        return is_trustworthy(url) and (is_local(issuer) or not is_local(url))


def _key_set(fetched: Fetched) -> KeySet:
    try:
        return KeySet.parse(fetched.content)
    except KeySetError as error:
        msg = f"the provider's keys cannot be read: {error.sentence}"
        raise FetchFailed(msg) from None


def _typed_key_set(fetched: Fetched) -> KeySet:
    if fetched.media_type not in _KEY_SET_TYPES:
        known = " or ".join(sorted(_KEY_SET_TYPES))
        msg = f"the provider's keys are served as {fetched.media_type or 'nothing'!r}, not {known}"
        raise FetchFailed(msg)
    return _key_set(fetched)


def _lacks_key(asked: _Asked, held: _Held) -> bool:
    return not held.keys.candidates(asked.token.algorithm, asked.token.key_id)


def _refused(provider: Provider, reason: str) -> AuthenticationFailed:
    code = "Unauthenticated" if isinstance(provider, OidcIssuer) else "InvalidAuthHeader"
    return AuthenticationFailed(f"the token is not accepted: {reason}", code=code)
