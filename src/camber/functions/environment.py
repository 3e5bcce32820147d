"""`ctx.env`: deployment variables."""

from __future__ import annotations

from collections.abc import Callable


class Environment:
    """Deployment variables by name. Each name that is asked for is recorded as read.

    `CONVEX_CLOUD_URL` and `CONVEX_SITE_URL` are always there.
    """

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> str:
        """Return a variable.

        Raises:
            KeyError: it is not set.
        """
        value = self._read(name)
        if value is None:
            msg = f"deployment variable {name!r} is not set"
            raise KeyError(msg)
        return value

    def __contains__(self, name: str) -> bool:
        """Return whether a variable is set."""
        return self._read(name) is not None

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return a variable, or `default` where it is not set."""
        value = self._read(name)
        return default if value is None else value
