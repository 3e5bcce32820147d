"""Calling a running deployment, as the holder of one of its keys.

Whatever goes wrong on the way is a `CallFailed`, which commands tell in one line: this is the one
place that knows what HTTP and sockets raise.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from camber.errors import CamberError
from camber.version import VERSION

# Imported by who calls a deployment: a server that starts would wait for them.
if TYPE_CHECKING:
    import httpx
    from websockets.sync.client import ClientConnection

#: How long an answer may take, in seconds: an action may take ten minutes.
_ANSWER_S_MAX = 660.0
#: How long a connection may take to be made, in seconds.
_CONNECT_S_MAX = 10.0
#: How long a lost deployment is looked for, in seconds, and the pause between two attempts.
_RECONNECT_S_MAX = 60.0
_RECONNECT_PAUSE_S = 0.5

_URL = "CONVEX_SELF_HOSTED_URL"
_ADMIN_KEY = "CONVEX_SELF_HOSTED_ADMIN_KEY"


class CallFailed(CamberError):
    """A call that the deployment answered with an error, or did not answer.

    `code` is the deployment's own code where it gave one.
    """

    code = "CallFailed"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a deployment is and a key of it."""

    url: str
    admin_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came out of a function: its value as encoded JSON (protocol 1.2), and its log."""

    value: Any
    log_lines: tuple[str, ...]


def target_of(root: Path, url: str | None, admin_key: str | None) -> Target:
    """Return the deployment to call: as given, else the one that `.env.local` in `root` names.

    The key in `.env.local` goes to the deployment that stands beside it, and to no other.

    Raises:
        CallFailed: it is not known where the deployment is, or which key to use.
    """
    written = read_env_local(root / ".env.local")
    written_url, written_key = written.get(_URL), written.get(_ADMIN_KEY)
    found_url = (url or written_url or "").rstrip("/")
    if not found_url:
        msg = (
            f"no deployment is named: run `camber dev` in {root} first, which writes .env.local, "
            f"or give --url and --admin-key, or set {_URL} and {_ADMIN_KEY}"
        )
        raise CallFailed(msg)
    if not found_url.startswith(("http://", "https://")):
        msg = f"{found_url!r} is no origin of a deployment such as http://127.0.0.1:3210"
        raise CallFailed(msg)
    if admin_key is None and written_url is not None and found_url == written_url.rstrip("/"):
        admin_key = written_key
    if not admin_key:
        msg = f"no key for {found_url} is known: give --admin-key, or set {_ADMIN_KEY}"
        raise CallFailed(msg)
    if not admin_key.isascii() or not admin_key.isprintable():
        msg = "the admin key has characters that no key has; copy it again"
        raise CallFailed(msg)
    return Target(found_url, admin_key)


class Client:
    """Calls one deployment. Its connections are closed when nobody holds it any more."""

    def __init__(self, target: Target) -> None:
        import httpx

        self._target = target
        self._http = httpx.Client(
            base_url=target.url,
            headers={
                "Authorization": f"Convex {target.admin_key}",
                "Convex-Client": f"camber-cli-{VERSION}",
            },
            timeout=httpx.Timeout(_ANSWER_S_MAX, connect=_CONNECT_S_MAX),
        )
        weakref.finalize(self, self._http.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        """Return the deployment's origin."""
        return self._target.url

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Return the response to a request; `request` is what `httpx.request` takes.

        Raises:
            CallFailed: the deployment does not answer, or with an error.
        """
        with self._telling():
            response = self._http.request(method, path, **request)
        _refuse_errors(response)
        return response

    @contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """Open a response whose body is read piece by piece.

        Raises:
            CallFailed: as `request`, while it is read too.
        """
        with self._telling(), self._http.stream(method, path, **request) as response:
            if not response.is_success:
                response.read()
            _refuse_errors(response)
            yield response

    def post(self, path: str, body: Any) -> Any:
        """Send JSON and return the JSON of the answer; None where it has no body."""
        response = self.request("POST", path, json=body)
        return _json(response) if response.content else None

    def get(self, path: str, **parameters: str) -> Any:
        """Return the JSON of an answer."""
        response = self.request(
            "GET", path, params=parameters, headers={"Content-Type": "application/json"}
        )
        return _json(response)

    def run(
        self,
        path: str,
        args: Mapping[str, Any],
        *,
        acting_as: Mapping[str, Any] | None = None,
        component: str = "",
    ) -> Answer:
        """Run any function; `args` is encoded JSON, `acting_as` whom to be.

        Raises:
            CallFailed: it failed, or the deployment cannot be reached.
        """
        answer = self._call("/api/function", path, args, acting_as, component)
        log_lines = tuple(answer.get("logLines", ()))
        return Answer(value=answer["value"], log_lines=log_lines)

    def explain(
        self,
        path: str,
        args: Mapping[str, Any],
        *,
        acting_as: Mapping[str, Any] | None = None,
        component: str = "",
    ) -> dict[str, Any]:
        """Return what a query or mutation reads; it is run, and nothing is written.

        Raises:
            CallFailed: it cannot be explained, or the deployment cannot be reached.
        """
        answer = self._call("/api/camber/explain", path, args, acting_as, component)
        explanation: dict[str, Any] = answer["value"]
        return explanation

    def _call(
        self,
        url: str,
        path: str,
        args: Mapping[str, Any],
        acting_as: Mapping[str, Any] | None,
        component: str,
    ) -> dict[str, Any]:
        headers = {}
        if acting_as is not None:
            identity = base64.b64encode(json.dumps(acting_as).encode()).decode()
            headers["Authorization"] = f"Convex {self._target.admin_key}:{identity}"
        body = {
            "path": path,
            "args": args,
            "format": "convex_encoded_json",
            "componentPath": component,
        }
        answer: dict[str, Any] = _json(self.request("POST", url, json=body, headers=headers))
        if answer["status"] != "success":
            raise CallFailed(answer["errorMessage"].strip(), code="FunctionFailed")
        return answer

    def query(self, path: str, *, component: str = "", **args: Any) -> Any:
        """Return what a query of the server's own says of a component, as encoded JSON.

        Raises:
            CallFailed: it is refused, or the deployment cannot be reached.
        """
        return self.run(path, args, component=component).value

    def check_component(self, path: str) -> None:
        """Do nothing if there is a component of this path, or data of one.

        Raises:
            CallFailed: there is none; it names those that there are.
        """
        if path:
            page = {"cursor": None, "numItems": 1}
            self.query("_system/cli/tables", component=path, paginationOpts=page)

    def watch(
        self,
        path: str,
        args: Mapping[str, Any],
        *,
        acting_as: Mapping[str, Any] | None = None,
        component: str = "",
    ) -> Generator[Any | CallFailed, None, None]:
        """Yield a query's result, and again whenever it changes: its value, or why it failed.

        A connection that is lost is made again; results that have not changed are not repeated.

        Raises:
            CallFailed: the key is refused, or the deployment cannot be reached.
        """
        from websockets.exceptions import WebSocketException

        last: Any = _NOTHING_YET
        lost_at: float | None = None
        while True:
            try:
                with self._socket() as socket:
                    for message in self._subscribe(path, args, acting_as, component):
                        socket.send(json.dumps(message))
                    for text in socket:
                        lost_at = None
                        for result in _results(json.loads(text)):
                            shown = str(result) if isinstance(result, CallFailed) else result
                            if shown != last:
                                last = shown
                                yield result
                ended: Exception = ConnectionError("the connection was closed")
            except (OSError, WebSocketException) as error:
                ended = error
            now = time.monotonic()  # noqa: TID251  # a command, not the server
            lost_at = now if lost_at is None else lost_at
            if last is _NOTHING_YET or now - lost_at > _RECONNECT_S_MAX:
                raise self._silent(ended)
            time.sleep(_RECONNECT_PAUSE_S)

    def _socket(self) -> ClientConnection:
        from websockets.sync.client import connect

        parts = urlsplit(self._target.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        url = urlunsplit((scheme, parts.netloc, f"{parts.path}/api/sync", "", ""))
        return connect(url, max_size=None, open_timeout=_CONNECT_S_MAX)

    def _subscribe(
        self,
        path: str,
        args: Mapping[str, Any],
        acting_as: Mapping[str, Any] | None,
        component: str,
    ) -> list[dict[str, Any]]:
        authenticate: dict[str, Any] = {
            "type": "Authenticate",
            "baseVersion": 0,
            "tokenType": "Admin",
            "value": self._target.admin_key,
        }
        if acting_as is not None:
            authenticate["impersonating"] = acting_as
        add = {
            "type": "Add",
            "queryId": 0,
            "udfPath": path,
            "args": [args],
            "componentPath": component,
        }
        return [
            {"type": "Connect", "sessionId": str(uuid.UUID(int=0)), "connectionCount": 0},
            authenticate,
            {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]},
        ]

    @contextmanager
    def _telling(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> CallFailed:
        reason = str(error) or type(error).__name__
        return CallFailed(
            f"{self._target.url} does not answer: {reason}. Is a server running there?",
            code="Unreachable",
        )


_NOTHING_YET = object()


def _refuse_errors(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        answer = response.json()
        sentence, code = str(answer["message"]), str(answer["code"])
    except (ValueError, KeyError, TypeError):
        sentence = (
            f"{response.request.url} answered with status {response.status_code}. Is it a Camber "
            "server of this version?"
        )
        if response.status_code == 404 and _is_of_site(response.text):
            url = response.request.url
            sentence = (
                f"{url.scheme}://{url.netloc.decode()} is where HTTP actions are; give the URL of "
                "the API, which has the port before it by default"
            )
        code = "CallFailed"
    raise CallFailed(sentence, code=code)


def _is_of_site(text: str) -> bool:
    """Return whether the site of a server has answered that it has no such route."""
    return text == "No matching routes found" or "does not have HTTP actions enabled" in text


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        msg = f"{response.request.url} does not answer with JSON. Is it a Camber server?"
        raise CallFailed(msg) from None


def _results(message: dict[str, Any]) -> Iterator[Any | CallFailed]:
    match message["type"]:
        case "Transition":
            for change in message["modifications"]:
                if change["type"] == "QueryFailed":
                    yield CallFailed(change["errorMessage"].strip(), code="FunctionFailed")
                elif change["type"] == "QueryUpdated":
                    yield change["value"]
        case "AuthError" | "FatalError":
            raise CallFailed(message["error"])
        case _:
            return


def read_env_local(file: Path) -> dict[str, str]:
    """Return the variables of a `.env.local` as `camber dev` writes it; none if it is not there."""
    if not file.is_file():
        return {}
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = value.strip().strip("\"'")
    return found
