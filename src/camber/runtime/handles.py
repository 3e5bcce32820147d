"""Function handles: texts that name a function of some component for good.

A handle reaches internal functions, so nobody may make one up: it ends with a tag under a key derived
from the instance secret. It says all that it means, no list of handles is kept, and the same function
has the same handle in every release.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from camber.errors import FunctionNotFound
from camber.values.paths import HANDLE_PREFIX, FunctionPath

_PURPOSE: Final = b"camber function handle v1"
#: Of the tag: nobody guesses 2**128, and handles stay short enough to be read in a log.
_TAG_BYTES: Final = 16
#: Characters of a handle that an error shows.
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A function of some component. It says where that is, not what it was."""

    component: str
    path: FunctionPath


def handles_key(secret: bytes) -> bytes:
    """Return the key that authenticates the handles of the instance with this secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)


class Handles:
    """Makes and reads the handles of one deployment."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def handle(self, named: NamedFunction) -> str:
        """Return the handle of a function: `function://ledger/spare;entries:add;…`."""
        name = f"{named.component};{named.path.key}"
        return f"{HANDLE_PREFIX}{name};{self._tag(name)}"

    def named(self, handle: str) -> NamedFunction:
        """Return the function that a handle was made of; whether it is there is not looked at.

        Raises:
            FunctionNotFound: it is no handle of this deployment (code InvalidFunctionHandle).
        """
        name, _, tag = handle.removeprefix(HANDLE_PREFIX).rpartition(";")
        is_ours = hmac.compare_digest(_bytes(tag), _bytes(self._tag(name)))
        if not is_ours or not handle.startswith(HANDLE_PREFIX):
            shown = handle if len(handle) <= _SHOWN else handle[:_SHOWN] + "…"
            msg = (
                f"{shown!r} is no function handle of this deployment: it was changed, written by hand or "
                "made by another one. Handles are what ctx.function_handle() returns"
            )
            raise FunctionNotFound(msg, code="InvalidFunctionHandle")
        # Whatever has a tag was written by `handle`.
        component, _, path = name.partition(";")
        return NamedFunction(component, FunctionPath.parse(path))

    def _tag(self, name: str) -> str:
        tag = hmac.digest(self._key, _bytes(name), "sha256")[:_TAG_BYTES]
        return urlsafe_b64encode(tag).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    # What stands for a handle may be any text, half a surrogate pair too.
    return text.encode(errors="surrogatepass")
