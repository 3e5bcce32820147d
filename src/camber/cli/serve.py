"""What `camber dev` and `camber start` serve, and what there is before the server is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from camber import limits
from camber.cli.console import LogFormat
from camber.cli.stopping import Stop
from camber.deployment.project import Project
from camber.deployment.settings import DeploymentSettings
from camber.host import Host
from camber.runtime.program import Spare

# Imported later: see `camber.cli.starting`.
if TYPE_CHECKING:
    from camber.deployment.deployment import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """What to serve and where. URLs that are None follow from the ports."""

    #: None for a server that only serves what is deployed to it.
    project: Project | None
    settings: DeploymentSettings
    host: str
    port: int
    site_port: int
    #: Whether the next free pair of ports will do.
    any_port: bool
    cloud_url: str | None
    site_url: str | None
    static: Path | None
    #: Names for which it answers besides its own; none for all, unless it is for development.
    allowed_hosts: frozenset[str] = frozenset()
    log_format: LogFormat = LogFormat.TEXT
    #: Whether to print what functions log.
    tail_logs: bool = True
    #: Whether to tell front ends and the official CLI of the deployment by `.env.local`.
    env_local: bool = True
    #: How long what runs may take at the end, in seconds.
    grace_s: float = limits.development_grace_s


@dataclass(frozen=True, slots=True)
class Urls:
    """Where clients find the deployment and its HTTP actions."""

    cloud: str
    site: str


Ready: TypeAlias = "Callable[[Deployment, Urls], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What there is before the server."""

    stop: Stop
    host: Host
    spare: Spare | None
