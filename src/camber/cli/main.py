"""The `camber` command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from camber.cli.client import CallFailed, call, target_of, watch
from camber.cli.console import Console, LogFormat, configure_logging
from camber.cli.serve import Serve, Urls, run_dev, run_start
from camber.codegen.files import write_generated
from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings, Durability, Redaction, TestHooks
from camber.errors import CamberError
from camber.functions.loading import LoadError, load_application
from camber.releases.push import PushFailed
from camber.version import VERSION

app = typer.Typer(
    name="camber",
    help="A reactive backend in Python.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PORT = 3210
_SITE_PORT = 3211

Directory = Annotated[Path, typer.Argument(metavar="[DIR]", help="The project's folder.")]


def _option(*names: str, help: str, env: str) -> Any:
    return typer.Option(*names, help=help, envvar=f"CAMBER_{env}")


Host = Annotated[str, _option("--host", help="The address to listen on.", env="HOST")]
Port = Annotated[
    int | None, _option("--port", help="Client API and sockets; 3210 by default.", env="PORT")
]
SitePort = Annotated[
    int | None,
    _option("--site-port", help="HTTP actions; the port after --port.", env="SITE_PORT"),
]
CloudUrl = Annotated[
    str | None, _option("--cloud-url", help="The API's origin for clients.", env="CLOUD_URL")
]
SiteUrl = Annotated[
    str | None, _option("--site-url", help="The site's origin for clients.", env="SITE_URL")
]
Data = Annotated[
    Path | None,
    _option("--data", help="The store, files and secret; DIR/.camber by default.", env="DATA"),
]
StoreUrl = Annotated[
    str | None, _option("--store", help="sqlite:PATH; under --data by default.", env="STORE")
]
DurabilityOption = Annotated[
    str,
    _option(
        "--durability",
        help="full: commits survive the loss of power; normal: that of the process.",
        env="DURABILITY",
    ),
]
AdminKey = Annotated[
    str | None,
    _option("--admin-key", help="An admin key to accept beside the made one.", env="ADMIN_KEY"),
]
Executors = Annotated[
    int,
    _option("--executors", help="Processes that run functions; 0 for none.", env="EXECUTORS"),
]
Static = Annotated[
    Path | None, _option("--static", help="A built front end to serve.", env="STATIC")
]
Redact = Annotated[
    bool,
    _option(
        "--redact-errors/--no-redact-errors",
        help="Whether clients see what went wrong inside functions.",
        env="REDACT_ERRORS",
    ),
]
Log = Annotated[LogFormat, _option("--log-format", help="text or json.", env="LOG_FORMAT")]
Hooks = Annotated[
    bool,
    _option("--test-hooks", help="Let functions raise system errors, for tests.", env="TEST_HOOKS"),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Say the version, or go on to a command."""
    if version:
        typer.echo(VERSION)
        raise typer.Exit


@app.command()
def dev(
    directory: Directory = Path(),
    host: Host = "127.0.0.1",
    port: Port = None,
    site_port: SitePort = None,
    cloud_url: CloudUrl = None,
    site_url: SiteUrl = None,
    data: Data = None,
    store: StoreUrl = None,
    durability: DurabilityOption = "full",
    admin_key: AdminKey = None,
    executors: Executors = 0,
    static: Static = None,
    redact_errors: Redact = False,  # noqa: FBT002
    log_format: Log = LogFormat.TEXT,
    test_hooks: Hooks = False,  # noqa: FBT002
) -> None:
    """Serve a project, and push again on every save."""
    console = Console(log_format)
    configure_logging(log_format)
    with _reporting(console):
        _refuse_executors(executors)
        serve = _serve(
            directory,
            host=host,
            port=port,
            site_port=site_port,
            cloud_url=cloud_url,
            site_url=site_url,
            static=static,
            settings={
                "data": data,
                "store": store,
                "durability": _durability(durability),
                "admin_key": admin_key,
                "redaction": Redaction.ON if redact_errors else Redaction.OFF,
                "test_hooks": TestHooks.ON if test_hooks else TestHooks.OFF,
            },
            any_port=port is None and site_port is None,
        )
        run_dev(serve, console, _announcer(console))


@app.command()
def start(
    directory: Directory = Path(),
    host: Host = "127.0.0.1",
    port: Port = None,
    site_port: SitePort = None,
    cloud_url: CloudUrl = None,
    site_url: SiteUrl = None,
    data: Data = None,
    store: StoreUrl = None,
    durability: DurabilityOption = "full",
    admin_key: AdminKey = None,
    executors: Executors = 0,
    static: Static = None,
    redact_errors: Redact = True,  # noqa: FBT002
    log_format: Log = LogFormat.TEXT,
    test_hooks: Hooks = False,  # noqa: FBT002
) -> None:
    """Serve a project in production."""
    console = Console(log_format)
    configure_logging(log_format)
    with _reporting(console):
        _refuse_executors(executors)
        serve = _serve(
            directory,
            host=host,
            port=port,
            site_port=site_port,
            cloud_url=cloud_url,
            site_url=site_url,
            static=static,
            settings={
                "data": data,
                "store": store,
                "durability": _durability(durability),
                "admin_key": admin_key,
                "redaction": Redaction.ON if redact_errors else Redaction.OFF,
                "test_hooks": TestHooks.ON if test_hooks else TestHooks.OFF,
            },
            any_port=False,
        )
        run_start(serve, console, _announcer(console))


@app.command()
def codegen(directory: Directory = Path()) -> None:
    """Write the typed files for front ends."""
    console = Console()
    with _reporting(console):
        project = load_project(directory)
        application = load_application(project.root, project.functions)
        folders = [project.root / folder for folder in project.generated]
        changed = write_generated(application, folders)
        for path in changed:
            console.say(f"Wrote {path.relative_to(project.root)}")
        if not changed:
            console.say("Nothing has changed")


@app.command()
def run(
    function: Annotated[str, typer.Argument(help="A function, such as messages:send.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, as a JSON object.")] = "{}",
    watching: Annotated[  # noqa: FBT002
        bool, typer.Option("--watch", help="Print a query's result whenever it changes.")
    ] = False,
    directory: Annotated[Path, typer.Option("--dir", help="The project's folder.")] = Path(),
    url: Annotated[str | None, typer.Option("--url", help="The deployment's origin.")] = None,
    admin_key: Annotated[str | None, typer.Option("--admin-key", help="Its admin key.")] = None,
) -> None:
    """Run a function of a running deployment."""
    console = Console()
    with _reporting(console):
        args = _arguments(arguments)
        target = target_of(directory, url, admin_key)
        if watching:
            for value in watch(target, function, args):
                console.say(json.dumps(value, indent=2))
            return
        value, log_lines = call(target, function, args)
        for line in log_lines:
            console.complain(line)
        console.say(json.dumps(value, indent=2))


def _arguments(text: str) -> dict[str, Any]:
    try:
        args = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"the arguments are not JSON: {error}"
        raise CallFailed(msg) from None
    if not isinstance(args, dict):
        msg = f"the arguments are a JSON object, not {text}"
        raise CallFailed(msg)
    return args


def _refuse_executors(executors: int) -> None:
    if executors:
        msg = (
            f"--executors {executors}: executor processes are not built yet; functions run in the "
            "server's process (--executors 0)"
        )
        raise CamberError(msg, code="NotImplemented")


def _durability(name: str) -> Durability:
    try:
        return Durability[name.upper()]
    except KeyError:
        msg = f"--durability is full or normal, not {name!r}"
        raise CamberError(msg, code="InvalidOption") from None


def _serve(
    directory: Path,
    *,
    host: str,
    port: int | None,
    site_port: int | None,
    cloud_url: str | None,
    site_url: str | None,
    static: Path | None,
    settings: dict[str, Any],
    any_port: bool,
) -> Serve:
    project = load_project(directory)
    if not project.functions_path.is_dir():
        msg = f"the functions folder {project.functions!r} is not in {project.root}"
        raise CamberError(msg, code="ProjectError")
    if static is not None and not (static / "index.html").is_file():
        msg = f"--static {static}: there is no index.html; build the front end first"
        raise CamberError(msg, code="InvalidOption")
    data = settings.pop("data") or project.root / ".camber"
    chosen = _PORT if port is None else port
    following = 0 if chosen == 0 else chosen + 1
    return Serve(
        project=project,
        settings=DeploymentSettings(
            root=project.root,
            functions=project.functions,
            name=project.name,
            data=data,
            **settings,
        ),
        host=host,
        port=chosen,
        site_port=following if site_port is None else site_port,
        any_port=any_port,
        cloud_url=_origin(cloud_url, "--cloud-url"),
        site_url=_origin(site_url, "--site-url"),
        static=static,
    )


def _origin(url: str | None, option: str) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        msg = f"{option} {url!r} is no origin such as https://api.example.com"
        raise CamberError(msg, code="InvalidOption")
    return None if url is None else url.rstrip("/")


def _announcer(console: Console) -> Callable[[Deployment, Urls], None]:
    def announce(deployment: Deployment, urls: Urls) -> None:
        del deployment
        console.say(
            f"Camber is ready at {urls.cloud} (HTTP actions at {urls.site})",
            url=urls.cloud,
            site_url=urls.site,
        )

    return announce


class _reporting:  # noqa: N801  # used as a statement
    """Tell errors of the user's in one line, and end with status 1."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(130)
        if isinstance(error, LoadError):
            self._console.complain(f"{error}\n{error.trace.rstrip()}".rstrip())
        elif isinstance(error, PushFailed):
            self._console.complain(str(error))
        elif isinstance(error, CamberError):
            self._console.complain(error.sentence)
        elif isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError):
            self._console.complain(str(error))
        else:
            return
        raise typer.Exit(1)


def _not_built(name: str, what: str) -> None:
    def command() -> NoReturn:
        typer.echo(f"camber {name} is not built yet: {what}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"{what} (not built yet)."
    app.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(
        command
    )


for _name, _what in (
    ("init", "Make a new project"),
    ("deploy", "Push to a deployment elsewhere"),
    ("env", "Show and set deployment variables"),
    ("data", "Show documents"),
    ("logs", "Follow the log lines of functions"),
    ("import", "Import data"),
    ("export", "Export data"),
    ("dashboard", "Open the dashboard"),
    ("status", "Say how a deployment is doing"),
):
    _not_built(_name, _what)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
