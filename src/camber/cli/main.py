"""The `camber` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from camber.cli import (
    auth,
    components,
    data,
    deploy,
    env,
    explain,
    keys,
    logs,
    run,
    status,
    transfer,
)
from camber.cli.console import Console, configure_logging
from camber.cli.examples import epilog_of
from camber.cli.init import init
from camber.cli.reporting import reporting
from camber.cli.serve import Serve, Urls
from camber.cli.server_options import Directory, ServerOptions, StartOptions, with_options
from camber.cli.starting import run_dev, run_start
from camber.cli.telemetry import telemetry
from camber.codegen.files import generated_files, stale_generated, write_generated
from camber.deployment.project import Project, load_project, project_of_server
from camber.errors import CamberError
from camber.functions.loading import load_application
from camber.version import VERSION

# The server is imported by who serves.
if TYPE_CHECKING:
    from camber.deployment.deployment import Deployment

app = typer.Typer(
    name="camber",
    help="A reactive backend in Python.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Ends with 0 if it is done, 1 if it could not be, 2 for a command line that cannot be read, 130 when "
    "interrupted. `camber --install-completion` lets your shell complete commands, functions and tables.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,  # noqa: FBT002
) -> None:
    """Say the version, or go on to a command."""
    if version:
        typer.echo(VERSION)
        raise typer.Exit


app.command()(init)


@app.command()
@with_options
def dev(options: ServerOptions) -> None:
    """Serve a project, and push again on every save."""
    console = Console(options.log_format)
    configure_logging(options.log_format)
    with reporting(console), telemetry(os.environ, console):
        project = load_project(options.directory or Path())
        _refuse_missing_functions(project)
        any_port = options.port is None and options.site_port is None
        run_dev(_serve(options, project, any_port=any_port), project, console, _announcer(console))


@app.command()
@with_options
def start(options: StartOptions) -> None:
    """Serve a project in production."""
    console = Console(options.log_format)
    configure_logging(options.log_format)
    with reporting(console), telemetry(os.environ, console):
        project = project_of_server(options.directory)
        if project is not None:
            _refuse_missing_functions(project)
        run_start(_serve(options, project, any_port=False), console, _announcer(console))


@app.command()
def codegen(
    directory: Directory = None,
    check: Annotated[  # noqa: FBT002
        bool, typer.Option("--check", help="Write nothing; end with 1 if a file would change.")
    ] = False,
) -> None:
    """Write the typed files for front ends."""
    console = Console()
    with reporting(console):
        project = load_project(directory or Path())
        application = load_application(project.root, project.functions)
        folders = [project.root / folder for folder in project.generated]
        if not folders:
            msg = f"[tool.camber] generated of {project.root}/pyproject.toml names no folder"
            raise CamberError(msg, code="ProjectError")
        change = stale_generated if check else write_generated
        changed = change(generated_files(application), folders)
        names = [str(path.relative_to(project.root)) for path in changed]
        if check and names:
            msg = f"not what the functions say: {', '.join(names)}. `camber codegen` writes them"
            raise CamberError(msg, code="GeneratedFilesStale")
        for name in names:
            console.say(f"Wrote {name}")
        if not names:
            console.say("Nothing has changed")


app.command("deploy")(deploy.deploy)
app.command("run")(run.run)
app.command("explain")(explain.explain)
app.add_typer(env.app, name="env")
app.command("data")(data.data)
app.command("logs")(logs.logs)
app.add_typer(keys.app, name="keys")
app.add_typer(auth.app, name="auth")
app.command("status")(status.status)
app.add_typer(components.app, name="components")
app.command("export")(transfer.export)
app.command("import")(transfer.import_)


def _refuse_missing_functions(project: Project) -> None:
    if not project.functions_path.is_dir():
        msg = f"the functions folder {project.functions!r} is not in {project.root}"
        raise CamberError(msg, code="ProjectError")


def _serve(options: ServerOptions, project: Project | None, *, any_port: bool) -> Serve:
    port, site_port = options.ports()
    return Serve(
        project=project,
        settings=options.settings(project),
        host=options.host,
        port=port,
        site_port=site_port,
        any_port=any_port,
        cloud_url=options.cloud_url,
        site_url=options.site_url,
        static=options.static,
        allowed_hosts=options.hosts(),
        log_format=options.log_format,
        tail_logs=options.tail_logs,
        grace_s=options.grace_s,
    )


def _announcer(console: Console) -> Callable[[Deployment, Urls], None]:
    def announce(deployment: Deployment, urls: Urls) -> None:
        del deployment
        console.say(
            f"Camber is ready at {urls.cloud} (HTTP actions at {urls.site})",
            url=urls.cloud,
            site_url=urls.site,
        )

    return announce


def _not_built(name: str, what: str) -> None:
    def command() -> NoReturn:
        typer.echo(f"camber {name} is not built yet: {what}", err=True)
        raise typer.Exit(1)

    command.__doc__ = f"{what} (not built yet)."
    app.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(
        command
    )


for _name, _what in (("dashboard", "Open the dashboard"),):
    _not_built(_name, _what)


#: Which commands stand together in `camber --help`.
_PANELS = {
    "Develop": ("init", "dev", "run", "explain", "codegen", "auth"),
    "Serve": ("start", "deploy", "status", "logs", "env", "keys"),
    "Data": ("data", "components", "export", "import", "dashboard"),
}


def _arrange(commands: typer.Typer, above: str = "") -> None:
    """Put each command into its panel, and examples below its help."""
    panels = {name: panel for panel, names in _PANELS.items() for name in names}
    for info in commands.registered_commands:
        assert info.callback is not None
        name = info.name or info.callback.__name__
        info.epilog = epilog_of(f"{above}{name}")
        if not above:
            info.rich_help_panel = panels[name]
    for group in commands.registered_groups:
        assert group.name is not None
        assert group.typer_instance is not None
        if not above:
            group.rich_help_panel = panels[group.name]
        _arrange(group.typer_instance, f"{above}{group.name} ")


_arrange(app)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
