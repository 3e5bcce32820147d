"""How many files this process may have open: each connection is one."""

from __future__ import annotations

import resource
from dataclasses import replace

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.errors import CamberError


class TooFewFiles(CamberError):
    """The process may open too few files to serve anybody."""

    code = "TooFewOpenFiles"


def within_open_files(network: NetworkLimits) -> tuple[NetworkLimits, str | None]:
    """Let the process open a file for each connection that it takes.

    What is allowed by default is often 1024. Returns what can be served then, and, if that is less
    than was asked for, what to say of it.

    Raises:
        TooFewFiles: it cannot have one connection.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = network.connections + limits.files_besides_connections
    if network.connections == 0 or hard != resource.RLIM_INFINITY:
        wanted = hard if network.connections == 0 else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or soft < wanted):
        soft = _raised(soft, wanted, hard)
    if soft == resource.RLIM_INFINITY:
        return network, None
    room = soft - limits.files_besides_connections
    if room < 1:
        msg = (
            f"this process may open {soft} files, and needs {limits.files_besides_connections} "
            f"besides its connections. {_HOW}"
        )
        raise TooFewFiles(msg)
    if network.connections == 0:
        return replace(network, connections=room), None
    if room >= network.connections:
        return network, None
    told = (
        f"This process may open {soft} files, {limits.files_besides_connections} of them besides "
        f"connections: it takes {room} connections, not {network.connections}. {_HOW}, or ask for "
        "fewer with --max-connections"
    )
    return replace(network, connections=room), told


_HOW = "Raise the limit where the server is started: `ulimit -n`, LimitNOFILE= of systemd"


def _raised(soft: int, wanted: int, hard: int) -> int:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        # The system has a limit of its own below the one that it tells.
        return soft
    return wanted
