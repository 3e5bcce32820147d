"""From where requests come, also behind proxies.

A connection of a proxy carries those of many. Who they are is known only if a header is named, and
then from what proxies have added to it: each adds the address that it was asked from at the end.
What stands before that the client may have written itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from starlette.types import Scope

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.runtime.executor import Sender
from camber.server.headers import header_of

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The machines that hand on what clients send, and the header in which they say whose it is."""

    def __init__(self, network: NetworkLimits) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in network.proxies]
        header = network.client_address_header
        self._header = None if header is None else header.lower().encode()
        self._known: dict[str, bool] = {}

    def has(self, address: str) -> bool:
        """Return whether a connection from an address is one of many clients'."""
        found = self._known.get(address)
        if found is None:
            found = self._is_in(_parsed(address))
            # Of clients there is no end.
            if found and len(self._known) < limits.connections_max:
                self._known[address] = found
        return found

    def _is_in(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def sender_of(self, scope: Scope) -> Sender:
        """Return where a request comes from, as far as that is known, and what it says it comes from."""
        agent = header_of(scope, b"user-agent")
        if agent is not None:
            agent = agent[: limits.user_agent_length_max]
        return Sender(ip=self._address_of(scope), user_agent=agent)

    def _address_of(self, scope: Scope) -> str | None:
        """Return the address of a client; None if it is that of a proxy, which is nobody's."""
        client = scope.get("client")
        peer = None if not client else _parsed(str(client[0]))
        if not self._is_in(peer):
            return None if peer is None else str(peer)
        if self._header is None:
            return None
        lines = (str(value, "latin-1") for name, value in scope["headers"] if name == self._header)
        return self._said(lines)

    def _said(self, lines: Iterable[str]) -> str | None:
        """Return the last address that no proxy of ours is at: the one that asked the first of them."""
        rest = ",".join(lines)
        while rest:
            rest, _, last = rest.rpartition(",")
            address = _parsed(_stripped(last))
            if address is None:
                return None
            if not self._is_in(address):
                return str(address)
        return None


def _stripped(entry: str) -> str:
    """Return the address of an entry: some have a port, and `Forwarded` (RFC 7239) names and quotes."""
    for pair in entry.split(";"):
        name, is_pair, value = pair.partition("=")
        if is_pair and name.strip().lower() == "for":
            entry = value
    text = entry.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    # One colon is before a port; IPv6 has more.
    return text.partition(":")[0] if text.count(":") == 1 else text


def _parsed(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
