"""What an application declares beside functions, tables, crons and routes: providers, components.

Declaring is data: nothing here runs anything. The parts that act on these declarations are built
one after another; until one is, what would need it says so when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar, overload

from camber.errors import CamberError
from camber.functions.calls import MountedFunction
from camber.functions.definition import Function

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class DeclarationError(CamberError):
    """A provider or component that cannot be declared as it is."""

    code = "DeclarationError"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """An OpenID Connect provider whose tokens are accepted, in `auth_config.providers`."""

    domain: str
    application_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomJwt:
    """An issuer of JWTs whose tokens are accepted; `jwks` is a URL or a `data:` URI."""

    issuer: str
    jwks: str
    algorithm: str
    application_id: str | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """A component of the author's own: a folder laid out like an application.

    `path` is relative to the project root.
    """

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount(Generic[C]):
    """A component in use under a name.

    `mount[function]` and `mount["module:name"]` name its functions in calls.
    """

    name: str
    component: C
    env: Mapping[str, str] = field(default_factory=dict)
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


class App:
    """The components that an application uses; the module attribute `app` of `app`."""

    def __init__(self) -> None:
        self.mounts: dict[str, Mount[Any]] = {}

    def use(
        self,
        component: Component,
        /,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        http_prefix: str | None = None,
    ) -> Mount[Component]:
        """Use a component, under its own name unless another is given."""
        chosen = name or component.name
        if chosen in self.mounts:
            msg = f"a component is in use as {chosen!r} already; give this one another name="
            raise DeclarationError(msg)
        mount = Mount(name=chosen, component=component, env=env or {}, http_prefix=http_prefix)
        self.mounts[chosen] = mount
        return mount
