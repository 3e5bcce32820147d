"""The component that a request of an admin is about."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from camber.deployment.deployment import Deployment
from camber.engine.component_data import components_with_data
from camber.errors import BadRequest
from camber.functions.components import not_mounted


def component_path(
    path: Any, deployment: Deployment, *, code: str = "ComponentPathNotFound"
) -> str:
    """Return the path of a component that is mounted, or of which there is data.

    Nothing, an empty text or null, is the application itself.

    Raises:
        BadRequest: there is no such component.
    """
    if path is None or path == "":
        return ""
    if not isinstance(path, str):
        msg = f"a component is named by its path, such as 'ledger' or 'ledger/spare', not {path!r}"
        raise BadRequest(msg, code=code)
    release = deployment.releases.newest
    known = set[str]() if release is None else set(release.analysis.components)
    if path in known:
        return path
    with closing(deployment.engine.begin("components")) as transaction:
        known |= components_with_data(transaction)
    if path not in known:
        raise BadRequest(f"{not_mounted(path, known)}. Leave it out for the application", code=code)
    return path
