"""`camber status`: how a deployment is doing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from camber.cli.client import Client
from camber.cli.console import Console
from camber.cli.options import on_deployment
from camber.cli.printing import moment, print_json, print_table


@on_deployment
def status(
    client: Client,
    console: Console,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Say how a deployment is doing: its release, tables, indexes and clients."""
    found = client.get("/api/camber/status")
    if as_json:
        print_json(found)
        return
    for name, value in _facts(found):
        console.say(f"{name:<12}{value}")
    if found["tables"]:
        console.say("")
        rows = [(each["name"], str(each["documents"]), _indexes(each)) for each in found["tables"]]
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
        # A server of before does not say them.
        *[("components", ", ".join(there)) for there in [found.get("components")] if there],
        ("last commit", f"{moment(newest_ms)} ({found['newestTimestamp']})"),
        ("clients", f"{found['clients']} connected"),
    ]


def _release(release: dict[str, Any] | None) -> str:
    if release is None:
        return "none yet"
    message = f": {release['message']}" if release["message"] else ""
    return f"{release['number']}, {moment(release['time'])} by {release['origin']}{message}"


def _indexes(table: dict[str, Any]) -> str:
    return ", ".join(_index(each) for each in table["indexes"])


def _index(index: dict[str, Any]) -> str:
    kinds = {"searchField": "search", "vectorField": "vectors"}
    notes = [note for field, note in kinds.items() if field in index["fields"]]
    if index["state"] != "enabled":
        notes.append(index["state"])
    return f"{index['name']} ({', '.join(notes)})" if notes else index["name"]
