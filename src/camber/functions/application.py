"""What an application or a component declares once it is loaded, and which function a name means in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from camber.engine.variables import CLOUD_URL, SITE_URL
from camber.errors import BadRequest, DeveloperError, FunctionNotFound
from camber.functions.calls import MountedFunction
from camber.functions.components import DeclaredVariable
from camber.functions.crons import ResolvedCron
from camber.functions.declarations import CustomJwt, OidcProvider
from camber.functions.definition import Function, Visibility
from camber.functions.http_router import HttpRouter
from camber.functions.row_rules import DeclaredRules
from camber.schema.compiler import Compiler
from camber.schema.table import DeclaredTable
from camber.values.paths import FunctionPath


@dataclass(frozen=True, slots=True)
class Bound:
    """A component's variable, as it was bound where it is mounted.

    `text` is its value, unless it is that of the deployment variable called `variable`.
    """

    text: str | None
    variable: str | None
    declared: DeclaredVariable | None


@dataclass(frozen=True, kw_only=True)
class Application:
    """What a functions folder declares, or a component's.

    Functions are by path (`messages:send`, `users:default`), tables by name. `component` is the
    path of the mount, or empty for the application itself; `mounts` are those of its own, by name.
    """

    root: Path
    package: str
    functions: Mapping[str, Function[..., Any]]
    tables: Mapping[str, DeclaredTable]
    compiler: Compiler
    http: HttpRouter | None = None
    crons: tuple[ResolvedCron, ...] = ()
    providers: tuple[OidcProvider | CustomJwt, ...] = ()
    component: str = ""
    #: Where the routes of a component are served, under those of what it is mounted in; nowhere
    #: if it is None.
    http_prefix: str | None = None
    #: The same from the site's origin on: empty for the application itself, None for nowhere.
    site_path: str | None = ""
    #: What a component has for variables.
    env: Mapping[str, Bound] = field(default_factory=dict)
    mounts: Mapping[str, Application] = field(default_factory=dict)
    #: Who may do what with the rows of its tables; None where all functions may do all.
    rules: DeclaredRules | None = None

    @cached_property
    def components(self) -> Mapping[str, Application]:
        """Return this one and all that is mounted in it, by component path."""
        found = {self.component: self}
        for mounted in self.mounts.values():
            found.update(mounted.components)
        return found

    def in_component(self, component: str) -> Application | None:
        """Return what is mounted at a component path, itself for the empty one."""
        return self.components.get(component)

    def owns(self, function: Function[..., Any]) -> bool:
        """Return whether a module of its package has defined a function, in this load or another."""
        return function.module.startswith(f"{self.package}.")

    def variable(self, name: str, of_deployment: Callable[[str], str | None]) -> str | None:
        """Return a variable as the functions here see it.

        A component has the variables that it was given, and the deployment's URLs.

        Raises:
            ComponentError: it has a value that the component does not take.
        """
        if not self.component or name == CLOUD_URL:
            return of_deployment(name)
        if name == SITE_URL:
            origin = of_deployment(name)
            return None if origin is None else origin + (self.site_path or "")
        bound = self.env.get(name)
        if bound is None or bound.variable is None:
            return None if bound is None else bound.text
        value = of_deployment(bound.variable)
        if value is not None and bound.declared is not None:
            bound.declared.check(value)
        return value

    def no_identity(self) -> NoReturn:
        """Refuse to say who calls: a component is told what it has to know by its caller.

        Raises:
            DeveloperError: always.
        """
        msg = (
            f"ctx.auth is not available in component {self.component!r}: pass what it has to know of the "
            "user as an argument"
        )
        raise DeveloperError(msg, code="AuthUnavailableInComponent")

    def path_of(self, function: Function[..., Any]) -> str:
        """Return the path of a function, also of one that another load of its module has made."""
        module = function.module.removeprefix(f"{self.package}.").replace(".", "/")
        return f"{module}:{function.name}"


class Resolved(NamedTuple):
    """A function, and the component in which it runs."""

    component: Application
    function: Function[..., Any]

    @property
    def display(self) -> str:
        """Return its name in errors: the component's path goes before it."""
        inside = f"{self.component.component}/" if self.component.component else ""
        return inside + self.function.path


def function_named(
    caller: Application, callee: Function[..., Any] | MountedFunction[..., Any] | str
) -> Resolved:
    """Return the function that code of the component `caller` names.

    A function and a path are its own; a mount's reference leads to a public function of what it
    has mounted.

    Raises:
        FunctionNotFound: there is none.
    """
    if isinstance(callee, Function):
        # A function of an earlier release names its successor.
        return function_at(caller, _path_in(caller, callee))
    if isinstance(callee, MountedFunction):
        return _mounted(caller, callee)
    return function_at(caller, _key(callee))


def function_at(component: Application, path: str) -> Resolved:
    """Return the function of a component that has this path.

    Raises:
        FunctionNotFound: there is none.
    """
    function = component.functions.get(path)
    if function is None:
        display = FunctionPath.parse(path).display
        where = f" of component '{component.component}'" if component.component else ""
        msg = (
            f"Could not find function for '{display}'{where}. Is it defined in that module? Modules "
            "whose names start with '_' hold no functions"
        )
        raise FunctionNotFound(msg)
    return Resolved(component, function)


def _mounted(caller: Application, callee: MountedFunction[..., Any]) -> Resolved:
    component = caller.mounts.get(callee.mount)
    if component is None:
        there = ", ".join(sorted(caller.mounts)) or "none"
        of = f"component '{caller.component}'" if caller.component else "the application"
        msg = f"{of} has mounted no {callee.mount!r}; its mounts are: {there}"
        raise FunctionNotFound(msg)
    # What it was given nobody has looked at.
    given: object = callee.function
    if isinstance(given, Function):
        path = _path_in(component, given)
    elif isinstance(given, str):
        path = _key(given)
    else:
        msg = (
            f"{callee.mount}[{given!r}] names no function: give the decorated function, or its path"
        )
        raise FunctionNotFound(msg)
    found = function_at(component, path)
    if found.function.visibility is Visibility.INTERNAL:
        msg = (
            f"{found.display} is internal to its component: make it public there, or have the "
            "component hand out its handle"
        )
        raise FunctionNotFound(msg)
    return found


def _key(path: str) -> str:
    # What user code names may be of anywhere: a text that names nothing is no bad request.
    try:
        return FunctionPath.parse(path).key
    except BadRequest as error:
        raise FunctionNotFound(error.sentence) from None


def _path_in(component: Application, function: Function[..., Any]) -> str:
    if not component.owns(function):
        where = f"component '{component.component}'" if component.component else "the application"
        msg = (
            f"{function.module}.{function.handler.__name__} is no function of {where}, which is the package "
            f"{component.package!r}. A function of another component is named by a mount of it: mount[function]"
        )
        raise FunctionNotFound(msg)
    return component.path_of(function)
