"""Which route answers a request, by its method and its path as it came, undecoded (protocol 7.2).

A path is exact (`/a/b`), has parameters (`/a/{id}`), or is a prefix (`/a/*`), below which there may
be anything. Of those that match a request the most particular answers: an exact path, then one
with parameters, of these the one whose first difference is a literal, then the longest prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote, unquote

#: Of an application that is mounted: it takes every method, and WebSockets.
ANY_METHOD: Final = "*"

_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")
#: What may stand in a path as it is; `%` begins what is encoded already.
_PLAIN: Final = "/%:@!$&'()*+,;=~-._"


class Routed(Protocol):
    """What a route table needs to know of a route."""

    @property
    def method(self) -> str:
        """Return the method that it answers, or `ANY_METHOD`."""

    @property
    def path(self) -> str:
        """Return its path: exact, with parameters, or a prefix and `*`."""


R = TypeVar("R", bound=Routed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[R]):
    """The route of a request, and its parameters, decoded."""

    route: R
    parameters: Mapping[str, str]


def shape_of(path: str) -> str:
    """Return what is equal for paths that match the same requests."""
    return _PARAMETER.sub("{}", path)


def is_prefix(path: str) -> bool:
    """Return whether a route takes whatever lies below its path."""
    return path.endswith("/*")


def has_parameters(path: str) -> bool:
    """Return whether a part of the path is a parameter."""
    return "{" in path


def as_sent(path: str) -> str:
    """Return a path as clients send it, its unusual characters encoded."""
    return quote(path, safe=_PLAIN)


class RouteTable(Generic[R]):
    """The routes of one application."""

    def __init__(self, routes: Iterable[R]) -> None:
        self._exact: dict[tuple[str, str], R] = {}
        #: By method and number of parts, the most particular first.
        self._patterns: dict[tuple[str, int], list[_Pattern[R]]] = {}
        self._prefixes: dict[tuple[str, str], R] = {}
        for route in routes:
            if is_prefix(route.path):
                self._prefixes[route.method, as_sent(route.path[:-1])] = route
            elif has_parameters(route.path):
                pattern = _Pattern(route)
                same = self._patterns.setdefault((route.method, len(pattern.parts)), [])
                same.append(pattern)
                same.sort(key=lambda each: each.order)
            else:
                self._exact[route.method, as_sent(route.path)] = route

    def find(self, method: str, path: str) -> Found[R] | None:
        """Return what answers a request for an undecoded path, or None if nothing does."""
        # HEAD asks for what GET would answer.
        routed = "GET" if method == "HEAD" else method
        exact = self._exact.get((routed, path))
        if exact is not None:
            return Found(route=exact, parameters={})
        parts = path.split("/")
        for pattern in self._patterns.get((routed, len(parts)), ()):
            parameters = pattern.match(parts)
            if parameters is not None:
                return Found(route=pattern.route, parameters=parameters)
        return self._below_prefix(routed, path)

    def find_socket(self, path: str) -> Found[R] | None:
        """Return the mounted application that a WebSocket is for, or None if there is none."""
        return self._below_prefix(ANY_METHOD, path)

    def _below_prefix(self, method: str, path: str) -> Found[R] | None:
        # An application mounted at /a has the path /a too.
        longest = f"{path}/"
        mounted = self._prefixes.get((ANY_METHOD, longest))
        if mounted is not None:
            return Found(route=mounted, parameters={})
        end = len(path)
        while (end := path.rfind("/", 0, end)) >= 0:
            prefix = path[: end + 1]
            route = self._prefixes.get((method, prefix))
            route = route or self._prefixes.get((ANY_METHOD, prefix))
            if route is not None:
                return Found(route=route, parameters={})
        return None


class _Pattern(Generic[R]):
    """A path with parameters, in parts."""

    def __init__(self, route: R) -> None:
        self.route = route
        self.parts: list[str | None] = []
        self._names: list[str] = []
        for part in route.path.split("/"):
            name = _PARAMETER.fullmatch(part)
            self.parts.append(as_sent(part) if name is None else None)
            if name is not None:
                self._names.append(name[1])
        #: Literals before parameters, from the left.
        self.order = [part is None for part in self.parts]

    def match(self, parts: list[str]) -> dict[str, str] | None:
        values: list[str] = []
        for own, part in zip(self.parts, parts, strict=True):
            if own is None:
                if not part:
                    return None
                values.append(unquote(part))
            elif own != part:
                return None
        return dict(zip(self._names, values, strict=True))
