"""Deployment variables and the deployment's own URLs."""

from __future__ import annotations

from typing import Any, Final

from camber.engine.variables import CLOUD_URL, Variable, VariableUnreadable, unreadable
from camber.identity.operations import Operation
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query


@system_query("_system/cli/queryEnvironmentVariables:default", Operation.VIEW_ENVIRONMENT)
def variables(call: SystemCall) -> list[dict[str, Any]]:
    """All variables that were set, by name.

    Raises:
        VariableUnreadable: some were sealed under another secret; it names them.
    """
    stored = call.variables.stored(call.transaction)
    lost = [variable.name for variable in stored if variable.value is None]
    if lost:
        raise VariableUnreadable(unreadable(lost))
    return [_document(variable) for variable in stored]


@system_query("_system/cli/queryEnvironmentVariables:get", Operation.VIEW_ENVIRONMENT)
def variable_by_name(call: SystemCall, name: str) -> dict[str, Any] | None:
    """One variable, the built-in ones too."""
    value = call.variables.get(call.transaction, name)
    return None if value is None else {"name": name, "value": value}


@system_query("_system/camber/variables:default", Operation.VIEW_ENVIRONMENT)
def readable_variables(call: SystemCall) -> dict[str, Any]:
    """All variables that can be read, and the names of those that cannot."""
    stored = call.variables.stored(call.transaction)
    return {
        "variables": [_document(variable) for variable in stored if variable.value is not None],
        "unreadable": [variable.name for variable in stored if variable.value is None],
    }


@system_query("_system/cli/convexUrl:cloudUrl", Operation.VIEW_DATA)
def cloud_url(call: SystemCall) -> str | None:
    """The origin that clients see."""
    return call.variables.get(call.transaction, CLOUD_URL)


def _document(variable: Variable) -> dict[str, Any]:
    return {
        "_id": variable.id,
        "_creationTime": variable.creation_time,
        "name": variable.name,
        "value": variable.value,
    }


QUERIES: Final[tuple[SystemQuery, ...]] = (
    variables,
    variable_by_name,
    readable_variables,
    cloud_url,
)
