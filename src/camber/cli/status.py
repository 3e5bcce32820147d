"""`camber status`: how a deployment is doing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from camber.cli.client import Client, target_of
from camber.cli.console import Console
from camber.cli.options import AdminKey, Directory, Url
from camber.cli.printing import moment, print_json, print_table
from camber.cli.reporting import reporting


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
    directory: Directory = Path(),
    url: Url = None,
    admin_key: AdminKey = None,
) -> None:
    """Say how a deployment is doing: its release, tables, indexes and clients."""
    console = Console()
    with reporting(console):
        found = Client(target_of(directory, url, admin_key)).get("/api/camber/status")
        if as_json:
            print_json(found)
            return
        for name, value in _facts(found):
            console.say(f"{name:<12}{value}")
        if found["tables"]:
            console.say("")
            rows = [
                (each["name"], str(each["documents"]), _indexes(each)) for each in found["tables"]
            ]
            print_table(("table", "documents", "indexes"), rows)


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    release = found["release"]
    newest_ms = int(found["newestTimestamp"]) / 1e6
    return [
        ("deployment", f"{found['name']}, Camber {found['version']}"),
        ("url", found["cloudUrl"]),
        ("site url", found["siteUrl"]),
        ("release", _release(release)),
        ("functions", f"{found['functions']}, and {found['httpRoutes']} HTTP routes"),
        ("last commit", f"{moment(newest_ms)} ({found['newestTimestamp']})"),
        ("clients", f"{found['clients']} connected"),
    ]


def _release(release: dict[str, Any] | None) -> str:
    if release is None:
        return "none yet"
    message = f": {release['message']}" if release["message"] else ""
    return f"{release['number']}, {moment(release['time'])} by {release['origin']}{message}"


def _indexes(table: dict[str, Any]) -> str:
    return ", ".join(
        each["name"] if each["state"] == "enabled" else f"{each['name']} ({each['state']})"
        for each in table["indexes"]
    )
