"""The HTTP routes that an application declares: `http = HttpRouter()` in its module `http`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from camber.errors import CamberError
from camber.functions.predicates import Allow, Guard, guard_of, refuse_arguments
from camber.functions.routing import ANY_METHOD, has_parameters, is_prefix, shape_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Where Convex keeps what is its own.
_RESERVED: Final = "/.files"


class RouteError(CamberError):
    """An HTTP route that cannot be declared as it is."""

    code = "DeclarationError"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HttpRoute:
    """A path for one method and what answers there; a prefix ends with `*`.

    `handler` is an `async def` of a context and a request, or, where the method is `*`, the ASGI
    application that is mounted there.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    #: Who may send requests to it; everybody if it is None.
    guard: Guard | None = None

    @property
    def is_mount(self) -> bool:
        """Return whether an application is mounted here."""
        return self.method == ANY_METHOD

    @property
    def name(self) -> str:
        """Return what the route is called in logs: `GET /users/{id}`."""
        return route_name(self.method, self.path)


def route_name(method: str, path: str) -> str:
    """Return what a route is called in logs, and found by: `GET /users/{id}`."""
    return f"{method} {path}"


class HttpRouter:
    """The HTTP routes of an application, served on the site port.

    A handler is an `async def` that takes an `ActionCtx` and Starlette's `Request` and returns a
    response of Starlette's, or any ASGI application that answers the request.
    """

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], HttpRoute] = {}
        self._by_name: dict[str, HttpRoute] = {}

    @property
    def routes(self) -> tuple[HttpRoute, ...]:
        """Return all routes and mounts, in the order in which they were declared."""
        return tuple(self._routes.values())

    def named(self, name: str) -> HttpRoute:
        """Return the route of this name, which there is."""
        return self._by_name[name]

    def route(
        self,
        path: str | None = None,
        /,
        *,
        method: str,
        prefix: str | None = None,
        allow: Allow | None = None,
    ) -> Callable[[H], H]:
        """Register an HTTP action for a method of a path, or of all paths that begin with `prefix`.

        With `allow`, whom that guard does not let in gets 401 or 403, and no code of it runs.

        A path may have parameters, each a part of its own: `/users/{id}`. They are in
        `request.path_params`. A prefix begins and ends with `/`.

        Raises:
            RouteError: it cannot be declared so, or has been already.
        """
        declared = _path(path, prefix)
        method = method.upper()
        if method == "HEAD":
            raise RouteError(f"HEAD {declared} is answered by the handler of GET: declare that")
        if method not in METHODS:
            raise RouteError(f"{method!r} is no method of a route; use one of {', '.join(METHODS)}")

        def register(handler: H) -> H:
            if not _is_async(handler):
                name = getattr(handler, "__name__", repr(handler))
                raise RouteError(
                    f"{route_name(method, declared)}: {name} is not an `async def`. HTTP actions "
                    "are; work that blocks goes to `await asyncio.to_thread(...)`"
                )
            self._add(HttpRoute(method=method, path=declared, handler=handler, guard=_guard(allow)))
            return handler

        return register

    def get(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for GET (and HEAD)."""
        return self.route(path, method="GET", prefix=prefix, allow=allow)

    def post(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for POST."""
        return self.route(path, method="POST", prefix=prefix, allow=allow)

    def put(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for PUT."""
        return self.route(path, method="PUT", prefix=prefix, allow=allow)

    def patch(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for PATCH."""
        return self.route(path, method="PATCH", prefix=prefix, allow=allow)

    def delete(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for DELETE."""
        return self.route(path, method="DELETE", prefix=prefix, allow=allow)

    def options(
        self, path: str | None = None, /, *, prefix: str | None = None, allow: Allow | None = None
    ) -> Callable[[H], H]:
        """Register an HTTP action for OPTIONS; nothing else answers what browsers ask first."""
        return self.route(path, method="OPTIONS", prefix=prefix, allow=allow)

    def mount(self, path: str, application: ASGIApp, /, *, allow: Allow | None = None) -> None:
        """Serve an ASGI application at a path and below it, where no route is more particular.

        It runs as an action does; `camber.current()` is its context.

        Raises:
            RouteError: it cannot be mounted so.
        """
        if not callable(application):
            raise RouteError(f"{application!r} is no ASGI application: it cannot be called")
        base = path.rstrip("/")
        declared = "/*" if not base else f"{_checked(base, 'a mount')}/*"
        if has_parameters(declared):
            raise RouteError(f"the path of a mount has no parameters: {path!r}")
        self._add(
            HttpRoute(method=ANY_METHOD, path=declared, handler=application, guard=_guard(allow))
        )

    def _add(self, route: HttpRoute) -> None:
        other = self._routes.setdefault((route.method, shape_of(route.path)), route)
        if other is not route:
            same = "" if other.path == route.path else f", as {other.path}"
            raise RouteError(f"{route.name} has been declared already{same}")
        self._by_name[route.name] = route


def _guard(allow: Allow | None) -> Guard | None:
    if allow is None:
        return None
    guard = guard_of(allow)
    refuse_arguments(guard, "an HTTP route")
    return guard


def _path(path: str | None, prefix: str | None) -> str:
    """Return the path of a route as it is kept."""
    if (path is None) is (prefix is None):
        raise RouteError("an HTTP route has a path, or else a `prefix=`")
    if prefix is not None:
        checked = _checked(prefix, "a prefix")
        if not checked.endswith("/"):
            raise RouteError(f"a prefix ends with '/': {prefix!r}. Below it is what it matches")
        if has_parameters(checked):
            raise RouteError(f"a prefix has no parameters: {prefix!r}")
        return f"{checked}*"
    assert path is not None
    return _with_parameters(_checked(path, "an HTTP route"))


def _checked(path: str, what: str) -> str:
    if not path.startswith("/"):
        raise RouteError(f"the path of {what} starts with '/': {path!r}")
    if path == _RESERVED or path.startswith(f"{_RESERVED}/"):
        raise RouteError(f"{_RESERVED} is reserved: {path!r}")
    wrong = next((c for c in path if c in "?#*" or c.isspace() or not c.isprintable()), None)
    if wrong is not None:
        hint = "; for all paths below one use `prefix=`" if is_prefix(path) else ""
        raise RouteError(f"{path!r} has {wrong!r}, which no path of {what} has{hint}")
    return path


def _with_parameters(path: str) -> str:
    names: list[str] = []
    for part in path.split("/"):
        if "{" not in part and "}" not in part:
            continue
        name = part[1:-1]
        if part != f"{{{name}}}" or not name.isidentifier():
            raise RouteError(
                f"{part!r} of {path!r}: a parameter is a whole part, as in '/a/{{id}}'"
            )
        if name in names:
            raise RouteError(f"{path!r} has two parameters called {name!r}")
        names.append(name)
    return path


def _is_async(handler: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004  # what it is, not whether it can be called
    )
