"""`camber keys`: admin and deploy keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.options import on_deployment
from camber.cli.printing import moment, print_json, print_table
from camber.cli.reporting import reporting
from camber.deployment.instance import existing_instance
from camber.deployment.project import load_project
from camber.identity.admin_keys import root_key
from camber.identity.operations import Operation

app = typer.Typer(help="Make, list and revoke admin and deploy keys.", no_args_is_help=True)

_LIFETIME: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
#: A scope that is all of them.
_EVERYTHING: Final = "admin"
_SCOPES: Final = ", ".join([_EVERYTHING, *(operation.value for operation in Operation)])

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@on_deployment
def create(
    client: Client,
    console: Console,
    name: Annotated[str, typer.Option("--name", help="What the key is for, such as ci.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help=f"What it allows; may be repeated: {_SCOPES}.")
    ],
    expires: Annotated[
        str | None, typer.Option("--expires", help="How long it is valid: 90d, 12h, 30m.")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Make a key and print it: this is the only time that it is shown."""
    everything = [operation.value for operation in Operation]
    body = {
        "name": name,
        "allows": everything if _EVERYTHING in scope else scope,
        "lifetimeS": None if expires is None else _lifetime_s(expires),
    }
    made = client.post("/api/camber/keys", body)
    if as_json:
        print_json(made)
        return
    until = "does not expire" if made["expires"] is None else f"expires {_until(made)}"
    console.complain(
        f"Key {name!r} allows {', '.join(made['allows'])} and {until}. "
        "Keep it: it is not shown again"
    )
    console.say(made["key"])


@app.command("list")
@on_deployment
def list_(
    client: Client,
    console: Console,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """List the keys that were made and not revoked."""
    keys = client.get("/api/camber/keys")["keys"]
    if as_json:
        print_json(keys)
    elif not keys:
        console.complain("No keys were made; the root key is always valid")
    else:
        rows = [
            (
                key["name"],
                key["id"],
                ", ".join(key["allows"]),
                moment(key["created"]),
                _until(key),
            )
            for key in keys
        ]
        print_table(("name", "id", "allows", "created", "expires"), rows)


@app.command()
@on_deployment
def revoke(
    client: Client,
    console: Console,
    key: Annotated[str, typer.Argument(help="The name or the id of a key.")],
) -> None:
    """End a key at once, for connections that are open too."""
    revoked = client.post("/api/camber/keys/revoke", {"key": key})
    console.say(f"Revoked {revoked['name']} ({revoked['id']})")


@app.command()
def root(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The project's folder.")
    ] = Path(),
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where the deployment keeps its data.", envvar="CAMBER_DATA"),
    ] = None,
) -> None:
    """Print the root key of a deployment on this machine, from its data; no server is needed."""
    console = Console()
    with reporting(console):
        instance = existing_instance(data or directory / ".camber", _name(directory))
        console.say(root_key(instance.name, instance.secret))


def _name(directory: Path) -> str:
    """Return what the deployment is called: a server can be started before it has a project."""
    has_project = (directory / "pyproject.toml").is_file()
    return load_project(directory).name if has_project else "camber"


def _lifetime_s(text: str) -> float:
    match = _LIFETIME.fullmatch(text)
    if match is None or int(match.group(1)) == 0:
        msg = f"--expires {text!r} is no duration such as 90d, 12h or 30m"
        raise CallFailed(msg)
    return float(int(match.group(1)) * _UNIT_S[match.group(2)])


def _until(key: dict[str, object]) -> str:
    expires = key["expires"]
    if not isinstance(expires, int | float):
        return "never"
    return f"{moment(expires)}{' (has expired)' if key['hasExpired'] else ''}"
