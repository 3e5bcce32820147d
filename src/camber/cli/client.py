"""Calling a running deployment, as its admin."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from websockets.sync.client import connect

from camber.errors import CamberError
from camber.version import VERSION

_TIMEOUT_S = 60.0


class CallFailed(CamberError):
    """A call that the deployment answered with an error, or did not answer."""

    code = "CallFailed"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment is and its admin key."""

    url: str
    admin_key: str


def target_of(root: Path, url: str | None, admin_key: str | None) -> Target:
    """Return the deployment to call: as given, else the one that `.env.local` names.

    Raises:
        CallFailed: neither says.
    """
    written = _read_env(root / ".env.local")
    url = url or written.get("CONVEX_SELF_HOSTED_URL")
    admin_key = admin_key or written.get("CONVEX_SELF_HOSTED_ADMIN_KEY")
    if url is None or admin_key is None:
        msg = (
            f"no deployment is named: run `camber dev` in {root} first, which writes .env.local, "
            "or give --url and --admin-key"
        )
        raise CallFailed(msg)
    return Target(url, admin_key)


def call(target: Target, path: str, args: dict[str, Any]) -> tuple[Any, list[str]]:
    """Run any function and return its result, as plain JSON, and its log lines.

    Raises:
        CallFailed: it failed, or the deployment cannot be reached.
    """
    body = {"path": path, "args": args, "format": "json"}
    headers = {
        "Authorization": f"Convex {target.admin_key}",
        "Convex-Client": f"camber-cli-{VERSION}",
    }
    try:
        response = httpx.post(
            f"{target.url}/api/function", json=body, headers=headers, timeout=_TIMEOUT_S
        )
    except httpx.HTTPError as error:
        msg = f"{target.url} does not answer: {error}. Is `camber dev` running?"
        raise CallFailed(msg) from error
    answer = response.json()
    if response.status_code != 200:
        raise CallFailed(answer.get("message", response.text))
    if answer["status"] != "success":
        raise CallFailed(answer["errorMessage"].strip())
    return answer["value"], answer.get("logLines", [])


def watch(target: Target, path: str, args: dict[str, Any]) -> Iterator[Any]:
    """Yield a query's result, and again whenever it changes.

    Raises:
        CallFailed: it is refused, or the deployment cannot be reached.
    """
    parts = urlsplit(target.url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    url = urlunsplit((scheme, parts.netloc, "/api/sync", "", ""))
    try:
        with connect(url, max_size=None) as socket:
            for message in _subscribe(target, path, args):
                socket.send(json.dumps(message))
            for text in socket:
                yield from _results(json.loads(text))
    except OSError as error:
        msg = f"{target.url} does not answer: {error}. Is `camber dev` running?"
        raise CallFailed(msg) from error


def _subscribe(target: Target, path: str, args: dict[str, Any]) -> list[dict[str, Any]]:
    add = {"type": "Add", "queryId": 0, "udfPath": path, "args": [args]}
    return [
        {"type": "Connect", "sessionId": str(uuid.UUID(int=0)), "connectionCount": 0},
        {
            "type": "Authenticate",
            "baseVersion": 0,
            "tokenType": "Admin",
            "value": target.admin_key,
        },
        {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]},
    ]


def _results(message: dict[str, Any]) -> Iterator[Any]:
    match message["type"]:
        case "Transition":
            for change in message["modifications"]:
                if change["type"] == "QueryFailed":
                    raise CallFailed(change["errorMessage"].strip())
                yield change["value"]
        case "AuthError" | "FatalError":
            raise CallFailed(message["error"])
        case _:
            return


def _read_env(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = value.strip().strip('"')
    return found
