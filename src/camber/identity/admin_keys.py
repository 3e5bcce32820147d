"""Admin keys: `<instance name>|<secret part>` (protocol 8.1).

The secret part is an HMAC under a key derived from the instance secret, in hex, so that a key can
be checked without being stored.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from camber.errors import AuthenticationFailed


class AdminKeys:
    """Makes and checks the admin keys of one instance.

    `configured` is a key that an operator chose; it is valid beside the derived one.
    """

    def __init__(self, *, instance_name: str, secret: bytes, configured: str | None = None) -> None:
        self._instance_name = instance_name
        self._derived = hmac.new(secret, b"camber admin key v1", sha256).hexdigest()
        self._configured = configured

    @property
    def key(self) -> str:
        """Return a valid key."""
        return self._configured or f"{self._instance_name}|{self._derived}"

    def check(self, key: str) -> None:
        """Do nothing if the key is valid here.

        A `prod:`, `dev:` or `preview:…:` before the instance name is ignored.

        Raises:
            AuthenticationFailed: it is not (code BadAdminKey).
        """
        name, bar, secret = key.rpartition("|")
        derived = f"{name.rpartition(':')[2]}|{secret}" if bar else key
        valid = hmac.compare_digest(
            derived.encode(), f"{self._instance_name}|{self._derived}".encode()
        )
        if self._configured is not None:
            valid |= hmac.compare_digest(key.encode(), self._configured.encode())
            valid |= hmac.compare_digest(derived.encode(), self._configured.encode())
        if not valid:
            msg = "the admin key is not valid for this deployment"
            raise AuthenticationFailed(msg, code="BadAdminKey")
