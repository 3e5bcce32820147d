"""What an application declares beside functions, tables and crons: routes, providers, components.

Declaring is data: nothing here runs anything. The parts that act on these declarations are built
one after another; until one is, what would need it says so when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar, overload

from camber.errors import CamberError
from camber.functions.calls import MountedFunction
from camber.functions.definition import Function

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])
C = TypeVar("C")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")


class DeclarationError(CamberError):
    """A route, provider or component that cannot be declared as it is."""

    code = "DeclarationError"


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP route: `path` for one method."""

    method: str
    path: str
    handler: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class MountedApplication:
    """An ASGI application under a path."""

    path: str
    application: Any


class HttpRouter:
    """The HTTP routes of an application, served on the site port; a module attribute of `http`."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.mounts: list[MountedApplication] = []

    def route(self, path: str, *, method: str) -> Callable[[H], H]:
        """Register an HTTP action for a path and a method."""
        if not path.startswith("/"):
            msg = f"the path of an HTTP route starts with '/': {path!r}"
            raise DeclarationError(msg)
        if method.upper() not in _METHODS:
            msg = f"{method!r} is no HTTP method; use one of {', '.join(_METHODS)}"
            raise DeclarationError(msg)

        def register(handler: H) -> H:
            taken = [r for r in self.routes if (r.path, r.method) == (path, method.upper())]
            if taken:
                msg = f"{method.upper()} {path} has a handler already"
                raise DeclarationError(msg)
            self.routes.append(Route(method.upper(), path, handler))
            return handler

        return register

    def get(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for GET (and HEAD) of a path."""
        return self.route(path, method="GET")

    def post(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for POST to a path."""
        return self.route(path, method="POST")

    def put(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for PUT to a path."""
        return self.route(path, method="PUT")

    def patch(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for PATCH of a path."""
        return self.route(path, method="PATCH")

    def delete(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for DELETE of a path."""
        return self.route(path, method="DELETE")

    def options(self, path: str, /) -> Callable[[H], H]:
        """Register an HTTP action for OPTIONS of a path."""
        return self.route(path, method="OPTIONS")

    def mount(self, path: str, application: Any, /) -> None:
        """Serve an ASGI application under a path."""
        if not path.startswith("/"):
            msg = f"the path of a mounted application starts with '/': {path!r}"
            raise DeclarationError(msg)
        self.mounts.append(MountedApplication(path, application))


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
