"""What an application declares of the components that it uses; the module attribute `app` of `app`.

A component is a folder, or an installed package, laid out like an application. It is mounted under
a name, as often as wanted: each mount has tables, files, jobs and variables of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import (
    Any,
    Final,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

from camber import limits
from camber.engine.variables import BUILT_IN
from camber.errors import CamberError
from camber.functions.calls import MountedFunction
from camber.functions.definition import Function
from camber.values.paths import is_identifier

P = ParamSpec("P")
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)

_PREFIX = re.compile(r"(/[A-Za-z0-9_.~-]+)+\Z")


class ComponentError(CamberError):
    """A component that cannot be declared or mounted as it is."""

    code = "ComponentError"


class Component:
    """A component: a folder of the project, or an installed package.

    Args:
        name: what it is mounted as where no other name is given.
        path: its folder, relative to the project's root.
        package: the Python package that it is, for one that is installed: `"acme.ledger"`.
    """

    def __init__(self, name: str, *, path: str | None = None, package: str | None = None) -> None:
        _check_mount_name(name)
        if (path is None) == (package is None):
            msg = (
                f"component {name!r} is either a folder of the project, path=, or an installed "
                "package, package="
            )
            raise ComponentError(msg)
        self.name = name
        self.path = path
        self.package = package
        for text, separator in ((path, "/"), (package, ".")):
            if text is not None and not all(part.isidentifier() for part in text.split(separator)):
                msg = (
                    f"component {name!r} is a Python package, which {text!r} cannot be: folders are named "
                    "with letters, digits and '_', relative to the project's root"
                )
                raise ComponentError(msg)

    def __repr__(self) -> str:
        where = f"path={self.path!r}" if self.package is None else f"package={self.package!r}"
        return f"Component({self.name!r}, {where})"

    @property
    def module(self) -> str:
        """Return the name of its package."""
        return self.package or str(self.path).replace("/", ".")


@dataclass(frozen=True, slots=True)
class Env:
    """A variable of whoever mounts a component, for a variable of the component's."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A component in use under a name.

    `mount[function]` and `mount["module:name"]` name its public functions in calls, from functions of
    what has mounted it.
    """

    name: str
    component: Component
    env: Mapping[str, str | Env] = field(default_factory=dict)
    http_prefix: str | None = None

    @overload
    def __getitem__(self, function: Function[P, R]) -> MountedFunction[P, R]: ...

    @overload
    def __getitem__(self, function: str) -> MountedFunction[..., Any]: ...

    def __getitem__(self, function: Any) -> Any:
        """Return the reference to a function of this mount."""
        return MountedFunction(self.name, function)

    def __iter__(self) -> Iterator[Any]:
        """Refuse: a mount has references, not items."""
        msg = f"{self!r} cannot be iterated"
        raise TypeError(msg)


class ComponentClient(Protocol[C_co]):
    """Python in front of a component: methods that call its functions, on whichever mount."""

    @property
    def component(self) -> Component:
        """Return the component."""

    def mounted(self, mount: Mount, /) -> C_co:
        """Return what `app.use` returns: the client of this mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredVariable:
    """What a component says of one of its variables; `choices` are all that it may be."""

    name: str
    choices: tuple[str, ...] | None
    is_optional: bool

    def check(self, value: str) -> None:
        """Do nothing if the variable may have this value.

        Raises:
            ComponentError: it may not.
        """
        if self.choices is not None and value not in self.choices:
            msg = f"variable {self.name!r} is {value!r}; it may be {' or '.join(map(repr, self.choices))}"
            raise ComponentError(msg)


class App:
    """The components that an application, or a component, uses.

    Args:
        env: the variables of a component, by name: `str`, `Literal["a", "b"]`, or either `| None`
            for one that need not be given. A component that declares none has those it is given.
    """

    def __init__(self, *, env: Mapping[str, Any] | None = None) -> None:
        self.mounts: dict[str, Mount] = {}
        self.variables: dict[str, DeclaredVariable] | None = None
        if env is not None:
            self.variables = {name: _declared_variable(name, of) for name, of in env.items()}

    @overload
    def use(
        self,
        component: Component,
        /,
        *,
        name: str | None = None,
        env: Mapping[str, str | Env] | None = None,
        http_prefix: str | None = None,
    ) -> Mount: ...

    @overload
    def use(
        self,
        component: ComponentClient[C_co],
        /,
        *,
        name: str | None = None,
        env: Mapping[str, str | Env] | None = None,
        http_prefix: str | None = None,
    ) -> C_co: ...

    def use(
        self,
        component: Any,
        /,
        *,
        name: str | None = None,
        env: Mapping[str, str | Env] | None = None,
        http_prefix: str | None = None,
    ) -> Any:
        """Use a component, under its own name unless another is given.

        Args:
            component: the component, or a client of one.
            name: what it is mounted as: its data is found under this name from then on.
            env: its variables: texts, or `Env("NAME")` for one of the application's own.
            http_prefix: where its routes are served, as `"/ledger"`; nowhere if it is left out.
        """
        mounted = component if isinstance(component, Component) else _component_of(component)
        chosen = mounted.name if name is None else name
        _check_mount_name(chosen)
        if chosen in self.mounts:
            msg = f"a component is in use as {chosen!r} already; give this one another name="
            raise ComponentError(msg)
        if len(self.mounts) == limits.components_max:
            msg = f"component {chosen!r} is one too many: {limits.components_max} may be mounted"
            raise ComponentError(msg)
        mount = Mount(
            name=chosen,
            component=mounted,
            env=_checked_env(chosen, env or {}),
            http_prefix=self._checked_prefix(chosen, http_prefix),
        )
        self.mounts[chosen] = mount
        return mount if component is mounted else component.mounted(mount)

    def _checked_prefix(self, name: str, prefix: str | None) -> str | None:
        if prefix is None:
            return None
        plain = prefix.removesuffix("/")
        if not _PREFIX.match(plain) or any(part in {".", ".."} for part in plain.split("/")):
            msg = (
                f"component {name!r} cannot have its routes under {prefix!r}: a prefix is a path "
                "such as '/ledger', of letters, digits and '_', '-', '.', '~'"
            )
            raise ComponentError(msg)
        for other in self.mounts.values():
            if other.http_prefix == plain:
                msg = f"component {other.name!r} has its routes under {plain!r} already"
                raise ComponentError(msg)
        return plain


def not_mounted(component: str, there: Iterable[str]) -> str:
    """Return the sentence that no component has a path, and which there are."""
    paths = ", ".join(repr(path) for path in sorted(there) if path) or "none"
    return f"No component is mounted at '{component}'. There are: {paths}"


def _component_of(client: Any) -> Component:
    component = getattr(client, "component", None)
    if not isinstance(component, Component) or not hasattr(client, "mounted"):
        msg = (
            "use() takes a component, such as Component('ledger', path='ledger'), or a client of one, "
            f"which has a `component` and `mounted(mount)`, and not {client!r}"
        )
        raise ComponentError(msg)
    return component


def _check_mount_name(name: object) -> None:
    if not isinstance(name, str) or not is_identifier(name) or name.startswith("_"):
        msg = (
            f"{name!r} cannot name a component: letters, digits and '_', not first, at most "
            f"{limits.identifier_length_max}"
        )
        raise ComponentError(msg)


def _checked_env(mount: str, env: Mapping[str, Any]) -> Mapping[str, str | Env]:
    for name, value in env.items():
        _check_variable_name(name)
        if not isinstance(value, str | Env):
            msg = (
                f'variable {name!r} of component {mount!r} is a text or Env("NAME"), not {value!r}'
            )
            raise ComponentError(msg)
    return dict(env)


def _check_variable_name(name: str) -> None:
    if not is_identifier(name) or name in BUILT_IN:
        msg = f"{name!r} cannot name a component's variable: letters, digits and '_', not built in"
        raise ComponentError(msg)


_UNIONS: Final = (Union, UnionType)


def _declared_variable(name: str, annotation: Any) -> DeclaredVariable:
    _check_variable_name(name)
    members = get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)
    choices: list[str] = []
    is_any = False
    for member in members:
        texts = get_args(member) if get_origin(member) is Literal else ()
        if member is str:
            is_any = True
        elif texts and all(isinstance(text, str) for text in texts):
            choices += texts
        elif member not in {None, NoneType}:
            msg = (
                f'variable {name!r} is a str or Literal["…"], or either | None, not {annotation!r}'
            )
            raise ComponentError(msg)
    return DeclaredVariable(
        name=name,
        choices=None if is_any else tuple(choices),
        is_optional=any(member in {None, NoneType} for member in members),
    )
