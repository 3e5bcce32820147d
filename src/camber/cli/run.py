"""`camber run`: any function of a running deployment."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.completion import function_paths
from camber.cli.console import Console
from camber.cli.options import ComponentPath, on_deployment
from camber.cli.printing import print_json

Arguments = Annotated[str, typer.Argument(metavar="JSON", help="Its arguments, as a JSON object.")]
ClaimsOption = Annotated[
    str | None,
    typer.Option("--identity", help="The user to be: a JSON object of claims."),
]

#: Functions that are named beside one that is not there.
_SUGGESTIONS = 12


@on_deployment
def run(
    client: Client,
    console: Console,
    function: Annotated[
        str,
        typer.Argument(
            metavar="FUNCTION",
            help="A function, such as messages:send.",
            autocompletion=function_paths,
        ),
    ],
    arguments: Arguments = "{}",
    watching: Annotated[  # noqa: FBT002
        bool, typer.Option("--watch", help="Print a query's result whenever it changes.")
    ] = False,
    identity: ClaimsOption = None,
    component: ComponentPath = "",
) -> None:
    """Run a function of a running deployment, internal ones too, and print its result as JSON."""
    args = json_object(arguments, "the arguments are")
    acting_as = None if identity is None else identity_of(identity)
    if watching:
        _watch(client, function, args, acting_as, component, console)
        return
    try:
        answer = client.run(function, args, acting_as=acting_as, component=component)
    except CallFailed as error:
        raise with_suggestions(client, function, component, error) from error
    for line in answer.log_lines:
        console.complain(line)
    print_json(answer.value)


def _watch(
    client: Client,
    function: str,
    args: Mapping[str, Any],
    acting_as: Mapping[str, Any] | None,
    component: str,
    console: Console,
) -> None:
    is_first = True
    for result in client.watch(function, args, acting_as=acting_as, component=component):
        if not isinstance(result, CallFailed):
            print_json(result)
        elif is_first:
            raise with_suggestions(client, function, component, result)
        else:
            # What a query has met may pass: it goes on being watched.
            console.complain(result.sentence)
        is_first = False


def json_object(text: str, what: str) -> dict[str, Any]:
    """Return the JSON object that a text is; `what` begins the sentence that says it is none.

    Raises:
        CallFailed: it is none.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f'{what} not JSON: {error}. Write an object, as in \'{{"name": "value"}}\''
        raise CallFailed(msg) from None
    if not isinstance(found, dict):
        msg = f"{what} a JSON object, not {text}"
        raise CallFailed(msg)
    return found


def identity_of(text: str) -> dict[str, Any]:
    """Return the claims of a made-up user; who is not named has a name made of the claims."""
    claims = json_object(text, "the identity is")
    digest = sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()[:16]
    subject = claims.get("subject", digest)
    issuer = claims.get("issuer", "https://camber.test")
    return {
        "subject": subject,
        "issuer": issuer,
        "tokenIdentifier": f"{issuer}|{subject}",
        **claims,
    }


def with_suggestions(
    client: Client, function: str, component: str, error: CallFailed
) -> CallFailed:
    """Return the error with the functions that there are, if it is that there is no such one."""
    # One that a function has raised is of what that has called.
    if "Could not find function" not in error.sentence or "Uncaught" in error.sentence:
        return error
    try:
        spec = client.query("_system/cli/modules:apiSpec", component=component)
    except CallFailed:
        # A key that may run functions need not be one that may list them.
        return error
    names = sorted(
        item["identifier"].replace(".js:", ":").removesuffix(":default")
        for item in spec
        if item["functionType"] != "HttpAction"
    )
    near = difflib.get_close_matches(function, names, n=_SUGGESTIONS, cutoff=0.5)
    listed = ", ".join(near or names[:_SUGGESTIONS])
    more = "" if near or len(names) <= _SUGGESTIONS else f" and {len(names) - _SUGGESTIONS} more"
    there = f"There are: {listed}{more}" if names else "The deployment has no functions"
    return CallFailed(f"{error.sentence}\n{there}", code=error.code)
