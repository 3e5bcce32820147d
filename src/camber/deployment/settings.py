"""How a deployment is run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from camber import limits
from camber.storage.sqlite.store import Durability as Durability


class Redaction(Enum):
    """Whether clients see what went wrong inside a function."""

    #: Messages, frames and log lines reach clients: for development.
    OFF = "off"
    #: Clients get a request id; the data of an `AppError` always reaches them.
    ON = "on"


class TestHooks(Enum):
    """Whether functions may raise system errors (`camber.testing.system_error`)."""

    OFF = "off"
    ON = "on"


class Scheduling(Enum):
    """Whether scheduled functions and cron jobs run by themselves."""

    ON = "on"
    #: Only when `Scheduler.run_due` is called: for tests, whose clock moves when they say so.
    WHEN_ASKED = "when asked"


class ScanWarnings(Enum):
    """Whether the log says which queries read far more than they return, once for each."""

    #: For development.
    ON = "on"
    OFF = "off"


class MetricsAccess(Enum):
    """Who may read `/metrics`."""

    #: Everybody who reaches the port.
    OPEN = "open"
    #: Holders of a key that may view logs.
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """What clients may take of a server. 0 is no bound."""

    #: Connections at one time: in all, and from one address that is no proxy.
    connections: int = limits.connections_max
    connections_per_address: int = limits.connections_per_address_max
    #: Addresses, and networks such as 10.0.0.0/8.
    proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    #: The header to which each of them adds from where it was asked; None if none is to be believed.
    client_address_header: str | None = None
    #: Messages of one socket in a second.
    messages_per_s: int = limits.socket_messages_per_s_max
    #: Bytes of one message, and of the body of one call over HTTP.
    message_bytes: int = limits.socket_message_bytes_max
    body_bytes: int = limits.http_body_bytes_max


#: A store that is gone when its process ends, for tests.
MEMORY = "memory:"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """What a deployment is opened with.

    `data` holds the store, files and the instance secret; `store` is a store's URL, `memory:`, or
    None for SQLite under `data`. `cloud_url` and `site_url` are the origins that clients see.
    """

    root: Path
    functions: str
    data: Path
    name: str = "camber"
    store: str | None = None
    durability: Durability = Durability.FULL
    redaction: Redaction = Redaction.OFF
    test_hooks: TestHooks = TestHooks.OFF
    scan_warnings: ScanWarnings = ScanWarnings.OFF
    scheduling: Scheduling = Scheduling.ON
    admin_key: str | None = None
    metrics: MetricsAccess = MetricsAccess.KEY
    cloud_url: str = "http://127.0.0.1:3210"
    site_url: str = "http://127.0.0.1:3211"
    history_retention_s: float = limits.history_retention_s
    history_bytes_max: int = limits.history_bytes_max
    #: Processes that run queries and mutations; 0 for none: everything runs in this one.
    executors: int = 0
    #: Where files lie: `s3://bucket/prefix`, or None for a folder under `data`.
    files: str | None = None
    #: Bytes of one file, and of all of them together; None for no bound but the disk's.
    file_bytes_max: int = limits.file_bytes_max
    files_bytes_max: int | None = None
    network: NetworkLimits = field(default_factory=NetworkLimits)
    environment: dict[str, str] = field(default_factory=dict)


def cores() -> int:
    """Return how many cores this process may use: as many executors as are started by default."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
