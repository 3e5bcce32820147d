"""The options of `camber dev` and `camber start`: each is also a `CAMBER_…` variable."""

from __future__ import annotations

import functools
import inspect
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from camber import limits
from camber.cli.console import LogFormat
from camber.cli.options import declare
from camber.deployment.project import UNNAMED, Project
from camber.deployment.settings import (
    DeploymentSettings,
    Durability,
    MetricsAccess,
    NetworkLimits,
    Redaction,
    ScanWarnings,
    TestHooks,
    cores,
)

Options = TypeVar("Options", bound="ServerOptions")

_NETWORK = "Network"
_DATA = "Data"
_RUNNING = "Running"

_PORT = 3210
_WARN_SCANS = "Say in the log, once for each, which queries read far more than they return."


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    variable = names[0].split("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(
        *names, help=help, envvar=f"CAMBER_{variable}", rich_help_panel=panel, **more
    )


def _origin(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        msg = f"{url!r} is no origin such as https://api.example.com"
        raise typer.BadParameter(msg)
    return None if url is None else url.rstrip("/")


def _addresses(text: str) -> str:
    for address in _listed(text):
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            msg = (
                f"{address!r} is no IP address such as 10.0.0.7, and no network such as 10.0.0.0/8"
            )
            raise typer.BadParameter(msg) from None
    return text


def _header(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Za-z0-9-]+", text):
        msg = f"{text!r} is no name of a header such as X-Forwarded-For"
        raise typer.BadParameter(msg)
    return text


def _listed(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(",") if each.strip())


def _built(static: Path | None) -> Path | None:
    if static is not None and not (static / "index.html").is_file():
        msg = f"there is no index.html in {static}; build the front end first"
        raise typer.BadParameter(msg)
    return static


Metrics = Annotated[
    MetricsAccess,
    _option(
        "--metrics",
        help="Who may read /metrics: all, or those who have a key.",
        panel=_RUNNING,
        metavar="open|key",
        case_sensitive=False,
    ),
]
Directory = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="The project's folder; here by default.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What a server is started with."""

    directory: Directory = None
    host: Annotated[
        str, _option("--host", help="The address to listen on.", panel=_NETWORK, metavar="ADDRESS")
    ] = "127.0.0.1"
    port: Annotated[
        int | None,
        _option(
            "--port",
            help="Client API and sockets; 3210 by default, 0 for any.",
            panel=_NETWORK,
            metavar="PORT",
            min=0,
            max=65535,
        ),
    ] = None
    site_port: Annotated[
        int | None,
        _option(
            "--site-port",
            help="HTTP actions; the port after --port.",
            panel=_NETWORK,
            metavar="PORT",
            min=0,
            max=65535,
        ),
    ] = None
    cloud_url: Annotated[
        str | None,
        _option(
            "--cloud-url",
            help="The API's origin for clients, behind a proxy.",
            panel=_NETWORK,
            metavar="URL",
            callback=_origin,
        ),
    ] = None
    site_url: Annotated[
        str | None,
        _option(
            "--site-url",
            help="The origin of HTTP actions for clients.",
            panel=_NETWORK,
            metavar="URL",
            callback=_origin,
        ),
    ] = None
    static: Annotated[
        Path | None,
        _option(
            "--static",
            help="A built front end to serve.",
            panel=_NETWORK,
            metavar="DIR",
            callback=_built,
        ),
    ] = None
    data: Annotated[
        Path | None,
        _option(
            "--data",
            help="The folder of the store, files and the secret; DIR/.camber by default.",
            panel=_DATA,
            metavar="DIR",
        ),
    ] = None
    store: Annotated[
        str | None,
        _option(
            "--store",
            help="sqlite:PATH; a file under --data by default.",
            panel=_DATA,
            metavar="URL",
        ),
    ] = None
    durability: Annotated[
        Durability,
        _option(
            "--durability",
            help="full: commits survive the loss of power; normal: that of the process.",
            panel=_DATA,
            metavar="full|normal",
            case_sensitive=False,
        ),
    ] = Durability.FULL
    history: Annotated[
        float,
        _option(
            "--history",
            help="How long what was superseded is kept, in hours; it is bounded in bytes too.",
            panel=_DATA,
            metavar="HOURS",
            min=0,
        ),
    ] = limits.history_retention_s / 3600
    history_mib: Annotated[
        int,
        _option(
            "--history-mib",
            help="How much of it is kept at most, in MiB.",
            panel=_DATA,
            metavar="MIB",
            min=0,
        ),
    ] = limits.history_bytes_max // 2**20
    files: Annotated[
        str | None,
        _option(
            "--files",
            help="Where files lie: s3://BUCKET/PREFIX; a folder under --data by default.",
            panel=_DATA,
            metavar="URL",
        ),
    ] = None
    file_mib: Annotated[
        int,
        _option(
            "--file-mib",
            help="How large one file may be, in MiB.",
            panel=_DATA,
            metavar="MIB",
            min=1,
        ),
    ] = limits.file_bytes_max // 2**20
    files_mib: Annotated[
        int | None,
        _option(
            "--files-mib",
            help="How much all files together may have, in MiB; as much as the disk has by default.",
            panel=_DATA,
            metavar="MIB",
            min=1,
        ),
    ] = None
    max_connections: Annotated[
        int,
        _option(
            "--max-connections",
            help="Connections at one time; 0 for as many as there may be open files.",
            panel=_NETWORK,
            metavar="N",
            min=0,
        ),
    ] = limits.connections_max
    max_connections_per_address: Annotated[
        int,
        _option(
            "--max-connections-per-address",
            help="Of these, from one address; 0 for no bound.",
            panel=_NETWORK,
            metavar="N",
            min=0,
        ),
    ] = limits.connections_per_address_max
    allow_hosts: Annotated[
        str,
        _option(
            "--allow-hosts",
            help="Names, with commas, for which it answers besides its own.",
            panel=_NETWORK,
            metavar="NAMES",
        ),
    ] = ""
    proxies: Annotated[
        str,
        _option(
            "--proxies",
            help="Addresses or networks, with commas, whose connections are those of many.",
            panel=_NETWORK,
            metavar="ADDRESSES",
            callback=_addresses,
        ),
    ] = "127.0.0.1,::1"
    client_address_header: Annotated[
        str | None,
        _option(
            "--client-address-header",
            help="The header to which these add from where they were asked, such as X-Forwarded-For.",
            panel=_NETWORK,
            metavar="NAME",
            callback=_header,
        ),
    ] = None
    max_messages: Annotated[
        int,
        _option(
            "--max-messages",
            help="Messages of one socket in a second; 0 for no bound.",
            panel=_NETWORK,
            metavar="N",
            min=0,
        ),
    ] = limits.socket_messages_per_s_max
    max_message_mib: Annotated[
        int,
        _option(
            "--max-message-mib",
            help="The largest message, in MiB.",
            panel=_NETWORK,
            metavar="MIB",
            min=1,
            max=limits.socket_message_bytes_max // 2**20,
        ),
    ] = limits.socket_message_bytes_max // 2**20
    max_body_mib: Annotated[
        int,
        _option(
            "--max-body-mib",
            help="The largest body of a call over HTTP, in MiB.",
            panel=_NETWORK,
            metavar="MIB",
            min=1,
            max=limits.http_body_bytes_max // 2**20,
        ),
    ] = limits.http_body_bytes_max // 2**20
    admin_key: Annotated[
        str | None,
        _option(
            "--admin-key",
            help="A key to accept beside the made one.",
            panel=_RUNNING,
            metavar="KEY",
        ),
    ] = None
    executors: Annotated[
        int | None,
        _option(
            "--executors",
            help="Processes that run functions, one a core by default; 0 for none.",
            panel=_RUNNING,
            metavar="N",
            min=0,
        ),
    ] = None
    redact_errors: Annotated[
        bool,
        _option(
            "--redact-errors/--no-redact-errors",
            help="Hide from clients what went wrong inside functions.",
            panel=_RUNNING,
        ),
    ] = False
    log_format: Annotated[
        LogFormat,
        _option(
            "--log-format", help="For people or for machines.", panel=_RUNNING, metavar="text|json"
        ),
    ] = LogFormat.TEXT
    metrics: Metrics = MetricsAccess.OPEN
    tail_logs: Annotated[
        bool,
        _option(
            "--tail-logs/--no-tail-logs",
            help="Print what functions log and why they fail; with json, each run.",
            panel=_RUNNING,
        ),
    ] = True
    warn_scans: Annotated[
        bool,
        _option("--warn-scans/--no-warn-scans", help=_WARN_SCANS, panel=_RUNNING),
    ] = True
    test_hooks: Annotated[
        bool,
        _option(
            "--test-hooks", help="Let functions raise system errors, for tests.", panel=_RUNNING
        ),
    ] = False

    @property
    def grace_s(self) -> float:
        """Return how long what runs may take at the end."""
        return limits.development_grace_s

    def ports(self) -> tuple[int, int]:
        """Return the API's port and the site's; 0 is any free one."""
        port = _PORT if self.port is None else self.port
        following = 0 if port == 0 else port + 1
        return port, following if self.site_port is None else self.site_port

    def hosts(self) -> frozenset[str]:
        """Return the names for which the server answers besides its own."""
        return _listed(self.allow_hosts)

    def network(self) -> NetworkLimits:
        """Return what clients may take."""
        # What stands around the arguments, beyond the whole MiB.
        envelope = limits.http_body_bytes_max % 2**20
        return NetworkLimits(
            connections=self.max_connections,
            connections_per_address=self.max_connections_per_address,
            proxies=_listed(self.proxies),
            client_address_header=self.client_address_header,
            messages_per_s=self.max_messages,
            message_bytes=self.max_message_mib * 2**20,
            body_bytes=self.max_body_mib * 2**20 + envelope,
        )

    def settings(self, project: Project | None) -> DeploymentSettings:
        """Return what the deployment of a project is opened with, or of none yet."""
        root = Path.cwd() if project is None else project.root
        return DeploymentSettings(
            root=root,
            functions="" if project is None else project.functions,
            name=UNNAMED if project is None else project.name,
            data=self.data or root / ".camber",
            store=self.store,
            durability=self.durability,
            history_retention_s=self.history * 3600,
            history_bytes_max=self.history_mib * 2**20,
            files=self.files,
            file_bytes_max=self.file_mib * 2**20,
            files_bytes_max=None if self.files_mib is None else self.files_mib * 2**20,
            admin_key=self.admin_key,
            metrics=self.metrics,
            redaction=Redaction.ON if self.redact_errors else Redaction.OFF,
            test_hooks=TestHooks.ON if self.test_hooks else TestHooks.OFF,
            scan_warnings=ScanWarnings.ON if self.warn_scans else ScanWarnings.OFF,
            executors=cores() if self.executors is None else self.executors,
            network=self.network(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions(ServerOptions):
    """What a production server is started with."""

    metrics: Metrics = MetricsAccess.KEY
    redact_errors: Annotated[
        bool,
        _option(
            "--redact-errors/--no-redact-errors",
            help="Hide from clients what went wrong inside functions.",
            panel=_RUNNING,
        ),
    ] = True
    warn_scans: Annotated[
        bool,
        _option("--warn-scans/--no-warn-scans", help=_WARN_SCANS, panel=_RUNNING),
    ] = False
    grace_period: Annotated[
        float,
        _option(
            "--grace-period",
            help="How long what runs may take when the server is told to end, in seconds.",
            panel=_RUNNING,
            metavar="SECONDS",
            min=0,
        ),
    ] = limits.grace_s

    @property
    def grace_s(self) -> float:
        return self.grace_period


def with_options(command: Callable[[Options], None]) -> Callable[..., None]:
    """Return a command of one dataclass as one of its fields, which is what typer reads."""
    (parameter,) = inspect.signature(command, eval_str=True).parameters.values()
    options = parameter.annotation

    @functools.wraps(command)
    def run(**values: Any) -> None:
        command(options(**values))

    hints = get_type_hints(options, include_extras=True)
    declare(run, {each.name: (hints[each.name], each.default) for each in fields(options)})
    return run
