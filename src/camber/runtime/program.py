"""The program that executors run: how it is started, and one that is started ahead.

Little is imported here, so that a server can start its first executor before it imports itself:
both take about as long, and then they take it together.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from camber.host import Host, Process

#: The variable that tells a process which one started it.
SERVER_PID: Final = "CAMBER_SERVER_PID"
_PROGRAM: Final = "camber.deployment.executor"
#: Variables of the server that executors do not see.
_KEYS: Final = frozenset(
    {
        "CAMBER_ADMIN_KEY",
        "CAMBER_DEPLOY_KEY",
        "CONVEX_SELF_HOSTED_ADMIN_KEY",
        "CAMBER_S3_ACCESS_KEY_ID",
        "CAMBER_S3_SECRET_ACCESS_KEY",
    }
)


class Role(Enum):
    """What a process runs."""

    TRANSACTIONS = "transactions"
    ACTIONS = "actions"

    @property
    def sockets(self) -> int:
        """How many it is spoken to over."""
        return 2 if self is Role.ACTIONS else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is started: the command, to which the role and its sockets are added, and variables."""

    command: Sequence[str]
    environment: Mapping[str, str]

    async def start(self, host: Host, role: Role) -> Started:
        """Start a process."""
        pairs = [host.socket_pair() for _ in range(role.sockets)]
        ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        try:
            process = await host.process(
                [*self.command, role.value, *(str(each.fileno()) for each in theirs)],
                environment=self.environment,
                sockets=theirs,
            )
        except BaseException:
            for each in ours:
                each.close()
            raise
        finally:
            for each in theirs:
                each.close()
        return Started(process, ours)


@dataclass(frozen=True, slots=True)
class Started:
    """A process, and our ends of its sockets."""

    process: Process
    sockets: Sequence[socket.socket]


def executor_program(python: str | None = None) -> Program:
    """Return the program of executors, by default for the Python that runs the server.

    They see the server's variables, which modules may read while they load, without its keys.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _KEYS}
    # Hashes of strings decide the order of sets: two runs of one transaction must agree on it.
    ours = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", SERVER_PID: str(os.getpid())}
    return Program(
        command=[python or sys.executable, "-P", "-m", _PROGRAM], environment=kept | ours
    )


class Spare:
    """An executor of transactions that was started before it is known what it will load."""

    def __init__(self, program: Program, started: Started) -> None:
        self._program = program
        self._started: Started | None = started

    @classmethod
    async def start(cls, host: Host) -> Spare:
        """Start one."""
        program = executor_program()
        return cls(program, await program.start(host, Role.TRANSACTIONS))

    def taken(self, program: Program, role: Role) -> Started | None:
        """Return the process to whoever would start just the same, once."""
        if role is not Role.TRANSACTIONS or program != self._program:
            return None
        started, self._started = self._started, None
        return started

    async def end(self) -> None:
        """End the process, if nobody has taken it."""
        started, self._started = self._started, None
        if started is None:
            return
        for each in started.sockets:
            each.close()
        started.process.kill()
        await started.process.wait()
