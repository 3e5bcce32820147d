"""`camber components`: what is mounted, and what is left of what is mounted no more."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.options import on_deployment
from camber.cli.printing import print_json, print_table

app = typer.Typer(
    help="List components, and delete the data of unmounted ones.", no_args_is_help=True
)


@app.command("list")
@on_deployment
def list_(
    client: Client,
    console: Console,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """List the components that are mounted or have data."""
    found = client.get("/api/camber/components")["components"]
    if as_json:
        print_json(found)
    elif not found:
        console.complain("No components are mounted, and none has left data")
    else:
        rows = [
            (
                each["path"],
                each["state"],
                str(sum(each["documents"].values())),
                str(each["files"]),
                str(each["scheduledFunctions"]),
            )
            for each in found
        ]
        print_table(("component", "state", "documents", "files", "scheduled functions"), rows)


@app.command()
@on_deployment
def delete(
    client: Client,
    console: Console,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="The path of a component that is not mounted.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002
) -> None:
    """Delete all data of an unmounted component for good: documents, files, scheduled functions."""
    found = client.get("/api/camber/components")["components"]
    inside = [each for each in found if f"{each['path']}/".startswith(f"{path}/")]
    for each in inside:
        if each["state"] == "mounted":
            msg = f"component {each['path']!r} is mounted: push a release that does not mount it first"
            raise CallFailed(msg, code="ComponentMounted")
    if not inside:
        there = ", ".join(repr(each["path"]) for each in found) or "none"
        raise CallFailed(f"there is no component {path!r}; there are: {there}")
    console.say("\n".join(["For good would go:", *(_line(each) for each in inside)]))
    if not yes:
        if not sys.stdin.isatty():
            raise CallFailed("nobody is there to confirm it: give --yes")
        if not typer.confirm("Delete?"):
            raise CallFailed("nothing was deleted")
    gone = client.post("/api/delete_component", {"componentId": path})
    console.say(
        f"Deleted {gone['documents']} documents, {gone['files']} files and "
        f"{gone['scheduledFunctions']} scheduled functions of {path}"
    )


def _line(component: Mapping[str, Any]) -> str:
    tables = ", ".join(
        f"{name} ({count})" for name, count in sorted(component["documents"].items())
    )
    return (
        f"  {component['path']}: tables {tables or 'none'}; {component['files']} files "
        f"({component['fileBytes']} bytes); {component['scheduledFunctions']} scheduled functions"
    )
