"""Documents of providers, fetched when they are needed and kept for as long as they say.

A provider is asked once however many wait for it, soon again only if it has to be, and not while it
does not answer. One that is away for a while signs nobody out: what it said last holds a little
longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from camber import limits
from camber.host import Host

T = TypeVar("T")

_log = logging.getLogger("camber.identity")


class FetchFailed(Exception):  # what failed is the message
    """A document that could not be fetched, or is not what it should be; says why."""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A document. `fresh_s` is for how long its server says that it holds, if it does."""

    content: bytes
    media_type: str
    fresh_s: float | None


class Fetch(Protocol):
    """Fetches a document."""

    async def __call__(self, url: str) -> Fetched:
        """Return what is at a URL.

        Raises:
            FetchFailed: nothing is, or nothing that can be trusted.
        """


class Unavailable(Exception):  # what is missing is the message
    """A document that is needed and cannot be had now; says why."""


class Document(Generic[T]):
    """One document, as the last answer had it. Lives on the event loop."""

    def __init__(
        self,
        *,
        host: Host,
        fetch: Fetch,
        url: str,
        parse: Callable[[Fetched], T],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when an answer is another than the one before."""
        self._host = host
        self._fetch = fetch
        self._parse = parse
        self._changed = changed
        self.url = url
        self._held: T | None = None
        self._failure = ""
        #: By the monotonic clock: when it was asked for last, from when on it may be asked for
        #: ahead, until when it holds, until when it does if there is no newer one, and from when on
        #: a provider that did not answer is asked again.
        self._asked_s = self._renew_s = self._fresh_until_s = self._kept_until_s = 0.0
        self._again_s = 0.0
        self._flight: asyncio.Task[None] | None = None

    def held(self) -> T | None:
        """Return it if it holds; it is asked for ahead of the time when it does not any more."""
        now_s = self._host.monotonic()
        if self._held is None or now_s >= self._fresh_until_s:
            return None
        if now_s >= self._renew_s and now_s >= self._again_s:
            self._begin()
        return self._held

    async def current(self) -> T:
        """Return it as it is now.

        Raises:
            Unavailable: it cannot be had.
        """
        held = self.held()
        if held is not None:
            return held
        if self._host.monotonic() >= self._again_s:
            await self._landed()
        if self._held is None or self._host.monotonic() >= self._kept_until_s:
            raise Unavailable(self._failure)
        return self._held

    async def newer(self, than: T) -> T:
        """Return what has been fetched after a document that lacks something.

        Whoever makes up what it lacks must not make us flood the provider: it is not asked at once
        if it has been a moment ago, and then all who wait are answered together.

        Raises:
            Unavailable: it cannot be had.
        """
        if self._held is than:
            wait_s = self._asked_s + limits.provider_asked_again_s - self._host.monotonic()
            if wait_s > 0 and self._flight is None:
                await self._host.sleep(wait_s)
        if self._held is than:
            await self._landed()
        if self._held is None or self._held is than:
            raise Unavailable(self._failure)
        return self._held

    async def _landed(self) -> None:
        """Ask for it, or wait for what somebody else has asked for."""
        # Who gives up waiting does not end it for the others.
        await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        if self._flight is None:
            self._asked_s = self._host.monotonic()
            self._flight = self._host.spawn(f"fetch {self.url}", self._ask())
        return self._flight

    async def _ask(self) -> None:
        before = self._held
        try:
            fetched = await self._fetch(self.url)
            self._held = self._parse(fetched)
        except FetchFailed as error:
            self._failure = str(error)
            _log.warning("an identity provider: %s", error)
            self._again_s = self._host.monotonic() + limits.provider_asked_again_s
        else:
            now_s = self._host.monotonic()
            said_s = limits.provider_fresh_s if fetched.fresh_s is None else fetched.fresh_s
            fresh_s = min(max(said_s, limits.provider_fresh_s_min), limits.provider_fresh_s_max)
            self._renew_s = now_s + 0.8 * fresh_s
            self._fresh_until_s = now_s + fresh_s
            self._kept_until_s = self._fresh_until_s + limits.provider_away_s_max
            self._again_s = 0.0
            if before is not None and self._held != before:
                self._changed()
        finally:
            self._flight = None
