"""A local OpenID Connect provider: a real HTTP server on loopback, whose keys rotate when a test says so."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.identity import issuing
from tests.identity.issuing import APPLICATION, Key, key_set


class ProviderServer:
    """Serves its configuration and its keys, and signs tokens with the newest of them."""

    def __init__(self, key: Key | None = None) -> None:
        self.keys = [key or issuing.key("ES256")]
        self.asked: Counter[str] = Counter()
        self.headers = {"Content-Type": "application/json"}
        #: What is answered instead, by path: a status, or a function of the request's handler.
        self.instead: dict[str, Any] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> ProviderServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.may_answer.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def rotate(self, key: Key, *, keep: bool = False) -> None:
        """Sign with another key from now on; the old one is withdrawn unless it is kept."""
        self.keys = [key, *(self.keys if keep else [])]

    def token(self, subject: str = "ada", **claims: Any) -> str:
        body = issuing.claims(iss=self.issuer, sub=subject, **claims)
        return issuing.token(self.keys[0], body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked[self.path] += 1
                provider.may_answer.wait(30)
                instead = provider.instead.get(self.path)
                if callable(instead):
                    instead(self)
                elif instead is not None:
                    self.send_error(instead)
                elif self.path == "/.well-known/openid-configuration":
                    self.answer(
                        json.dumps(
                            {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys"}
                        ).encode()
                    )
                elif self.path == "/keys":
                    self.answer(key_set(*provider.keys))
                else:
                    self.send_error(404)

            def answer(self, content: bytes, **headers: str) -> None:
                self.send_response(200)
                for name, value in {**provider.headers, **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


__all__ = ["APPLICATION", "ProviderServer"]
