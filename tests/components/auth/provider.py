"""An OAuth 2 and OpenID Connect provider on this machine, which can be made to misbehave.

It holds its clients to what they have to do: PKCE with S256, the secret, the redirect URI, codes that are
used once. What it says of its user, and how it signs that, is a test's to change.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "camber app", "s3cr:et/+ %"


class Provider:
    """The provider. `url` is its issuer."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.user: dict[str, Any] = {
            "sub": "u1",
            "email": "ada@example.com",
            "email_verified": True,
        }
        self.emails: list[dict[str, Any]] = []
        #: Changes the claims of an ID token, and how it is signed.
        self.claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self._sign
        self.configuration: dict[str, Any] = {}
        #: Where else it leads who asks, by path.
        self.leads: dict[str, str] = {}
        #: How applications say who they are: by a header, by the form, or as they like.
        self.basic: bool | None = True
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: set[str] = set()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if not self._leads_elsewhere():
                    provider._get(self)

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if self._leads_elsewhere():
                    return
                status, answer = provider._exchange(self, dict(parse_qsl(body)))
                provider._answer(self, status, answer)

            def _leads_elsewhere(self) -> bool:
                elsewhere = provider.leads.get(self.path.partition("?")[0])
                if elsewhere is None:
                    return False
                self.send_response(307)
                self.send_header("Location", elsewhere)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def consent(self, url: str) -> str:
        """Return where the user's browser is sent who has said yes at a sign-in page."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["client_id"] == CLIENT
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        path, _, query = handler.path.partition("?")
        if path.endswith("/authorize"):
            place = self.consent(f"{self.url}/authorize?{query}")
            if "form_post" in parse_qs(query).get("response_mode", []):
                self._say(handler, 200, "text/html", _posting(place))
                return
            handler.send_response(302)
            handler.send_header("Location", place)
            handler.end_headers()
            return
        if path == "/.well-known/openid-configuration":
            self._answer(handler, 200, {**self._configuration(), **self.configuration})
        elif path == "/keys":
            self._answer(handler, 200, {"keys": [self._jwk()]})
        elif handler.headers["Authorization"] not in {f"Bearer {each}" for each in self._tokens}:
            self._answer(handler, 401, {"message": "Bad credentials"})
        elif path.endswith("/user"):
            self._answer(handler, 200, self.user)
        elif path == "/user/emails":
            self._answer(handler, 200, self.emails)
        else:
            self._answer(handler, 404, {})

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def _exchange(
        self, handler: BaseHTTPRequestHandler, form: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        by_header = "Authorization" in handler.headers if self.basic is None else self.basic
        if by_header:
            encoded = handler.headers["Authorization"].removeprefix("Basic ")
            name, _, password = base64.b64decode(encoded).decode().partition(":")
            given = unquote_plus(name), unquote_plus(password)
        else:
            given = form["client_id"], form["client_secret"]
        if given != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        begun = self._codes.pop(form["code"], None)
        if begun is None:
            return 400, {"error": "invalid_grant", "error_description": "no such code"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != begun["code_challenge"] or form["redirect_uri"] != begun["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "another browser's"}
        token = secrets.token_hex(8)
        self._tokens.add(token)
        answer = {"access_token": token, "token_type": "Bearer"}
        if "nonce" in begun:
            now = int(time.time())
            claims = {
                **self.user,
                "iss": self.url,
                "aud": CLIENT,
                "iat": now,
                "exp": now + 60,
                "nonce": begun["nonce"],
            }
            answer["id_token"] = self.sign(self.claims(claims))
        return 200, answer

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def _jwk(self) -> dict[str, Any]:
        made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(
            self.key.public_key(), as_dict=True
        )
        return {**made, "kid": "k1", "alg": "RS256", "use": "sig"}

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, answer: object) -> None:
        self._say(handler, status, "application/json", json.dumps(answer))

    def _say(
        self, handler: BaseHTTPRequestHandler, status: int, content_type: str, text: str
    ) -> None:
        body = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def _posting(place: str) -> str:
    """Return a page that has its browser post what would be a place's query (OAuth 2.0 Form Post)."""
    url, _, query = place.partition("?")
    inputs = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in parse_qsl(query)
    )
    form = f'<form method="post" action="{html.escape(url)}">{inputs}</form>'
    return f'<!doctype html><body onload="document.forms[0].submit()">{form}</body>'
