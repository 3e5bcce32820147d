"""What commands share: the options that say which deployment they are for, and how they end.

@on_deployment
def status(client: Client, console: Console, as_json: AsJson = False) -> None:
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec, get_type_hints

import typer

from camber.cli.client import Client, target_of
from camber.cli.console import Console
from camber.cli.reporting import reporting

P = ParamSpec("P")

#: What commands have of their own comes before.
_PANEL: Final = "Deployment"

Directory = Annotated[
    Path,
    typer.Option(
        "--dir",
        help="The project's folder, whose .env.local names the deployment.",
        metavar="DIR",
        rich_help_panel=_PANEL,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="The deployment's origin.",
        envvar=["CONVEX_SELF_HOSTED_URL", "CAMBER_URL"],
        metavar="URL",
        rich_help_panel=_PANEL,
    ),
]
AdminKey = Annotated[
    str | None,
    typer.Option(
        "--admin-key",
        help="A key of the deployment.",
        envvar=["CONVEX_SELF_HOSTED_ADMIN_KEY", "CAMBER_ADMIN_KEY"],
        metavar="KEY",
        rich_help_panel=_PANEL,
    ),
]
ComponentPath = Annotated[
    str,
    typer.Option(
        "--component",
        help="The path of a component, such as ledger or ledger/spare; the application without it.",
        metavar="PATH",
    ),
]


def on_deployment(command: Callable[Concatenate[Client, Console, P], None]) -> Callable[..., None]:
    """Return a command that works with a deployment as typer reads it.

    It takes the options of the command's own and those that say which deployment that is; what goes
    wrong is told in one line.
    """
    own = list(inspect.signature(command).parameters.values())[2:]

    @functools.wraps(command)
    def run(directory: Path, url: str | None, admin_key: str | None, **values: Any) -> None:
        console = Console()
        with reporting(console), Client(target_of(directory, url, admin_key)) as client:
            command(client, console, **values)  # type: ignore[call-arg]  # typer has checked them

    hints = get_type_hints(command, include_extras=True)
    declare(
        run,
        {each.name: (hints[each.name], each.default) for each in own}
        | {"directory": (Directory, Path()), "url": (Url, None), "admin_key": (AdminKey, None)},
    )
    return run


def declare(command: Callable[..., None], options: Mapping[str, tuple[Any, Any]]) -> None:
    """Give a command options, annotation and default of each, for typer to read."""
    command.__annotations__ = {name: annotation for name, (annotation, _) in options.items()}
    command.__annotations__["return"] = None
    vars(command)["__signature__"] = inspect.Signature(
        [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for name, (annotation, default) in options.items()
        ]
    )
