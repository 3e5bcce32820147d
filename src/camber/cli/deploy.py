"""`camber deploy`: push a project's folder to a server that runs elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from camber.cli.client import CallFailed, Client, Target, read_env_local, target_of
from camber.cli.console import Console
from camber.cli.options import Url
from camber.cli.reporting import reporting
from camber.deployment.archive import pack
from camber.deployment.project import Project, load_project
from camber.deployment.source import digest_of, release_files
from camber.errors import CamberError

if TYPE_CHECKING:
    import httpx

_URL_NAMES = ("CAMBER_URL", "CONVEX_SELF_HOSTED_URL")
_KEY_NAMES = ("CAMBER_DEPLOY_KEY", "CONVEX_SELF_HOSTED_ADMIN_KEY", "CAMBER_ADMIN_KEY")
#: Where a project says which deployment it goes to; `.env.local` names the one of `camber dev`.
_ENV_FILES = (".env.production.local", ".env.production", ".env", ".env.local")

#: Which variable a front end's build reads the deployment's URL from, by a package it depends on.
_URL_VARIABLES = {
    "next": "NEXT_PUBLIC_CONVEX_URL",
    "expo": "EXPO_PUBLIC_CONVEX_URL",
    "react-scripts": "REACT_APP_CONVEX_URL",
    "@sveltejs/kit": "PUBLIC_CONVEX_URL",
    "vite": "VITE_CONVEX_URL",
}
_ANY_URL_VARIABLE = "CONVEX_URL"

_STAGES = {
    "unpacking": "Unpacking",
    "installing": "Installing dependencies",
    "loading": "Loading the functions",
    "pushing": "Comparing with what is stored, and switching over",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})


class DeployFailed(CamberError):
    """A push that did not happen; the server goes on as before."""

    code = "DeployFailed"


def deploy(
    directory: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR", help="The project's folder, or the number that --rollback goes to."
        ),
    ] = None,
    url: Url = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            "--admin-key",
            help="An admin key, or one that may deploy.",
            envvar=list(_KEY_NAMES),
            metavar="KEY",
            rich_help_panel="Deployment",
        ),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            help="A file that has CAMBER_URL and CAMBER_DEPLOY_KEY.",
            metavar="FILE",
            rich_help_panel="Deployment",
        ),
    ] = None,
    message: Annotated[
        str, typer.Option("--message", "-m", help="What is new, for --list.", metavar="TEXT")
    ] = "",
    dry_run: Annotated[  # noqa: FBT002
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    rollback: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--rollback", help="Go back to release DIR, or to the one before this one."),
    ] = False,
    list_: Annotated[  # noqa: FBT002
        bool, typer.Option("--list", help="List the last releases.")
    ] = False,
    drop_large_indexes: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--allow-deleting-large-indexes",
            "--yes",
            "-y",
            help="Drop indexes of large tables without being asked.",
        ),
    ] = False,
    command: Annotated[
        str | None,
        typer.Option(
            "--cmd",
            help="Build the front end first: a shell command that gets the deployment's URL.",
            metavar="COMMAND",
            rich_help_panel="Front end",
        ),
    ] = None,
    url_variable: Annotated[
        str | None,
        typer.Option(
            "--cmd-url-env-var-name",
            help="The variable that --cmd gets the URL in; by default what its framework reads.",
            metavar="NAME",
            rich_help_panel="Front end",
        ),
    ] = None,
) -> None:
    """Push a project to a server that runs `camber start`."""
    console = Console()
    with reporting(console):
        number = _number(directory) if rollback else None
        folder = Path() if directory is None or rollback else Path(directory)
        client = Client(_target(folder, url, admin_key, env_file))
        options = {"message": message, "dryRun": dry_run, "dropLargeIndexes": drop_large_indexes}
        if list_:
            _print_releases(console, client.get("/api/deploy/releases")["releases"])
        elif rollback:
            _finish(console, _asking(lambda wish: _roll_back(client, number, wish), options))
        else:
            project = load_project(folder)
            if command is not None:
                _build(console, client, project, command, url_variable)
            try:
                result = _asking(lambda wish: _upload(client, project, wish), options)
            except CallFailed as error:
                raise _with_hint(error, project) from None
            _finish(console, result)


def _with_hint(error: CallFailed, project: Project) -> CallFailed:
    """Say what to do about a module that the project has and the release has not."""
    found = re.search(r"No module named '([^'.]+)", error.sentence)
    name = "" if found is None else found[1]
    for path in (name, f"{name}.py"):
        if name and path not in project.include and (project.root / path).exists():
            hint = f'{path} is no part of the release: add include = ["{path}"] to [tool.camber]'
            return CallFailed(f"{error.sentence}\n{hint}", code=error.code)
    return error


def _number(text: str | None) -> int | None:
    if text is None or (text.isascii() and text.isdigit()):
        return None if text is None else int(text)
    msg = f"--rollback takes the number of a release, not {text!r}; `--list` has them"
    raise typer.BadParameter(msg)


def _target(root: Path, url: str | None, admin_key: str | None, env_file: Path | None) -> Target:
    """Return where to deploy: as given, else the first file that names a deployment.

    A file's key goes to the deployment that the file names, and to no other.
    """
    if env_file is not None and not env_file.is_file():
        raise DeployFailed(f"--env-file {env_file} is no file")
    files = [root / name for name in _ENV_FILES] if env_file is None else [env_file]
    for file in files:
        written = read_env_local(file)
        found_url = _first(written, _URL_NAMES)
        if found_url is None or (url is not None and url.rstrip("/") != found_url.rstrip("/")):
            continue
        url = url or found_url
        admin_key = admin_key or _first(written, _KEY_NAMES)
        break
    return target_of(root, url, admin_key)


def _first(written: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((written[name] for name in names if written.get(name)), None)


# Pushing.

_Result = dict[str, Any]


def _asking(push: Callable[[Mapping[str, Any]], _Result], options: Mapping[str, Any]) -> _Result:
    """Push; where a large index would go, ask whoever sits at the terminal, and push again."""
    try:
        return push(options)
    except CallFailed as error:
        if error.code != "LargeIndexesDropped" or not sys.stdin.isatty():
            raise
        typer.echo(error.sentence, err=True)
        if not typer.confirm("Drop them?"):
            raise DeployFailed("nothing was pushed") from None
        return push({**options, "dropLargeIndexes": True})


def _upload(client: Client, project: Project, options: Mapping[str, Any]) -> _Result:
    if not project.functions_path.is_dir():
        msg = f"the functions folder {project.functions!r} is not in {project.root}"
        raise DeployFailed(msg)
    files = release_files(project.root, project.functions, project.include)
    digest = digest_of(project.root, files)
    with tempfile.TemporaryFile() as archive, _progress() as show:
        pack(project.root, files, archive)
        size = archive.tell()
        archive.seek(0)
        show(f"Uploading {_count(len(files), 'file')} ({_size(size)}) to {client.url}")
        parameters = {
            "digest": digest,
            "message": options["message"],
            "dry_run": _flag(options["dryRun"]),
            "drop_large_indexes": _flag(options["dropLargeIndexes"]),
        }
        headers = {"Content-Type": "application/gzip", "Content-Length": str(size)}
        with client.stream(
            "POST", "/api/deploy", params=parameters, content=archive, headers=headers
        ) as response:
            return _followed(response, show)


def _roll_back(client: Client, number: int | None, options: Mapping[str, Any]) -> _Result:
    body = {"release": number, **options}
    with (
        _progress() as show,
        client.stream("POST", "/api/deploy/rollback", json=body) as response,
    ):
        return _followed(response, show)


def _followed(response: httpx.Response, show: Callable[[str], None]) -> _Result:
    """Show the stages of a push and return its result.

    Raises:
        CallFailed: it failed, with the server's code and words.
        DeployFailed: the server did not say how it ended.
    """
    import httpx

    stage = last = ""
    try:
        for text in response.iter_lines():
            if not text:
                continue
            line = json.loads(text)
            if "error" in line:
                raise CallFailed(line["error"]["message"], code=line["error"]["code"])
            if "result" in line:
                result: _Result = line["result"]
                return result
            stage = line["stage"]
            if (text := _shown(line)) != last:
                show(text)
                last = text
    except KeyboardInterrupt:
        typer.echo(_left_at(stage), err=True)
        raise
    except (httpx.HTTPError, ValueError):
        pass  # The connection was cut; what that means is said below.
    msg = f"the server ended the connection before it said how the push went. {_left_at(stage)}"
    raise DeployFailed(msg)


def _shown(line: Mapping[str, Any]) -> str:
    stage = str(line["stage"])
    text = _STAGES.get(stage, stage)
    if checked := line.get("documentsChecked"):
        text += f"; {checked:,} documents checked"
    if total := line.get("indexesTotal"):
        text += f"; {line['indexesBuilt']} of {total} indexes built"
        text += f", {line['documentsIndexed']:,} documents in all"
    return text


def _left_at(stage: str) -> str:
    if stage == "pushing":
        return "Nothing was pushed, unless it was just done: `camber deploy --list` says."
    return "Nothing was pushed."


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what shows a step: a line that moves on a terminal, lines where there is none."""
    from rich.console import Console as Terminal

    terminal = Terminal(stderr=True)
    if not terminal.is_terminal:
        yield lambda text: typer.echo(text, err=True)
        return
    with terminal.status("Packing") as status:
        yield lambda text: status.update(text)


def _flag(value: bool) -> str:  # noqa: FBT001  # as the query string has it
    return "true" if value else "false"


def _size(count: int) -> str:
    return f"{count / 1024:.0f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


# What is told.


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _finish(console: Console, result: _Result) -> None:
    what = _count(result["functions"], "function")
    if result["dryRun"]:
        console.say(f"Nothing was changed. This would be release {result['release']}, {what}:")
    else:
        console.say(f"Release {result['release']} serves, {what}:")
    changes = [
        f"  {sign} {kind} {name}"
        for sign, kind, key in (
            ("+", "function", "functionsAdded"),
            ("-", "function", "functionsRemoved"),
            ("+", "table", "tablesAdded"),
            ("-", "table", "tablesRemoved"),
            ("+", "index", "indexesBuilt"),
            ("+", "staged index", "indexesStaged"),
            ("+", "enabled index", "indexesEnabled"),
            ("-", "index", "indexesDropped"),
            ("+", "identity provider", "providersAdded"),
            ("-", "identity provider", "providersRemoved"),
        )
        # An older server does not tell of all.
        for name in result.get(key, ())
    ]
    for line in changes or ["  the same functions, tables, indexes and identity providers"]:
        console.say(line)
    for note in result["notes"]:
        console.say(f"Note: {note}")


def _print_releases(console: Console, releases: list[dict[str, Any]]) -> None:
    if not releases:
        console.say("No release yet")
    for release in releases:
        when = datetime.fromtimestamp(release["time"] / 1000, UTC)
        parts = [
            f"{release['release']:>5}{'*' if release['serves'] else ' '}",
            f"{when:%Y-%m-%d %H:%M:%S}Z",
            f"{release['origin']:<8}",
            f"{release['digest'][:12]:<12}",
            release["message"] or ("" if release["isKept"] else "(sources are not kept)"),
        ]
        console.say(" ".join(parts).rstrip())


# The front end.


def _build(
    console: Console, client: Client, project: Project, command: str, variable: str | None
) -> None:
    """Run the front end's build with the deployment's URLs in its environment.

    Raises:
        DeployFailed: it failed; nothing is pushed then.
    """
    name = variable or _url_variable(project.root)
    urls = client.get("/api/v1/get_canonical_urls")
    cloud, site = urls["convexCloudUrl"], urls["convexSiteUrl"]
    if _is_loopback(cloud) and not _is_loopback(client.url):
        # A server behind a proxy that was not told its own address: the one we reached it by works.
        cloud = client.url
    values = {name: cloud}
    if name.endswith("CONVEX_URL") and not (_is_loopback(site) and not _is_loopback(cloud)):
        values[f"{name.removesuffix('CONVEX_URL')}CONVEX_SITE_URL"] = site
    console.say(f"Running {command!r} with {name}={cloud}")
    done = subprocess.run(
        command,
        shell=True,  # what a person typed for their shell
        cwd=project.root,
        env={**_without_keys(os.environ), **values},
        check=False,
    )
    if done.returncode != 0:
        msg = f"--cmd {command!r} ended with status {done.returncode}; nothing was pushed"
        raise DeployFailed(msg)


def _url_variable(root: Path) -> str:
    try:
        package = json.loads((root / "package.json").read_text(encoding="utf-8"))
        needs = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
    except (OSError, ValueError, AttributeError, TypeError):
        needs = {}
    return next((name for each, name in _URL_VARIABLES.items() if each in needs), _ANY_URL_VARIABLE)


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in _KEY_NAMES}


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK
