"""`camber env`: deployment variables."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.dotenv import NotDotenv, format_dotenv, parse_dotenv
from camber.cli.options import on_deployment
from camber.cli.printing import print_json

app = typer.Typer(help="Show and set deployment variables.", no_args_is_help=True)

#: Variables of `.env` files that say where a deployment is: none of its own.
_MANAGED: Final = re.compile(
    r"CONVEX_(DEPLOYMENT|DEPLOY_KEY|DEPLOYMENT_TOKEN|SELF_HOSTED_URL|SELF_HOSTED_ADMIN_KEY)"
    r"|([A-Z_]+_)?CONVEX_(URL|SITE_URL|CLOUD_URL)|CAMBER_(URL|ADMIN_KEY)"
)
#: What exists is named up to here.
_NAMED = 8


@app.command("list")
@on_deployment
def list_(
    client: Client,
    console: Console,
    names_only: Annotated[  # noqa: FBT002
        bool, typer.Option("--names-only", help="Leave out the values.")
    ] = False,
    as_json: Annotated[  # noqa: FBT002
        bool, typer.Option("--json", help="Print an object of names and values.")
    ] = False,
) -> None:
    """Print all variables, as a .env file."""
    found = client.query("_system/camber/variables")
    values = {each["name"]: each["value"] for each in found["variables"]}
    if as_json:
        print_json(list(values) if names_only else values)
    else:
        for name, value in values.items():
            console.say(name if names_only else _line(name, value, console))
    if found["unreadable"]:
        msg = (
            f"cannot be read, since the instance secret is another than when they were set: "
            f"{', '.join(found['unreadable'])}. Restore that secret, or set them again"
        )
        raise CallFailed(msg)
    if not values and not as_json:
        console.complain("No variables are set")


@app.command()
@on_deployment
def get(
    client: Client,
    console: Console,
    name: Annotated[str, typer.Argument(help="The variable's name.")],
) -> None:
    """Print the value of a variable."""
    found = client.query("_system/cli/queryEnvironmentVariables:get", name=name)
    if found is None:
        msg = f"there is no variable {name!r}; `camber env list --names-only` names them"
        raise CallFailed(msg)
    console.say(found["value"])


@app.command("set")
@on_deployment
def set_(
    client: Client,
    console: Console,
    name: Annotated[str | None, typer.Argument(help="The variable's name.")] = None,
    value: Annotated[
        str | None, typer.Argument(help="Its value; without one it is read from stdin.")
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from-file", help="A .env file; after a NAME, a file that holds the value."),
    ] = None,
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", help="Let a .env file overwrite values that differ.")
    ] = False,
) -> None:
    """Set a variable, or those of a .env file: all of them or none."""
    if name is None:
        wanted = _read_dotenv(from_file, console)
        _set_all(client, wanted, console, overwrite=force)
        return
    if value is not None and from_file is not None:
        msg = "give the value, or --from-file; not both"
        raise CallFailed(msg)
    if value is None and "=" in name and from_file is None:
        name, _, value = name.partition("=")
    if value is None:
        value = _read_value(name, from_file)
    _update(client, {name: value})
    console.say(f"Set {name}")


@app.command()
@on_deployment
def remove(
    client: Client,
    console: Console,
    names: Annotated[list[str], typer.Argument(help="The variables' names.")],
) -> None:
    """Remove variables; those that are not there are removed already."""
    _update(client, dict.fromkeys(names))
    console.say(f"Removed {', '.join(names)}")


def _set_all(
    client: Client, wanted: Mapping[str, str], console: Console, *, overwrite: bool
) -> None:
    found = client.query("_system/camber/variables")
    present: dict[str, Any] = {each["name"]: each["value"] for each in found["variables"]}
    # One that cannot be read may be anything: it differs.
    present |= dict.fromkeys(found["unreadable"])
    changed = {n: v for n, v in wanted.items() if n not in present or present[n] != v}
    differing = [name for name in changed if name in present]
    if differing and not overwrite:
        listed = ", ".join(differing[:_NAMED])
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        msg = f"set to other values already: {listed}{more}. Give --force to overwrite them"
        raise CallFailed(msg)
    if changed:
        _update(client, changed)
    unchanged = len(wanted) - len(changed)
    console.say(
        f"Set {len(changed) - len(differing)} new, overwrote {len(differing)}, "
        f"left {unchanged} as they were"
    )


def _update(client: Client, values: Mapping[str, str | None]) -> None:
    changes = [{"name": name, "value": value} for name, value in values.items()]
    client.post("/api/update_environment_variables", {"changes": changes})


def _read_dotenv(file: Path | None, console: Console) -> dict[str, str]:
    if file is None and sys.stdin.isatty():
        msg = "name a variable and its value, or a .env file with --from-file"
        raise CallFailed(msg)
    text = sys.stdin.read() if file is None else _read(file)
    found = parse_dotenv(text, "standard input" if file is None else str(file))
    managed = [name for name in found if _MANAGED.fullmatch(name)]
    if managed:
        console.complain(
            f"Left out, since they only say where a deployment is: {', '.join(managed)}"
        )
    wanted = {name: value for name, value in found.items() if name not in managed}
    if not wanted:
        msg = f"there are no variables to set in {'standard input' if file is None else file}"
        raise CallFailed(msg)
    return wanted


def _read_value(name: str, file: Path | None) -> str:
    if file is not None:
        return _read(file)
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True))
    text = sys.stdin.read()
    if not text:
        # A script that forgot the value must not empty the variable.
        msg = f'standard input is empty: give the value of {name}, or "" for an empty one'
        raise CallFailed(msg)
    # The line end is the shell's, not the value's.
    return text.removesuffix("\n").removesuffix("\r")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        msg = f"{file} is not UTF-8"
        raise CallFailed(msg) from None


def _line(name: str, value: str, console: Console) -> str:
    try:
        return format_dotenv(name, value)
    except NotDotenv as error:
        console.complain(error.sentence)
        return f"# {name} is left out"
