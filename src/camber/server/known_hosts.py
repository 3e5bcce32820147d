"""Names under which a server answers: against pages that make their own name lead to this machine.

A page of evil.example whose name is made to mean 127.0.0.1 (DNS rebinding) is of the same origin as the
server on the developer's machine, and firewalls are no help: it is the developer's own browser that asks.
But its requests name evil.example. An address cannot be made to mean another, so those are let through.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from camber.errors import ErrorKind, RequestError
from camber.server.errors import error_response
from camber.server.headers import header_of

_LOCALHOST = "localhost"


class KnownHosts:
    """An application that answers only requests for one of some names, or for an address."""

    def __init__(self, application: ASGIApp, names: frozenset[str]) -> None:
        self._application = application
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        host = header_of(scope, b"host") if scope["type"] in {"http", "websocket"} else None
        if host is None or self._knows(_name_of(host)):
            await self._application(scope, receive, send)
            return
        name = _name_of(host)[:100]
        msg = (
            f"this server does not answer for the host {name!r}, since a page that has made its "
            "name lead here would be trusted like the server's own. If it is yours, start with "
            f"--allow-hosts {name}"
        )
        error = RequestError(msg, code="UnknownHost", kind=ErrorKind.MISDIRECTED)
        await error_response(error)(scope, receive, send)

    def _knows(self, name: str) -> bool:
        return name in self._names or name.endswith(f".{_LOCALHOST}") or _is_address(name)


def known_names(allowed: Iterable[str], *urls: str) -> frozenset[str]:
    """Return the names of a server: its own, those of its URLs, and others that are allowed."""
    own = (urlsplit(url).hostname or "" for url in urls)
    return frozenset({_LOCALHOST, *(name.lower() for name in (*allowed, *own) if name)})


def is_loopback(host: str) -> bool:
    """Return whether what listens at an address is reached from this machine alone."""
    return host == _LOCALHOST or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _name_of(host: str) -> str:
    """Return the name of a Host header, without a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
