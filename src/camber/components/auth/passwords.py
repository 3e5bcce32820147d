"""Hashes of passwords: scrypt, as Convex's library stores them.

Making one takes memory and a moment of a core, on purpose. It is done on threads of its own, few at
a time, so that neither the event loop nor anybody else's action waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import hashlib
import hmac
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Final, Protocol

from camber import AppError
from camber.components.auth.policy import HASHES_FROM_ONE_ADDRESS, subscriber_of

_N, _R, _P, _KEY_BYTES = 16384, 16, 1, 64
#: What one hash takes: 128 * N * r bytes, which is 32 MiB, and a little.
_MEMORY_BYTES: Final = 64 * 1024 * 1024
#: Hashes at one time in a process: as much memory as that is, and cores are left to others.
THREADS_MAX: Final = 2
#: And those that wait, beyond which people are told to come back: some seconds' worth.
WAITING_MAX: Final = 64


class Hasher(Protocol):
    """Makes and checks what is stored of a password."""

    async def hash(self, password: str) -> str:
        """Return what is stored."""

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether a password is the one; it takes as long where nothing is stored."""


class Scrypt:
    """The hash `<salt>:<key>`; the salt that is used is the 32 characters of its hex."""

    async def hash(self, password: str) -> str:
        """Return what is stored."""
        salt = secrets.token_hex(16)
        return f"{salt}:{await self._key(password, salt)}"

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether a password is the one; it takes as long where nothing is stored."""
        salt, _, key = (stored or _NOBODYS).partition(":")
        made = await self._key(password, salt)
        return hmac.compare_digest(made, key) and stored is not None

    async def _key(self, password: str, salt: str) -> str:
        threads = _threads()
        if threads.waiting >= WAITING_MAX:
            sentence = "too many people sign in at this moment; try again in a few seconds"
            raise AppError({"code": "TooBusy", "message": sentence})
        threads.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(threads.pool, scrypt_key, password, salt)
        finally:
            threads.waiting -= 1


def scrypt_key(password: str, salt: str) -> str:
    """Return the key of a password, in hex."""
    text = unicodedata.normalize("NFKC", password)
    key = hashlib.scrypt(
        text.encode(), salt=salt.encode(), n=_N, r=_R, p=_P, maxmem=_MEMORY_BYTES, dklen=_KEY_BYTES
    )
    return key.hex()


#: Compared with where there is no account, so that it takes as long.
_NOBODYS: Final = f"{'0' * 32}:{'0' * 2 * _KEY_BYTES}"


class FromOneAddress:
    """A hasher as clients at one address have it: they leave room in the queue to others."""

    def __init__(self, hasher: Hasher, ip: str | None) -> None:
        self._hasher = hasher
        self._address = subscriber_of(ip)

    async def hash(self, password: str) -> str:
        """Return what is stored."""
        with self._place():
            return await self._hasher.hash(password)

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether a password is the one; it takes as long where nothing is stored."""
        with self._place():
            return await self._hasher.verify(password, stored)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._address is None:
            yield
            return
        if _by_address[self._address] >= HASHES_FROM_ONE_ADDRESS:
            sentence = "too many people sign in from your address at this moment; try again in a few seconds"
            raise AppError({"code": "TooBusy", "message": sentence})
        _by_address[self._address] += 1
        try:
            yield
        finally:
            _by_address[self._address] -= 1
            if not _by_address[self._address]:
                del _by_address[self._address]


#: Hashes that wait or are made in this process.
_by_address: Final[Counter[str]] = Counter()


class _Threads:
    """The threads of a process, and how many hashes are asked for."""

    def __init__(self) -> None:
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS_MAX, "camber-passwords")
        self.waiting = 0


@functools.cache
def _threads() -> _Threads:
    return _Threads()
