"""What a shell completes beside commands and options: functions and tables of the deployment.

It asks the deployment that `.env.local` names, or the options typed so far. Whatever goes wrong
there is nothing to complete: a shell that waits or complains while one types is worse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import typer

from camber.cli.client import Target, target_of
from camber.errors import CamberError

#: How long a person who has pressed Tab waits, in seconds.
_ANSWER_S_MAX: Final = 2.0
_NAMES_MAX: Final = 1000


def function_paths(context: typer.Context, incomplete: str) -> list[str]:
    """Return the functions of the deployment that begin so."""
    found = _query(context, "_system/cli/modules:apiSpec", {})
    paths = [
        _without_extension(each["identifier"])
        for each in found or []
        if isinstance(each, dict) and isinstance(each.get("identifier"), str)
    ]
    return [path for path in paths if path.startswith(incomplete)]


def table_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the tables of the deployment that begin so."""
    first = {"paginationOpts": {"numItems": _NAMES_MAX, "cursor": None}}
    found = _query(context, "_system/cli/tables", first)
    rows = found.get("page", []) if isinstance(found, dict) else []
    names = [str(row["name"]) for row in rows]
    return [name for name in names if name.startswith(incomplete)]


def _without_extension(identifier: str) -> str:
    # The official command line's names for modules: `messages.js:send`.
    module, _, function = identifier.partition(":")
    return f"{module.removesuffix('.js')}:{function}"


def _query(context: typer.Context, path: str, args: dict[str, Any]) -> Any:
    import httpx

    try:
        target = _target(context)
        response = httpx.post(
            f"{target.url}/api/function",
            json={"path": path, "args": args, "format": "json"},
            headers={"Authorization": f"Convex {target.admin_key}"},
            timeout=_ANSWER_S_MAX,
        )
        return response.json().get("value")
    except (CamberError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, AttributeError):
        return None


def _target(context: typer.Context) -> Target:
    given = context.params
    return target_of(given.get("directory") or Path(), given.get("url"), given.get("admin_key"))
