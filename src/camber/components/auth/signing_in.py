"""The action `auth:signIn`: what a client asks for, by its provider, until it has tokens or not."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar, assert_never

from camber import ActionCtx, AppError
from camber.components.auth import operations as op
from camber.components.auth.access_tokens import AUDIENCE, Signer, issuer_of, signer_of
from camber.components.auth.attempts import Attempt
from camber.components.auth.oauth import OAuth2
from camber.components.auth.passwords import FromOneAddress, Hasher
from camber.components.auth.policy import AuthConfigError, required, shown
from camber.components.auth.providers import Anonymous, Authorized, Credentials, Password
from camber.components.auth.redirects import AllowedRedirect, destination, with_query
from camber.components.auth.sessions import RefreshToken, hash_of, secret_of_child
from camber.components.auth.store import Rules
from camber.components.auth.verification import Message, Verification, address_of, expires_at

T = TypeVar("T")
#: What clients are answered: exactly one branch (components_a 1.3).
Answer = dict[str, Any]
NOT_SIGNED_IN: Answer = {"tokens": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks `auth:signIn` for."""

    provider: str | None
    params: Mapping[str, Any]
    verifier: str | None
    refresh_token: str | None


@dataclass(slots=True, kw_only=True)
class Config:
    """What actions need to know of an application's signing in."""

    rules: Rules
    token_lifetime: timedelta
    allowed_redirects: tuple[AllowedRedirect, ...]
    #: The functions of the application's module.
    store: Any = None
    send_code: Any = None


class SigningIn:
    """One call of `auth:signIn`."""

    def __init__(self, ctx: ActionCtx, config: Config) -> None:
        self._ctx = ctx
        self._config = config
        self._rules = config.rules

    async def answer(self, request: Request) -> Answer:
        """Return what the client is answered.

        Raises:
            AppError: what was expected to go wrong has, with a code that stays.
        """
        if request.provider is None:
            return await self._without_provider(request)
        provider = self._rules.providers.get(request.provider)
        if provider is None:
            sentence = (
                f"Provider {request.provider!r} is not configured; there are: "
                f"{shown(self._rules.providers)}"
            )
            raise AppError({"code": "UnknownProvider", "message": sentence})
        match provider:
            case Verification():
                return await self._verification(provider, request)
            case OAuth2():
                return await self._oauth(provider, request)
            case Password():
                return await self._password(provider, request.params)
            case Anonymous():
                return await self._anonymous(provider)
            case Credentials():
                return await self._credentials(provider, request.params)
            case _:
                assert_never(provider)

    async def _without_provider(self, request: Request) -> Answer:
        if request.refresh_token is not None:
            return await self._refresh(request.refresh_token)
        code = request.params.get("code")
        if code is None:
            sentence = (
                "Cannot sign in: there is no `provider`, no `params.code` and no `refreshToken`"
            )
            raise AppError({"code": "MissingParameter", "message": sentence})
        return await self._redeem(code, request, provider=None)

    # Tokens.

    async def _refresh(self, text: str) -> Answer:
        token = RefreshToken.parse(text)
        signer = signer_of(self._ctx.env)
        nonce = secrets.token_hex(16)
        granted = await self._store(
            op.Refresh(
                token_id=token.token_id,
                session_id=token.session_id,
                hash=hash_of(token.secret),
                child_hash=hash_of(secret_of_child(token.secret, nonce)),
                child_nonce=nonce,
            )
        )
        if granted is None:
            return NOT_SIGNED_IN
        # That of the child that this call has made, or of the one that an earlier call has.
        secret = secret_of_child(token.secret, granted["nonce"])
        return self._tokens(granted, secret, signer)

    def _tokens(self, granted: Mapping[str, Any], secret: str, signer: Signer) -> Answer:
        issued_s = int(granted["nowMs"] // 1000)
        user_id, session_id = granted["userId"], granted["sessionId"]
        claims = {
            **granted["claims"],
            "sub": f"{user_id}|{session_id}",
            "iat": issued_s,
            "iss": issuer_of(self._ctx.env),
            "aud": AUDIENCE,
            "exp": issued_s + int(self._config.token_lifetime.total_seconds()),
        }
        refresh = RefreshToken(token_id=granted["tokenId"], session_id=session_id, secret=secret)
        return {"tokens": {"token": signer.sign(claims), "refreshToken": str(refresh)}}

    async def _sign_in(
        self,
        user_id: str,
        *,
        session_id: str | None = None,
        known: op.Known | None = None,
    ) -> Answer:
        signer, secret = signer_of(self._ctx.env), secrets.token_hex(32)
        granted = await self._store(
            op.SignIn(user_id=user_id, hash=hash_of(secret), session_id=session_id, known=known)
        )
        return NOT_SIGNED_IN if granted is None else self._tokens(granted, secret, signer)

    async def _redeem(self, code: object, request: Request, *, provider: str | None) -> Answer:
        if not isinstance(code, str):
            return NOT_SIGNED_IN
        signer, secret = signer_of(self._ctx.env), secrets.token_hex(32)
        granted = await self._store(
            op.RedeemCode(
                code_hash=hash_of(code),
                params={name: value for name, value in request.params.items() if name != "code"},
                hash=hash_of(secret),
                verifier=request.verifier,
                provider=provider,
            )
        )
        return NOT_SIGNED_IN if granted is None else self._tokens(granted, secret, signer)

    # Providers.

    async def _verification(self, provider: Verification, request: Request) -> Answer:
        if "code" in request.params:
            answer = await self._redeem(request.params["code"], request, provider=provider.id)
            if answer is NOT_SIGNED_IN:
                sentence = "Could not verify code"
                raise AppError({"code": "InvalidCode", "message": sentence})
            return answer
        address = provider.address(request.params)
        back = self._destination(request.params)
        token = provider.new_token()
        wanted = op.StartVerification(
            provider=provider.id,
            address=address,
            code_hash=hash_of(token),
            fields=provider.typed(request.params),
        )
        match Attempt(await self._store(wanted)):
            case Attempt.TAKEN:
                await send_message(self._ctx, provider, address, token, back)
            case Attempt.SPARED:
                await self._schedule_sending(provider.id, provider, address, back)
            case Attempt.CROWDED:
                self._ctx.log.warn(_CROWDED)
            case Attempt.REFUSED:
                _too_many_sendings()
        return {"started": True}

    async def _oauth(self, provider: OAuth2, request: Request) -> Answer:
        if "code" in request.params:
            return await self._redeem(request.params["code"], request, provider=provider.id)
        # What is missing or wrong is told now, where the developer sees it, and not to a browser that
        # has left the page.
        self._destination(request.params)
        provider.require_variables(self._ctx.env)
        verifier = await self._store(op.BeginFlow())
        url = f"{site_of_flows(self._ctx)}/api/auth/signin/{provider.id}"
        url = with_query(url, "code", verifier)
        redirect_to = request.params.get("redirectTo")
        if redirect_to is not None:
            url = with_query(url, "redirectTo", redirect_to)
        return {"redirect": url, "verifier": verifier}

    async def _anonymous(self, provider: Anonymous) -> Answer:
        made = await self._store(
            op.CreateAccount(
                provider=provider.id,
                account_id=secrets.token_hex(16),
                secret=None,
                fields={"isAnonymous": True},
            )
        )
        return await self._sign_in(made["account"]["userId"])

    async def _credentials(self, provider: Credentials, params: Mapping[str, Any]) -> Answer:
        authorized = await provider.authorize(self._ctx, params)
        if authorized is None:
            return NOT_SIGNED_IN
        if not isinstance(authorized, Authorized):
            authorized = Authorized(user_id=authorized)
        return await self._sign_in(authorized.user_id, session_id=authorized.session_id)

    async def _password(self, provider: Password, params: Mapping[str, Any]) -> Answer:
        match params.get("flow"):
            case "signUp":
                return await self._sign_up(provider, params)
            case "signIn":
                return await self._sign_in_by_password(provider, params)
            case "reset" if provider.reset is not None:
                address = address_of(params, "email")
                await self._send_later(provider, provider.reset, address, params)
                return NOT_SIGNED_IN
            case "reset-verification" if provider.reset is not None:
                return await self._reset_password(provider, provider.reset, params)
            case "email-verification" if provider.verify is not None:
                return await self._verify_email(provider.verify, params)
            case "change":
                return await self._change_password(provider, params)
            case "reset" | "reset-verification" | "email-verification" as flow:
                needed = "verify" if flow == "email-verification" else "reset"
                msg = f"flow {flow!r} needs Password({needed}=…), which sends codes"
                raise AuthConfigError(msg)
            case _:
                sentence = (
                    "Missing `flow` param, it must be one of 'signUp', 'signIn', 'reset', "
                    "'reset-verification', 'email-verification' or 'change'"
                )
                raise AppError(
                    {"code": "MissingParameter", "parameter": "flow", "message": sentence}
                )

    async def _sign_up(self, provider: Password, params: Mapping[str, Any]) -> Answer:
        password = provider.check(params.get("password"))
        profile = provider.user(params)
        address = address_of(profile.fields, "email")
        secret = await self._hasher(provider).hash(password)
        made = await self._store(
            op.CreateAccount(
                provider=provider.id,
                account_id=address,
                secret=secret,
                fields=dict(profile.fields),
                email_awaited=profile.email_awaited,
            )
        )
        attempt = Attempt(made["attempt"])
        if attempt is Attempt.REFUSED:
            _too_many_attempts()
        # Of a new account too, so that both take as long.
        is_right = await self._hasher(provider).verify(password, made["account"]["secret"])
        if is_right and (made["created"] or attempt is not Attempt.CROWDED):
            return await self._enter(provider, made, params)
        if provider.verify is None:
            # Without codes this cannot be hidden: whoever gets in has found the address free.
            sentence = "There is an account with this address already"
            raise AppError({"code": "AccountAlreadyExists", "message": sentence})
        # Nobody has shown yet that the address is theirs: it may be of who tries now.
        await self._store(
            op.ClaimSecret(
                provider=provider.id,
                account_id=address,
                secret=secret,
                contest_ms=provider.verify.max_age.total_seconds() * 1000,
            )
        )
        if made["account"]["emailVerified"] is None:
            await self._send_later(provider, provider.verify, address, params)
        else:
            # As if it had been sent: who has the address knows of the account.
            await self._count_sending(provider, address)
        return NOT_SIGNED_IN

    async def _sign_in_by_password(self, provider: Password, params: Mapping[str, Any]) -> Answer:
        address, password = address_of(params, "email"), params.get("password")
        if not isinstance(password, str):
            password = provider.check(password)
        attempt = await self._store(op.TakeAttempt(provider=provider.id, account_id=address))
        await self._check(provider, attempt, password)
        return await self._enter(provider, attempt, params)

    async def _check(self, provider: Password, attempt: Mapping[str, Any], password: str) -> None:
        """Do nothing if a password is that of an account."""
        if not await knows_secret(self._hasher(provider), attempt, password):
            _wrong_credentials()

    def _hasher(self, provider: Password) -> Hasher:
        return FromOneAddress(provider.hasher, self._ctx.meta.get_request_metadata().ip)

    async def _enter(
        self, provider: Password, attempt: Mapping[str, Any], params: Mapping[str, Any]
    ) -> Answer:
        """Sign in whoever knows the password, or have them prove the address first."""
        account = attempt["account"]
        if provider.verify is not None and account["emailVerified"] != account["accountId"]:
            await self._send_later(provider, provider.verify, account["accountId"], params)
            return NOT_SIGNED_IN
        known = op.Known(
            provider=provider.id,
            account_id=account["accountId"],
            attempt=attempt["attempt"],
            secret=account["secret"],
        )
        answer = await self._sign_in(account["userId"], known=known)
        if answer is NOT_SIGNED_IN:
            _wrong_credentials()
        return answer

    async def _send_later(
        self, provider: Password, sender: Verification, address: str, params: Mapping[str, Any]
    ) -> None:
        """Have a code sent to whom an address is of; nobody is told whether there is anybody."""
        back = self._destination(params)
        if await self._count_sending(provider, address) is Attempt.CROWDED:
            self._ctx.log.warn(_CROWDED)
            return
        await self._schedule_sending(provider.id, sender, address, back)

    async def _schedule_sending(
        self, provider: str, sender: Verification, address: str, back: str
    ) -> None:
        # In the background, and there for those who have no account too: how long sending takes
        # would tell.
        await self._ctx.scheduler.run_after(
            0,
            self._config.send_code,
            provider=provider,
            verification=sender.id,
            address=address,
            back=back,
        )

    async def _count_sending(self, provider: Password, address: str) -> Attempt:
        attempt = Attempt(await self._store(op.TakeSending(provider=provider.id, address=address)))
        if attempt is Attempt.REFUSED:
            _too_many_sendings()
        return attempt

    async def _reset_password(
        self, provider: Password, reset: Verification, params: Mapping[str, Any]
    ) -> Answer:
        address, code = address_of(params, "email"), params.get("code")
        password = provider.check(params.get("newPassword"))
        signer, secret = signer_of(self._ctx.env), secrets.token_hex(32)
        granted = None
        if isinstance(code, str):
            granted = await self._store(
                op.ResetPassword(
                    provider=provider.id,
                    account_id=address,
                    code_provider=reset.id,
                    code_hash=hash_of(code),
                    secret=await self._hasher(provider).hash(password),
                    hash=hash_of(secret),
                )
            )
        if granted is None:
            raise AppError({"code": "InvalidCode", "message": "Invalid code"})
        return self._tokens(granted, secret, signer)

    async def _verify_email(self, verify: Verification, params: Mapping[str, Any]) -> Answer:
        params = {**params, "email": address_of(params, "email")}
        request = Request(provider=verify.id, params=params, verifier=None, refresh_token=None)
        answer = await self._redeem(params.get("code"), request, provider=verify.id)
        if answer is NOT_SIGNED_IN:
            raise AppError({"code": "InvalidCode", "message": "Invalid code"})
        return answer

    async def _change_password(self, provider: Password, params: Mapping[str, Any]) -> Answer:
        current = params.get("currentPassword")
        password = provider.check(params.get("newPassword"))
        attempt = await self._store(op.OwnAccount(provider=provider.id))
        # Who has proven the address, and not by which password, has none: nobody can name it.
        has_one = attempt is not None and attempt["account"]["secret"] is not None
        if attempt is None or (has_one and not isinstance(current, str)):
            sentence = "Sign in with the password before changing it, and give `currentPassword`"
            raise AppError({"code": "NotSignedIn", "message": sentence})
        if has_one:
            await self._check(provider, attempt, str(current))
        elif Attempt(attempt["attempt"]) is Attempt.REFUSED:
            _too_many_attempts()
        signer, secret = signer_of(self._ctx.env), secrets.token_hex(32)
        granted = await self._store(
            op.ChangePassword(
                provider=provider.id,
                account_id=attempt["account"]["accountId"],
                secret=await self._hasher(provider).hash(password),
                hash=hash_of(secret),
            )
        )
        if granted is None:
            raise AppError({"code": "NotSignedIn", "message": "The session has ended meanwhile"})
        return self._tokens(granted, secret, signer)

    def _destination(self, params: Mapping[str, Any]) -> str:
        redirect_to = params.get("redirectTo")
        if redirect_to is not None and not isinstance(redirect_to, str):
            sentence = f"Invalid `redirectTo` {redirect_to!r}: it is a text"
            raise AppError({"code": "InvalidRedirect", "message": sentence})
        return destination(redirect_to, site_url(self._ctx), self._config.allowed_redirects)

    async def _store(self, wanted: op.Operation) -> Any:
        return await self._ctx.run_mutation(self._config.store, operation=wanted)


async def send_message(
    ctx: ActionCtx, provider: Verification, address: str, token: str, back: str
) -> None:
    """Send a code to an address, by itself and in a link."""
    message = Message(
        identifier=address,
        url=with_query(back, "code", token),
        token=token,
        expires=expires_at(time.time(), provider.max_age),
        provider=provider.id,
    )
    await provider.send(message, ctx)


def site_url(ctx: ActionCtx) -> str:
    """Return where the application's pages are."""
    return required(ctx.env, "SITE_URL", "it is the URL of the application's pages")


def site_of_flows(ctx: ActionCtx) -> str:
    """Return where the routes of OAuth flows are: a domain of the application's own, perhaps."""
    custom = ctx.env.get("CUSTOM_AUTH_SITE_URL")
    return (custom or issuer_of(ctx.env)).removesuffix("/")


async def knows_secret(hasher: Hasher, attempted: Mapping[str, Any], secret: str) -> bool:
    """Return whether a secret is that of the account of an attempt; one that is not there has none.

    Raises:
        AppError: that does not count any more (code TooManyFailedAttempts).
    """
    attempt, account = Attempt(attempted["attempt"]), attempted["account"]
    if attempt is Attempt.REFUSED:
        _too_many_attempts()
    # Whoever is let in or not: it takes as long, and so does an account that is not there.
    is_right = await hasher.verify(secret, None if account is None else account["secret"])
    if attempt is Attempt.CROWDED or (attempt is Attempt.SPARED and not is_right):
        _too_many_attempts()
    return is_right


#: For the operator. Who asked is told that it was sent, as anybody is.
_CROWDED: Final = (
    "A message was not sent: too many were asked for, to its address or from the client's, and nobody is "
    "known to have signed in by the one from the other"
)


TOO_MANY: Final = {
    "code": "TooManyFailedAttempts",
    "message": "Too many failed attempts; try again later",
}


def _wrong_credentials() -> NoReturn:
    sentence = "The address or the password is wrong"
    raise AppError({"code": "InvalidCredentials", "message": sentence})


def _too_many_attempts() -> NoReturn:
    raise AppError(TOO_MANY)


def _too_many_sendings() -> NoReturn:
    sentence = "Too many messages have been sent to this address; try again later"
    raise AppError({"code": "TooManyMessages", "message": sentence})
