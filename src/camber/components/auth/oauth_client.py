"""What is asked of an OAuth or OpenID Connect provider, and what of its answers is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from camber.components.auth.oauth import Endpoints, ExternalUser, OAuth2
from camber.components.auth.policy import AuthConfigError, Variables
from camber.components.auth.sessions import hash_of

#: For one answer of a provider, in seconds; and the bytes that it may have.
_PATIENCE_S: Final = 15.0
_ANSWER_BYTES_MAX: Final = 512 * 1024
#: What ID tokens may be signed with: nothing that a public key could be taken for a secret of.
_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
#: How far a provider's clock may be from ours, in seconds.
_TOLERANCE_S: Final = 60


class FlowFailed(Exception):  # what it says goes to the log, and to nobody else
    """A flow that does not end in signing in; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What ties a provider's answer to the browser that asked: all of it random, all in cookies."""

    code_verifier: str
    state: str
    nonce: str

    @staticmethod
    def new() -> Checks:
        """Return checks that nobody can tell."""
        return Checks(
            code_verifier=secrets.token_urlsafe(48),
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
        )

    @property
    def signature(self) -> str:
        """Return what is stored of them."""
        return hash_of(f"{self.code_verifier} {self.state} {self.nonce}")


def code_challenge(code_verifier: str) -> str:
    """Return what a provider is told of a code verifier (RFC 7636, S256)."""
    digest = hashlib.sha256(code_verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class OAuthClient:
    """This application as a client of a provider. A context manager, for one request of a flow."""

    def __init__(self, provider: OAuth2, env: Variables, redirect_uri: str) -> None:
        import httpx

        self._provider = provider
        self._redirect_uri = redirect_uri
        self._client_id = provider.client_id(env)
        self._client_secret = provider.client_secret(env)
        self._issuer = provider.issuer_of(env)
        # No redirects: they would take what is secret along to wherever they lead.
        self._http = httpx.AsyncClient(
            timeout=_PATIENCE_S,
            follow_redirects=False,
            headers={"User-Agent": "camber", "Accept": "application/json"},
        )

    async def __aenter__(self) -> OAuthClient:
        """Return the client itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def sign_in_page(self, checks: Checks) -> str:
        """Return the URL of the provider's page at which its user is asked."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri

        provider = self._provider
        more = dict(provider.parameters)
        if provider.is_oidc:
            more["nonce"] = checks.nonce
        if provider.response_mode != "query":
            more["response_mode"] = provider.response_mode
        scope = provider.scope
        if scope is None and provider.is_oidc:
            scope = "openid profile email"
        return str(
            prepare_grant_uri(
                (await self._endpoints()).authorization,
                self._client_id,
                "code",
                redirect_uri=self._redirect_uri,
                scope=scope,
                state=checks.state,
                code_challenge=code_challenge(checks.code_verifier),
                code_challenge_method="S256",
                **more,
            )
        )

    def check_answer(self, answered: Mapping[str, str], checks: Checks) -> str:
        """Return the code of an answer that a browser brings from the provider.

        Raises:
            FlowFailed: it is an answer to another flow, or no.
        """
        if not hmac.compare_digest(answered.get("state", "").encode(), checks.state.encode()):
            raise FlowFailed("the provider's answer is to another flow: its state differs")
        # RFC 9207: another provider's answer, which somebody has sent here.
        if self._issuer is not None and answered.get("iss", self._issuer) != self._issuer:
            raise FlowFailed(f"the answer is of {answered['iss']!r}, not of {self._issuer!r}")
        if "error" in answered:
            reason = answered.get("error_description", "no reason given")
            raise FlowFailed(f"the provider says {answered['error']!r}: {reason}")
        if not answered.get("code"):
            raise FlowFailed("the provider's answer has no code")
        return answered["code"]

    async def user(self, code: str, checks: Checks) -> ExternalUser:
        """Return whom a code is about, as the provider says.

        Raises:
            FlowFailed: it does not say so, or it cannot be believed.
        """
        endpoints = await self._endpoints()
        tokens = await self._tokens(endpoints, code, checks)
        if self._provider.is_oidc:
            said = await self._claims(endpoints, tokens.get("id_token"), checks)
        else:
            access_token = tokens.get("access_token")
            if not isinstance(access_token, str):
                raise FlowFailed(f"the provider has no token for the code: {_reason(tokens)}")
            bearer = {"Authorization": f"Bearer {access_token}"}

            async def ask(url: str) -> Any:
                return await self._ask("GET", url, headers=bearer)

            said = await self._provider.said(ask, endpoints)
        return self._provider.user(said)

    async def _tokens(self, endpoints: Endpoints, code: str, checks: Checks) -> dict[str, Any]:
        """Return what the provider gives for a code."""
        from authlib.oauth2.auth import ClientAuth
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        body = prepare_token_request(
            "authorization_code",
            code=code,
            redirect_uri=self._redirect_uri,
            code_verifier=checks.code_verifier,
        )
        client_id, secret = self._client_id, self._client_secret
        if self._provider.client_auth == "client_secret_basic":
            # RFC 6749 2.3.1: as forms have them.
            client_id, secret = quote_plus(client_id), quote_plus(secret or "")
        auth = ClientAuth(client_id, secret, self._provider.client_auth)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url, headers, body = auth.prepare("POST", endpoints.token, headers, body)
        found = await self._ask("POST", url, headers=headers, content=body)
        if not isinstance(found, dict):
            raise FlowFailed(f"{endpoints.token} has no JSON object")
        return found

    async def _claims(
        self, endpoints: Endpoints, token: object, checks: Checks
    ) -> Mapping[str, Any]:
        """Return the claims of an ID token, verified (OpenID Connect Core 3.1.3.7)."""
        import jwt

        if not isinstance(token, str):
            raise FlowFailed("the provider's answer has no ID token")
        if endpoints.jwks is None:
            raise FlowFailed("the provider does not say where its keys are")
        key_set = jwt.PyJWKSet.from_dict(await self._ask("GET", endpoints.jwks))
        header = jwt.get_unverified_header(token)
        named = [key for key in key_set.keys if key.key_id == header.get("kid")]
        keys = named or (key_set.keys if "kid" not in header else [])
        if len(keys) != 1 or keys[0].algorithm_name != header.get("alg"):
            raise FlowFailed("the ID token is signed by no key that the provider tells")
        claims: dict[str, Any] = jwt.decode(
            token,
            keys[0],
            algorithms=list(_ALGORITHMS),
            audience=self._client_id,
            issuer=self._issuer,
            leeway=_TOLERANCE_S,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
        is_for_many = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_many else self._client_id) != self._client_id:
            raise FlowFailed("the ID token is for another application: its azp differs")
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(
            nonce.encode(), checks.nonce.encode()
        ):
            raise FlowFailed("the ID token is of another flow: its nonce differs")
        return claims

    async def _endpoints(self) -> Endpoints:
        """Return where the provider answers, which it says itself if that is not declared."""
        found = self._provider.endpoints
        if found is None:
            if self._issuer is None:
                msg = f"provider {self._provider.id!r} needs endpoints=Endpoints(…)"
                raise AuthConfigError(msg)
            found = await self._discovered(self._issuer)
        return found

    async def _discovered(self, issuer: str) -> Endpoints:
        url = f"{issuer.removesuffix('/')}/.well-known/openid-configuration"
        said = await self._ask("GET", url)
        if not isinstance(said, dict) or said.get("issuer") != issuer:
            msg = f"{url} is not the configuration of {issuer!r}"
            raise AuthConfigError(msg)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(said.get(name), str):
                msg = f"{url} has no {name}"
                raise AuthConfigError(msg)
        return Endpoints(
            authorization=said["authorization_endpoint"],
            token=said["token_endpoint"],
            userinfo=said.get("userinfo_endpoint"),
            jwks=said["jwks_uri"],
        )

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: str | None = None,
    ) -> Any:
        """Return the JSON that the provider answers."""
        if not is_safe(url):
            msg = f"provider {self._provider.id!r} answers at {url!r}: it has to be https"
            raise AuthConfigError(msg)
        async with self._http.stream(method, url, headers=headers, content=content) as response:
            answer = b""
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > _ANSWER_BYTES_MAX:
                    raise FlowFailed(f"{url} answers more than {_ANSWER_BYTES_MAX} bytes")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not response.is_success:
            reason = _reason(found) if isinstance(found, dict) else "no reason given"
            raise FlowFailed(f"{url} answers {response.status_code}: {reason}")
        return found


def is_safe(url: str) -> bool:
    """Return whether what is sent to a URL is read by nobody on the way."""
    return urlsplit(url).scheme == "https" or is_this_machine(url)


def is_this_machine(url: str) -> bool:
    """Return whether a URL is that of a developer's own machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "http" and (
        host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")
    )


def _reason(answer: Mapping[str, Any]) -> str:
    """Return why a provider says no."""
    return str(answer.get("error_description") or answer.get("error") or "no reason given")
