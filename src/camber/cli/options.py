"""Options that many commands share: which deployment they are for.

A command takes the three and opens a client with them:

    def status(directory: Directory = Path(), url: Url = None, admin_key: AdminKey = None) -> None:
        with reporting(console):
            client = Client(target_of(directory, url, admin_key))
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

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
