"""The two routes of an OAuth flow: to the provider's sign-in page, and back from it.

The browser that comes back has to be the one that went: what the flow is signed with is in its
cookies alone. Whatever goes wrong on the way back is written to the log; the browser is sent to the
application without a code, and without a reason.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Final

from camber import ActionCtx, AppError, Request, Response
from camber.components.auth import operations as op
from camber.components.auth.oauth import OAuth2
from camber.components.auth.oauth_client import Checks, FlowFailed, OAuthClient, is_this_machine
from camber.components.auth.policy import FLOW_MS
from camber.components.auth.redirects import destination, with_query
from camber.components.auth.sessions import hash_of
from camber.components.auth.signing_in import Config, site_of_flows, site_url

#: Digits of the code that lets the browser in, as Convex's library has it.
_CODE_DIGITS: Final = 8


class Flow:
    """A flow by one provider, as far as one request takes it."""

    def __init__(self, ctx: ActionCtx, config: Config, provider: OAuth2) -> None:
        self._ctx = ctx
        self._config = config
        self._provider = provider
        self._site = site_of_flows(ctx)
        self._cookies = _Cookies(site=self._site, provider=provider)
        self._redirect_uri = f"{self._site}/api/auth/callback/{provider.id}"

    async def begin(self, request: Request) -> Response:
        """Send a browser to the provider, with cookies by which it is known when it comes back."""
        code = request.query_params.get("code")
        redirect_to = request.query_params.get("redirectTo")
        if code is None:
            raise AppError({"code": "MissingParameter", "message": "Missing sign-in verifier"})
        destination(redirect_to, site_url(self._ctx), self._config.allowed_redirects)
        checks = Checks.new()
        signed = op.SignFlow(verifier=code, signature=checks.signature)
        if not await self._ctx.run_mutation(self._config.store, operation=signed):
            raise AppError({"code": "InvalidVerifier", "message": "Invalid sign-in verifier"})
        async with self._client() as client:
            url = await client.sign_in_page(checks)
        response = _redirect(url)
        self._cookies.give(response, checks, redirect_to)
        return response

    async def end(self, request: Request) -> Response:
        """Take a browser back from the provider, with a code for the application if all is well."""
        redirect_to = self._cookies.redirect_to(request)
        pages = site_url(self._ctx)
        try:
            back = destination(redirect_to, pages, self._config.allowed_redirects)
        except AppError:
            back = destination(None, pages, ())
        try:
            back = with_query(back, "code", await self._code(request))
        # Whatever it is: a browser is no place for it.
        except Exception as error:  # noqa: BLE001
            self._ctx.log.error(f"Signing in by {self._provider.id} has failed: {_said(error)}")
        response = _redirect(back)
        self._cookies.take_back(response)
        return response

    async def _code(self, request: Request) -> str:
        checks = self._cookies.checks(request)
        if checks is None:
            raise FlowFailed("the browser has no cookies of this flow; it may have taken too long")
        async with self._client() as client:
            code = client.check_answer(await _parameters(request), checks)
            user = await client.user(code, checks)
        code = "".join(secrets.choice("0123456789") for _ in range(_CODE_DIGITS))
        ended = op.EndFlow(
            provider=self._provider.id,
            account_id=user.id,
            fields=dict(user.profile.fields),
            email_proven=user.profile.email_proven,
            signature=checks.signature,
            code_hash=hash_of(code),
        )
        if not await self._ctx.run_mutation(self._config.store, operation=ended):
            raise FlowFailed("Invalid state: no flow has these cookies, or it has ended")
        return code

    def _client(self) -> OAuthClient:
        return OAuthClient(self._provider, self._ctx.env, self._redirect_uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cookies:
    """The cookies of a flow. `__Host-` keeps those of other hosts below the same domain out."""

    site: str
    provider: OAuth2

    def give(self, response: Response, checks: Checks, redirect_to: str | None) -> None:
        values = {
            "OAuthpkce": checks.code_verifier,
            "OAuthstate": checks.state,
            "OAuthnonce": checks.nonce,
        }
        if redirect_to is not None:
            values["RedirectTo"] = base64.urlsafe_b64encode(redirect_to.encode()).decode()
        for name, value in values.items():
            self._set(response, name, value, FLOW_MS // 1000)

    def take_back(self, response: Response) -> None:
        for name in ("OAuthpkce", "OAuthstate", "OAuthnonce", "RedirectTo"):
            self._set(response, name, "", 0)

    def checks(self, request: Request) -> Checks | None:
        code_verifier, state, nonce = (
            request.cookies.get(self._name(name))
            for name in ("OAuthpkce", "OAuthstate", "OAuthnonce")
        )
        if not code_verifier or not state or not nonce:
            return None
        return Checks(code_verifier=code_verifier, state=state, nonce=nonce)

    def redirect_to(self, request: Request) -> str | None:
        value = request.cookies.get(self._name("RedirectTo"))
        try:
            return None if not value else base64.urlsafe_b64decode(value).decode()
        except ValueError:
            return None

    def _set(self, response: Response, name: str, value: str, life_s: int) -> None:
        # A form that a provider has the browser post comes from another site: Lax cookies stay
        # away from those. Browsers take SameSite=None over TLS alone.
        is_form = self.provider.response_mode == "form_post"
        response.set_cookie(
            self._name(name),
            value,
            max_age=life_s,
            path="/",
            secure=self._is_secure or is_form,
            httponly=True,
            samesite="none" if is_form else "lax",
        )

    def _name(self, name: str) -> str:
        prefix = "__Host-" if self._is_secure else ""
        return f"{prefix}{self.provider.id}{name}"

    @property
    def _is_secure(self) -> bool:
        return not is_this_machine(self.site)


async def _parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a provider's answer, of its query or of the form that it posts."""
    found = dict(request.query_params)
    if request.method == "POST":
        async with request.form(max_files=0, max_fields=32) as form:
            found.update({name: value for name, value in form.items() if isinstance(value, str)})
    return found


def _redirect(url: str) -> Response:
    # Not Starlette's: it quotes, and a URL of an application's own scheme stays as it is.
    return Response(status_code=302, headers={"Location": url, "Cache-Control": "must-revalidate"})


def _said(error: Exception) -> str:
    if isinstance(error, FlowFailed):
        return str(error)
    return f"{type(error).__name__}: {error}"
