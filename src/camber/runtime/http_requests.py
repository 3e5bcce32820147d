"""HTTP requests as they reach user code: the head as data, the rest as ASGI messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

#: An ASGI message: what servers and applications say to each other is settled there.
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a request, or of a WebSocket, and the route that it is for.

    `route` is the name of a component's route, which is served below `prefix`; `path` is decoded, and begins with `root_path`, below which this
    deployment is served.
    """

    route: str
    prefix: str
    parameters: dict[str, str]
    type: Literal["http", "websocket"]
    method: str
    scheme: str
    http_version: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    root_path: str
    subprotocols: list[str] = []
    extensions: list[str] = []

    @property
    def is_socket(self) -> bool:
        """Return whether it asks for a WebSocket."""
        return self.type == "websocket"

    def scope(self, version: str) -> dict[str, Any]:
        """Return the ASGI scope of the request, by a version of its specification."""
        scope: dict[str, Any] = {
            "type": self.type,
            "asgi": {"version": "3.0", "spec_version": version},
            "http_version": self.http_version,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.raw_path,
            "query_string": self.query,
            "root_path": self.root_path,
            "headers": [(name, value) for name, value in self.headers],
            "client": self.client,
            "server": self.server,
            "path_params": dict(self.parameters),
            "extensions": {name: {} for name in self.extensions},
        }
        if self.is_socket:
            scope["subprotocols"] = list(self.subprotocols)
        else:
            scope["method"] = self.method
        return scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The client's end of a request, on the server's loop."""

    receive: Receive
    send: Send
