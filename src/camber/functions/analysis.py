"""What an application declares, as data: all that the server needs to know of user code.

User code runs where it was loaded, which may be another process or another environment. What the
rest of the server is told of it is this: plain values that cross a process boundary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from camber.engine.catalog import full_name
from camber.functions.application import Application
from camber.functions.components import Env
from camber.functions.declarations import CustomJwt, OidcProvider
from camber.functions.definition import FunctionKind, Visibility
from camber.functions.http_router import HttpRoute, route_name
from camber.schema.storable import describe
from camber.schema.table import DeclaredIndex, DeclaredTable, Index, SearchIndex, VectorIndex


class AnalysedFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function. `arguments` and `returns` are the JSON of its validators (protocol 8.3).

    `guard` is how the author has written who may call it from outside.
    """

    path: str
    kind: FunctionKind
    visibility: Visibility
    arguments: dict[str, Any]
    returns: dict[str, Any]
    guard: str | None = None


class AnalysedIndex(msgspec.Struct, frozen=True, kw_only=True):
    """A declared index; `fields` are wire paths without the tie-breaks.

    Those of a search index, which has a `tokenizer`, and of a vector index, which has `dimensions`,
    are what is searched and its filter fields.

    `defaulted` are those of its fields that have a default: a document stored without one is
    read with it and indexed as missing.
    """

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    staged: bool = False
    defaulted: tuple[str, ...] = ()
    tokenizer: str | None = None
    dimensions: int | None = None


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
    """An HTTP route, as the application or component has declared it.

    The path of one that takes a prefix ends with `*`; the method of a mounted application is `*`.
    `summary` is the first line of what its author says of it.
    """

    method: str
    path: str
    summary: str = ""
    guard: str | None = None

    @property
    def name(self) -> str:
        """Return what the route is called: `GET /users/{id}`."""
        return route_name(self.method, self.path)


class ServedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route of a component, below the `prefix` where that is served."""

    component: str
    prefix: str
    declared: AnalysedRoute

    @property
    def method(self) -> str:
        """Return the method that it answers."""
        return self.declared.method

    @property
    def path(self) -> str:
        """Return where it is served."""
        return self.prefix + self.declared.path

    @property
    def name(self) -> str:
        """Return what the route is called in logs: `GET /shop/users/{id}`."""
        return route_name(self.method, self.path)


class AnalysedVariable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable that a component declares and has from the deployment variable `variable`.

    `choices` are all that it may be; None for any text.
    """

    component: str
    name: str
    variable: str
    choices: tuple[str, ...] | None
    is_optional: bool


class AnalysedCron(msgspec.Struct, frozen=True, kw_only=True):
    """A cron job; `schedule` is as `camber.functions.crons` has it, `arguments` are packed.

    `component` has declared it, and the function that it runs is one of `target`: the same, or what
    is mounted there.
    """

    name: str
    schedule: dict[str, Any]
    path: str
    arguments: bytes
    component: str = ""
    target: str = ""


class AnalysedProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One of those whose tokens are accepted, as `auth_config` has it.

    `texts` are what it was given by name, `variables` the deployment variables that hold the others.
    """

    kind: Literal["oidc", "customJwt"]
    texts: dict[str, str]
    variables: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Return what it is called where releases are compared: all that it was given."""
        given = {name: _shown(text) for name, text in self.texts.items()}
        given |= {name: f"Env({variable!r})" for name, variable in self.variables.items()}
        kind = "OidcProvider" if self.kind == "oidc" else "CustomJwt"
        return f"{kind}({', '.join(f'{name}={given[name]}' for name in sorted(given))})"


#: Characters of a text that is shown whole; keys that are given in place are longer.
_SHOWN_MAX: Final = 120


def _shown(text: str) -> str:
    if len(text) <= _SHOWN_MAX:
        return repr(text)
    return f"{text[:20]!r}…{sha256(text.encode()).hexdigest()[:8]}"


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """One application or component: functions by path, tables by name.

    That of an application has all its `components`, mounts within mounts too, by their paths.
    `routes` is None where no module `http` declares any.
    """

    functions: dict[str, AnalysedFunction]
    tables: dict[str, AnalysedTable]
    routes: tuple[AnalysedRoute, ...] | None = None
    crons: tuple[AnalysedCron, ...] = ()
    http_prefix: str | None = None
    #: Where its routes are served, from the site's origin on; None for nowhere.
    site_path: str | None = ""
    #: Whose tokens are accepted; the first that matches a token is asked.
    providers: tuple[AnalysedProvider, ...] = ()
    #: What components want of deployment variables.
    variables: tuple[AnalysedVariable, ...] = ()
    components: dict[str, Analysis] = {}

    def in_component(self, component: str) -> Analysis | None:
        """Return what is mounted at a component path, itself for the empty one."""
        return self.components.get(component) if component else self

    def served_routes(self) -> list[ServedRoute] | None:
        """Return all that is answered over HTTP; None if no module declares a router.

        Components have theirs below their prefix, which is below that of what they are mounted in;
        without one they are not served. Where both have a route, the application answers.
        """
        served: list[ServedRoute] = []
        has_router = self.routes is not None
        for component, declared in sorted(self.components.items(), reverse=True):
            if declared.site_path is not None and declared.routes is not None:
                has_router = True
                served += [
                    ServedRoute(component=component, prefix=declared.site_path, declared=route)
                    for route in declared.routes
                ]
        served += [
            ServedRoute(component="", prefix="", declared=route) for route in self.routes or ()
        ]
        return served if has_router else None

    @property
    def has_vectors(self) -> bool:
        """Return whether there is a vector index anywhere."""
        return any(
            index.dimensions is not None
            for declared in self.everywhere().values()
            for table in declared.tables.values()
            for index in table.indexes
        )

    def all_tables(self) -> dict[str, AnalysedTable]:
        """Return the tables of all components too, by what they are called in the deployment."""
        return {
            full_name(component, name): msgspec.structs.replace(
                table, name=full_name(component, name)
            )
            for component, declared in self.everywhere().items()
            for name, table in declared.tables.items()
        }

    def all_functions(self) -> list[str]:
        """Return the paths of all functions, those of components with its path before them."""
        return [
            f"{component}/{path}" if component else path
            for component, declared in self.everywhere().items()
            for path in declared.functions
        ]

    def everywhere(self) -> dict[str, Analysis]:
        """Return itself under the empty path, and all components under theirs."""
        return {"": self, **self.components}


def analyse(application: Application) -> Analysis:
    """Return what a loaded application and its components declare."""
    components = {
        path: _analyse(component) for path, component in application.components.items() if path
    }
    return msgspec.structs.replace(
        _analyse(application),
        components=components,
        variables=tuple(_variables(application)),
    )


def _variables(application: Application) -> Iterator[AnalysedVariable]:
    for path, component in application.components.items():
        for name, bound in component.env.items():
            if bound.variable is not None and bound.declared is not None:
                yield AnalysedVariable(
                    component=path,
                    name=name,
                    variable=bound.variable,
                    choices=bound.declared.choices,
                    is_optional=bound.declared.is_optional,
                )


def _analyse(application: Application) -> Analysis:
    http = application.http
    return Analysis(
        functions={
            path: AnalysedFunction(
                path=path,
                kind=function.kind,
                visibility=function.visibility,
                arguments=function.arguments.json,
                returns=function.returns.json,
                guard=None if function.guard is None else repr(function.guard),
            )
            for path, function in application.functions.items()
        },
        tables={
            name: AnalysedTable(
                name=name,
                validator=table.json,
                storable=describe(table.plan),
                strict=table.strict,
                indexes=tuple(_analysed_index(table, index) for index in table.declared_indexes),
            )
            for name, table in application.tables.items()
        },
        routes=None if http is None else tuple(_analysed(route) for route in http.routes),
        crons=tuple(
            AnalysedCron(
                name=cron.name,
                schedule=dict(cron.schedule),
                path=cron.function.path,
                arguments=cron.arguments,
                component=application.component,
                target=cron.target,
            )
            for cron in application.crons
        ),
        http_prefix=application.http_prefix,
        site_path=application.site_path,
        providers=tuple(map(_analysed_provider, application.providers)),
    )


def _analysed_provider(provider: OidcProvider | CustomJwt) -> AnalysedProvider:
    given = {field.name: getattr(provider, field.name) for field in fields(provider)}
    return AnalysedProvider(
        kind="oidc" if isinstance(provider, OidcProvider) else "customJwt",
        texts={name: value for name, value in given.items() if isinstance(value, str)},
        variables={name: value.name for name, value in given.items() if isinstance(value, Env)},
    )


def _analysed_index(table: DeclaredTable, index: DeclaredIndex) -> AnalysedIndex:
    return AnalysedIndex(
        name=index.name,
        fields=tuple(index.fields),
        unique=index.unique if isinstance(index, Index) else False,
        staged=index.staged,
        defaulted=tuple(
            f.name for f in table.plan.fields if f.has_default and f.name in index.fields
        ),
        tokenizer=index.tokenizer if isinstance(index, SearchIndex) else None,
        dimensions=index.dimensions if isinstance(index, VectorIndex) else None,
    )


def _analysed(route: HttpRoute) -> AnalysedRoute:
    doc = "" if route.is_mount else inspect.getdoc(route.handler) or ""
    return AnalysedRoute(
        method=route.method,
        path=route.path,
        summary=doc.partition("\n")[0],
        guard=None if route.guard is None else repr(route.guard),
    )
