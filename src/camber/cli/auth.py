"""`camber auth`: what an application needs to sign its users in, and the keys that it does so with."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from camber import limits
from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.options import on_deployment
from camber.cli.printing import moment, print_json
from camber.cli.reporting import reporting
from camber.deployment.project import Project, load_project
from camber.errors import CamberError
from camber.functions.loading import load_application

app = typer.Typer(help="Sign users in: docs/signing-in.md.", no_args_is_help=True)
keys = typer.Typer(help="The keys that sign the tokens of users.", no_args_is_help=True)
app.add_typer(keys, name="keys")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
#: How long before a key is replaced a function may have read it which signs after that.
_SIGNING_S: Final = 60

_USERS: Final = '''\
"""Who has signed up."""

from camber.components.auth import AuthUser


class User(AuthUser, table="users"):
    """Somebody who has signed up. Add fields of your own, with defaults: nobody signs up with them."""

    roles: list[str] = []
'''

_AUTH: Final = '''\
"""Signing in: clients call `auth:signIn` and `auth:signOut`."""

from camber import QueryCtx, query
from camber.components.auth import Auth, Password

from {module} import {user}

auth = Auth(__name__, users={user}, providers=[Password()])
#: Who calls: `@query(allow=users.signed_in)`, `allow=users.role("admin")`, `users.require(ctx)`.
users = auth.users


@query
def me(ctx: QueryCtx) -> {user} | None:
    """Who is signed in."""
    return auth.user(ctx)
'''

_AUTH_CONFIG: Final = '''\
"""Whose tokens are accepted: those that this deployment has signed."""

from camber import Env, OidcProvider

providers = [OidcProvider(domain=Env("CONVEX_SITE_URL"), application_id="convex")]
'''

_HTTP: Final = '''\
"""What answers HTTP: where the public keys are, and where browsers come back from other providers."""

from camber import HttpRouter

from .auth import auth

http = HttpRouter()
auth.add_http_routes(http)
'''

_ROUTES: Final = """\
    from .auth import auth

    auth.add_http_routes(http)"""


class AuthInitRefused(CamberError):
    """A project to which signing in cannot be added; nothing was written."""

    code = "AuthInitRefused"


@app.command()
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The project's folder.")
    ] = Path(),
) -> None:
    """Add signing in with a password to a project; what is there is not changed."""
    console = Console()
    with reporting(console):
        project = load_project(directory)
        files = _files(project)
        _write(project.functions_path, files)
        for name in files:
            console.say(f"Wrote {project.functions}/{name}")
        if "http.py" not in files:
            console.say(
                f"\nAdd to {project.functions}/http.py, which is there already:\n\n{_ROUTES}"
            )
        console.say(
            "\nSay where your pages are, to a server that runs; it makes its keys by itself:\n\n"
            "    camber env set SITE_URL http://localhost:5173\n\n"
            "The page is ConvexAuthProvider's, of the npm package @convex-dev/auth:\n\n"
            "    npm install @convex-dev/auth@0.0.95 @auth/core@0.41.3"
        )


def _files(project: Project) -> Mapping[str, str]:
    """Return what is to be written, by name.

    Raises:
        AuthInitRefused: it would take the place of something, or stand beside other users.
        LoadError: the project does not load as it is.
    """
    folder = project.functions_path
    if not folder.is_dir():
        msg = f"the functions folder {project.functions!r} is not in {project.root}"
        raise CamberError(msg, code="ProjectError")
    taken = [name for name in ("auth", "auth_config") if _module(folder, name) is not None]
    module, user = _users(project)
    files = {"auth.py": _AUTH.format(module=module, user=user), "auth_config.py": _AUTH_CONFIG}
    if module == _OWN_USERS:
        files["users.py"] = _USERS
        taken += ["users"] if _module(folder, "users") is not None else []
    if taken:
        there = ", ".join(f"{project.functions}/{_module(folder, name)}" for name in taken)
        msg = f"{there} would be overwritten. Nothing was written; move what is there away, or add to it"
        raise AuthInitRefused(msg)
    if _module(folder, "http") is None:
        files["http.py"] = _HTTP
    return files


#: The module of users that a project gets which has none.
_OWN_USERS: Final = ".users"


def _module(folder: Path, name: str) -> str | None:
    """Return the file or folder of a module, if there is one."""
    return next((each for each in (f"{name}.py", name) if (folder / each).exists()), None)


def _users(project: Project) -> tuple[str, str]:
    """Return the module and the class of the table of users, which may be there already."""
    from camber.components.auth import AuthUser

    application = load_application(project.root, project.functions)
    table = application.tables.get("users")
    if table is None:
        return _OWN_USERS, "User"
    if not issubclass(table.cls, AuthUser):
        msg = (
            f"{table.where} declares the table 'users', and those who sign in are to be in it. Let it "
            "extend what signing in stores, and run this again:\n"
            + textwrap.indent(
                "from camber.components.auth import AuthUser\n"
                f'class {table.cls.__name__}(AuthUser, table="users"): …',
                "    ",
            )
        )
        raise AuthInitRefused(msg)
    return f".{table.cls.__module__.partition('.')[2]}", table.cls.__name__


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files that are not there: all of them, or none.

    Raises:
        OSError: one cannot be written, or is there.
    """
    written: list[Path] = []
    try:
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                written.append(folder / name)
                file.write(text)
    except OSError:
        for path in written:
            path.unlink()
        raise


@keys.command()
@on_deployment
def rotate(
    client: Client,
    console: Console,
    trusted_for: Annotated[
        str | None,
        typer.Option(
            "--trusted-for",
            help="For how long what the keys before have signed is accepted, such as 2h; 0s signs all "
            "out whose key was stolen. Without it: until the last of those tokens has expired.",
        ),
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002
) -> None:
    """Sign the tokens of users with a new key; who is signed in stays so."""
    trusted_s = _token_lifetime_s(client) + _SIGNING_S if trusted_for is None else _s(trusted_for)
    rotated = client.post(
        "/api/camber/signing_keys/rotate",
        {"trustedS": min(trusted_s, limits.signing_key_trusted_s_max)},
    )
    if as_json:
        print_json(rotated)
        return
    console.say(f"Tokens are signed with the key {rotated['kid']} from now on")
    for key in rotated["trusted"]:
        console.say(
            f"What {key['kid'] or 'a key without a name'} has signed is accepted until "
            f"{moment(key['until'])}"
        )


def _token_lifetime_s(client: Client) -> float:
    try:
        found: Any = client.query("auth:tokenLifetime")
    except CallFailed as error:
        if error.code != "FunctionFailed":
            raise
        msg = (
            "the application does not say how long its tokens are good, as one with Auth(…) in "
            f"auth.py does: {error.sentence.splitlines()[0]}. Give --trusted-for"
        )
        raise CallFailed(msg) from None
    return float(found)


def _s(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f"--trusted-for {text!r} is no duration such as 2h, 30m or 0s"
        raise CallFailed(msg)
    found = float(int(match.group(1)) * _UNIT_S[match.group(2)])
    if found > limits.signing_key_trusted_s_max:
        days = limits.signing_key_trusted_s_max // _UNIT_S["d"]
        msg = f"--trusted-for {text!r} is too long: a key that signs no more is trusted {days} days"
        raise CallFailed(msg)
    return found
