"""Finding ports: the API's and the site's move as a pair."""

from __future__ import annotations

import errno
import socket

from camber.errors import CamberError

#: Pairs that are tried before giving up.
_PAIRS = 100


class PortsTaken(CamberError):
    """A port is in use by another program."""

    code = "PortsTaken"


def bind_pair(host: str, port: int, site_port: int) -> tuple[socket.socket, socket.socket]:
    """Return sockets bound to exactly these ports; 0 takes any free one.

    Raises:
        PortsTaken: another program has one of them.
    """
    api = _bind(host, port)
    try:
        return api, _bind(host, site_port)
    except BaseException:
        api.close()
        raise


def bind_next_free_pair(
    host: str, port: int, site_port: int
) -> tuple[socket.socket, socket.socket]:
    """Return sockets bound to the first free pair from these ports on, in steps of two."""
    for step in range(0, 2 * _PAIRS, 2):
        try:
            return bind_pair(host, port + step, site_port + step)
        except PortsTaken:
            continue
    msg = f"no free pair of ports from {port} and {site_port} on; stop a server, or use --port"
    raise PortsTaken(msg)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.set_inheritable(False)
    except OSError as error:
        bound.close()
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            msg = f"cannot listen on {host}:{port}: {error.strerror}. Use another --port"
            raise PortsTaken(msg) from None
        raise
    return bound
