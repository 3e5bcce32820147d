"""What an application declares, as data: all that the server needs to know of user code.

User code runs where it was loaded, which may be another process or another environment. What the
rest of the server is told of it is this: plain values that cross a process boundary.
"""

from __future__ import annotations

from typing import Any

import msgspec

from camber.functions.definition import FunctionKind, Visibility
from camber.functions.loading import Application
from camber.schema.storable import describe


class AnalysedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function. `arguments` and `returns` are the JSON of its validators (protocol 8.3)."""

    path: str
    kind: FunctionKind
    visibility: Visibility
    arguments: dict[str, Any]
    returns: dict[str, Any]


class AnalysedIndex(msgspec.Struct, frozen=True, kw_only=True):
    """A declared index; `fields` are wire paths without the tie-breaks.

    `defaulted` are those of its fields that have a default: a document stored without one is
    read with it and indexed as missing.
    """

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    staged: bool = False
    defaulted: tuple[str, ...] = ()


class AnalysedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A declared table; `validator` is the JSON of its fields without system fields.

    `storable` says exactly what its documents may be (camber.schema.storable).
    """

    name: str
    validator: dict[str, Any]
    storable: dict[str, Any]
    strict: bool
    indexes: tuple[AnalysedIndex, ...]


class AnalysedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP route; the path of one that takes a prefix ends with `*`."""

    method: str
    path: str


class AnalysedCron(msgspec.Struct, frozen=True, kw_only=True):
    """A cron job; `schedule` is as `camber.functions.crons` has it, `arguments` are packed."""

    name: str
    schedule: dict[str, Any]
    path: str
    arguments: bytes
    component: str = ""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """One application or component: functions by path, tables by name.

    That of an application has all its `components`, mounts within mounts too, by their paths.
    """

    functions: dict[str, AnalysedFunction]
    tables: dict[str, AnalysedTable]
    routes: tuple[AnalysedRoute, ...] = ()
    crons: tuple[AnalysedCron, ...] = ()
    http_prefix: str | None = None
    components: dict[str, Analysis] = {}

    def in_component(self, component: str) -> Analysis | None:
        """Return what is mounted at a component path, itself for the empty one."""
        return self.components.get(component) if component else self

    def everywhere(self) -> dict[str, Analysis]:
        """Return itself under the empty path, and all components under theirs."""
        return {"": self, **self.components}


def analyse(application: Application) -> Analysis:
    """Return what a loaded application and its components declare."""
    components = {
        path: _analyse(component) for path, component in application.components.items() if path
    }
    return msgspec.structs.replace(_analyse(application), components=components)


def _analyse(application: Application) -> Analysis:
    routes = () if application.http is None else application.http.routes
    return Analysis(
        functions={
            path: AnalysedFunction(
                path=path,
                kind=function.kind,
                visibility=function.visibility,
                arguments=function.arguments.json,
                returns=function.returns.json,
            )
            for path, function in application.functions.items()
        },
        tables={
            name: AnalysedTable(
                name=name,
                validator=table.json,
                storable=describe(table.plan),
                strict=table.strict,
                indexes=tuple(
                    AnalysedIndex(
                        name=index.name,
                        fields=tuple(index.fields),
                        unique=index.unique,
                        staged=index.staged,
                        defaulted=tuple(
                            f.name
                            for f in table.plan.fields
                            if f.has_default and f.name in index.fields
                        ),
                    )
                    for index in table.indexes
                ),
            )
            for name, table in application.tables.items()
        },
        routes=tuple(AnalysedRoute(method=route.method, path=route.path) for route in routes),
        crons=tuple(
            AnalysedCron(
                name=cron.name,
                schedule=dict(cron.schedule),
                path=cron.function.path,
                arguments=cron.arguments,
                component=application.component,
            )
            for cron in application.crons
        ),
        http_prefix=application.http_prefix,
    )
