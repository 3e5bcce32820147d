"""`Auth`: signing in, as an application declares it in its module `auth`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar, cast

from camber import (
    UNSET,
    ActionCtx,
    AppError,
    Arg,
    Extension,
    HttpRouter,
    Id,
    MutationCtx,
    QueryCtx,
    Request,
    Response,
    Table,
    Users,
    action,
    internal_action,
    internal_mutation,
    internal_query,
    query,
)
from camber.components.auth import operations as op
from camber.components.auth.access_tokens import issuer_of, published_keys
from camber.components.auth.accounts import AfterChange, CreateOrUpdate, UserRules
from camber.components.auth.attempts import Attempt
from camber.components.auth.oauth import OAuth2
from camber.components.auth.oauth_flow import Flow
from camber.components.auth.passwords import FromOneAddress, Hasher
from camber.components.auth.policy import AuthConfigError, Linking, SessionPolicy, shown
from camber.components.auth.providers import Credentials, Password
from camber.components.auth.redirects import AllowedRedirect
from camber.components.auth.sessions import end_sessions, hash_of
from camber.components.auth.signing_in import (
    TOO_MANY,
    Config,
    SigningIn,
    knows_secret,
    send_message,
)
from camber.components.auth.signing_in import Request as SignInRequest
from camber.components.auth.store import (
    BeforeSession,
    CustomClaims,
    Provider,
    Rules,
    caller_of,
    carry_out,
    sweep_tables,
)
from camber.components.auth.tables import TABLES, AuthSession, AuthUser
from camber.components.auth.verification import MagicLink, Verification

U = TypeVar("U", bound=AuthUser)
#: For so long others may keep what `.well-known` says, as Convex's library lets them.
_CACHED: Final = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A way in of a user, without its secret."""

    user_id: str
    account_id: str


class Auth(Extension, Generic[U]):
    """Signing in: the functions `signIn`, `signOut` and `isAuthenticated` of the module `auth`.

        auth = Auth(__name__, users=User, providers=[Password(), GitHub(), Anonymous()])

    Convex's own front end for it, `@convex-dev/auth`, talks to these functions. Who calls is `users`, for
    functions, guards and rules alike: `auth.users.role("admin")`.

    Args:
        module: the module that it is made in, `__name__`; clients know it as `auth`.
        users: the application's table `users`, a subclass of `AuthUser`.
        providers: the ways in.
        sessions: how long they last.
        token_lifetime: of an access token; a client gets another one before it ends.
        attempts_per_hour: at one account's password, or at the codes of one address, by one who tries: from
            one address, where clients' addresses are known.
        messages_per_hour: to one address, asked for by one of them.
        allowed_redirects: where browsers may be sent beside SITE_URL: origins, `https://*.example.com`,
            `myapp://*`.
        linking: when a new way in belongs to a user that there is already.
    """

    def __init__(
        self,
        module: str,
        *,
        users: type[U],
        providers: Sequence[Provider],
        sessions: SessionPolicy = SessionPolicy(),  # noqa: B008  # frozen
        token_lifetime: timedelta = timedelta(hours=1),
        attempts_per_hour: int = 10,
        messages_per_hour: int = 10,
        allowed_redirects: Iterable[str] = (),
        linking: Linking = Linking.VERIFIED_ADDRESS,
    ) -> None:
        super().__init__(module)
        if module.rpartition(".")[2] != "auth":
            msg = f"Auth stands in {module!r}; clients look for it in the module auth, `backend/auth.py`"
            raise AuthConfigError(msg)
        if getattr(getattr(users, "__camber__", None), "name", None) != "users":
            msg = f'users={users!r}: it is a subclass of AuthUser with table="users"'
            raise AuthConfigError(msg)
        named = _by_id(providers)
        #: Who calls, with their roles: what guards and rules ask. By names, since the application's
        #: own classes may take the place of these tables'.
        self.users = cast("Users[U, AuthSession]", Users("users", sessions="authSessions"))
        self._rules = Rules(
            providers=named,
            verifications=_verifications(named),
            redeemable=_redeemable(named),
            sessions=sessions,
            attempts_per_hour=attempts_per_hour,
            sendings_per_hour=messages_per_hour,
            callers=self.users,
            users=UserRules(linking=linking),
        )
        self._config = Config(
            rules=self._rules,
            token_lifetime=token_lifetime,
            allowed_redirects=tuple(AllowedRedirect.parse(each) for each in allowed_redirects),
        )
        self._declare()

    tables: ClassVar[tuple[type[Table], ...]] = TABLES

    # What an application may ask.

    def user(self, ctx: QueryCtx) -> U | None:
        """Return who is signed in, in a session that has not ended: `users.current`."""
        return self.users.current(ctx)

    def require_user(self, ctx: QueryCtx) -> U:
        """Return who is signed in, in a session that has not ended: `users.require`.

        Raises:
            AccessDenied: nobody is (code Unauthenticated).
        """
        return self.users.require(ctx)

    def session(self, ctx: QueryCtx) -> AuthSession | None:
        """Return the session of who is signed in, if it has not ended: `users.session`."""
        return self.users.session(ctx)

    def user_id(self, ctx: QueryCtx | ActionCtx) -> Id[U] | None:
        """Return who is signed in by what the token says, for actions, and where nothing is to be read.

        A session that has ended is not noticed before the token has too; `user` notices at once.
        """
        caller = self._caller(ctx)
        return None if caller is None else cast("Id[U]", caller.user_id)

    def session_id(self, ctx: QueryCtx | ActionCtx) -> Id[AuthSession] | None:
        """Return the session of who is signed in, by what the token says."""
        caller = self._caller(ctx)
        return None if caller is None else cast("Id[AuthSession]", caller.session_id)

    def _caller(self, ctx: QueryCtx | ActionCtx) -> Any:
        identity = ctx.auth.get_user_identity()
        # Whom another provider calls so is somebody else.
        if identity is None or identity.issuer != issuer_of(ctx.env):
            return None
        return caller_of(identity.subject)

    def end_sessions(self, ctx: MutationCtx, user_id: str, *, keep: Iterable[str] = ()) -> None:
        """End all sessions of a user but those that are named: refresh tokens are good no more."""
        end_sessions(ctx, user_id, frozenset(keep))

    # What an application may decide.

    def before_session_creation(self, callback: BeforeSession) -> BeforeSession:
        """Call a function of a `MutationCtx` and a user's id before each sign-in; it may raise."""
        self._rules.before_session.append(callback)
        return callback

    def custom_claims(self, callback: CustomClaims) -> CustomClaims:
        """Have further claims in each access token: a function of a ctx, a user and a session id."""
        self._rules.custom_claims = callback
        return callback

    def create_or_update_user(self, callback: CreateOrUpdate) -> CreateOrUpdate:
        """Have a function write users, and say which user an account is of, in place of Camber."""
        self._rules.users.create_or_update = callback
        return callback

    def after_user_created_or_updated(self, callback: AfterChange) -> AfterChange:
        """Call a function after each change of a user by signing in."""
        self._rules.users.after_change.append(callback)
        return callback

    # What `Credentials` providers may ask, in their `authorize`.

    async def create_account(
        self,
        ctx: ActionCtx,
        *,
        provider: str,
        account_id: str,
        secret: str | None = None,
        profile: Mapping[str, Any],
    ) -> Account:
        """Make an account, and a user with this profile.

        Raises:
            AppError: there is one already (code AccountAlreadyExists), or that was asked too often (code
                TooManyFailedAttempts).
        """
        hasher = self._hasher(ctx, provider)
        wanted = op.CreateAccount(
            provider=provider,
            account_id=account_id,
            secret=None if secret is None else await hasher.hash(secret),
            fields=dict(profile),
        )
        made = await self._store(ctx, wanted)
        if made["attempt"] == Attempt.REFUSED.value:
            raise AppError(TOO_MANY)
        if not made["created"]:
            sentence = f"There is an account {account_id!r} already"
            raise AppError({"code": "AccountAlreadyExists", "message": sentence})
        if secret is not None:
            await self._succeeded(ctx, provider, made)
        return _account(made["account"])

    async def retrieve_account(
        self, ctx: ActionCtx, *, provider: str, account_id: str, secret: str | None = None
    ) -> Account:
        """Return an account, if the secret is its.

        Raises:
            AppError: it is not, or there is none (code InvalidCredentials), or it has been tried too
                often (code TooManyFailedAttempts).
        """
        if secret is None:
            found = await self._store(ctx, op.GetAccount(provider=provider, account_id=account_id))
            if found is None:
                raise AppError(_WRONG)
            return _account(found)
        attempt = await self._store(ctx, op.TakeAttempt(provider=provider, account_id=account_id))
        if not await knows_secret(self._hasher(ctx, provider), attempt, secret):
            raise AppError(_WRONG)
        await self._succeeded(ctx, provider, attempt)
        return _account(attempt["account"])

    async def _succeeded(self, ctx: ActionCtx, provider: str, attempt: Mapping[str, Any]) -> None:
        account = attempt["account"]
        known = op.Known(
            provider=provider,
            account_id=account["accountId"],
            attempt=attempt["attempt"],
            secret=account["secret"],
        )
        await self._store(ctx, op.Succeeded(known=known))

    async def modify_account_credentials(
        self, ctx: ActionCtx, *, provider: str, account_id: str, secret: str
    ) -> None:
        """Give an account another secret.

        Raises:
            AppError: there is none (code InvalidCredentials).
        """
        hashed = await self._hasher(ctx, provider).hash(secret)
        wanted = op.ReplaceSecret(provider=provider, account_id=account_id, secret=hashed)
        if not await self._store(ctx, wanted):
            raise AppError(_WRONG)

    async def invalidate_sessions(
        self, ctx: ActionCtx, user_id: str, *, keep: Iterable[str] = ()
    ) -> None:
        """End all sessions of a user but those that are named, from an action."""
        await self._store(ctx, op.InvalidateSessions(user_id=user_id, keep=list(keep)))

    def _hasher(self, ctx: ActionCtx, provider: str) -> Hasher:
        found = self._rules.providers.get(provider)
        if not isinstance(found, Password | Credentials):
            msg = f"provider {provider!r} has no secrets; there are: {shown(self._rules.providers)}"
            raise AuthConfigError(msg)
        return FromOneAddress(found.hasher, ctx.meta.get_request_metadata().ip)

    async def _store(self, ctx: ActionCtx, wanted: op.Operation) -> Any:
        return await ctx.run_mutation(self._config.store, operation=wanted)

    # Functions and routes.

    def _declare(self) -> None:
        """Declare the functions of the module; handlers are functions of their own for each."""
        rules, config = self._rules, self._config

        async def sign_in(
            ctx: ActionCtx,
            provider: str = UNSET,
            params: Any = UNSET,
            verifier: str = UNSET,
            refresh_token: Annotated[str, Arg("refreshToken")] = UNSET,
            called_by: Annotated[str, Arg("calledBy")] = UNSET,
        ) -> dict[str, Any]:
            """Sign in, go on with signing in, or take a refresh token for new tokens."""
            del called_by
            params = {} if params is UNSET or params is None else params
            if not isinstance(params, dict):
                sentence = f"`params` is an object, not {type(params).__name__}"
                raise AppError({"code": "MissingParameter", "message": sentence})
            request = SignInRequest(
                provider=None if provider is UNSET else provider,
                params=params,
                verifier=None if verifier is UNSET else verifier,
                refresh_token=None if refresh_token is UNSET else refresh_token,
            )
            return await SigningIn(ctx, config).answer(request)

        async def sign_out(ctx: ActionCtx) -> None:
            """End the session of who calls."""
            await ctx.run_mutation(config.store, operation=op.SignOut())

        def is_authenticated(ctx: QueryCtx) -> bool:
            """Return whether somebody is signed in."""
            return ctx.auth.get_user_identity() is not None

        def store(ctx: MutationCtx, operation: op.Operation) -> Any:
            """Carry out what an action of signing in needs."""
            return carry_out(ctx, rules, operation)

        async def send_code(
            ctx: ActionCtx, provider: str, verification: str, address: str, back: str
        ) -> None:
            """Make a code for an account and send it, if there is one."""
            sender = rules.verifications[verification]
            token = sender.new_token()
            wanted = op.CodeForAccount(
                provider=sender.id,
                account_provider=provider,
                account_id=address,
                code_hash=hash_of(token),
            )
            if await ctx.run_mutation(config.store, operation=wanted):
                await send_message(ctx, sender, address, token, back)

        def sweep(ctx: MutationCtx) -> None:
            """Delete sessions, tokens and codes that have had their time."""
            if sweep_tables(ctx):
                ctx.scheduler.run_after(0, sweeping)

        def token_lifetime(ctx: QueryCtx) -> float:
            """Return for how many seconds an access token is good."""
            del ctx
            return config.token_lifetime.total_seconds()

        self.sign_in = self.declares(action(name="signIn"), sign_in)
        self.sign_out = self.declares(action(name="signOut"), sign_out)
        self.is_authenticated = self.declares(query(name="isAuthenticated"), is_authenticated)
        config.store = self.declares(internal_mutation(name="store"), store)
        config.send_code = self.declares(internal_action(name="sendCode"), send_code)
        sweeping = self.declares(internal_mutation(name="sweep"), sweep)
        self.declares(internal_query(name="tokenLifetime"), token_lifetime)
        self.crons.interval(f"{self.module.rpartition('.')[2]}: sweep", sweeping, hours=1)

    def add_http_routes(self, http: HttpRouter) -> None:
        """Add the routes of signing in to the application's."""
        http.get("/.well-known/openid-configuration")(_configuration)
        http.get("/.well-known/jwks.json")(_key_set)
        external = {
            name: provider
            for name, provider in self._rules.providers.items()
            if isinstance(provider, OAuth2)
        }
        for name, provider in external.items():
            begin, end = _begin(self._config, provider), _end(self._config, provider)
            http.get(f"/api/auth/signin/{name}")(begin)
            http.get(f"/api/auth/callback/{name}")(end)
            if provider.response_mode == "form_post":
                http.post(f"/api/auth/callback/{name}")(end)


_WRONG: Final = {"code": "InvalidCredentials", "message": "The account or the secret is wrong"}


def _account(found: Mapping[str, Any]) -> Account:
    return Account(user_id=found["userId"], account_id=found["accountId"])


def _by_id(providers: Sequence[Provider]) -> dict[str, Provider]:
    found: dict[str, Provider] = {}
    for provider in providers:
        _check_provider(provider)
        if provider.id in found:
            msg = f"there are two providers called {provider.id!r}: give one another id="
            raise AuthConfigError(msg)
        found[provider.id] = provider
    return found


def _check_provider(provider: object) -> None:
    if not isinstance(provider, Provider):
        name = getattr(provider, "__name__", None)
        hint = f": write {name}()" if isinstance(provider, type) else ""
        msg = f"providers has {provider!r}, which is no provider{hint}"
        raise AuthConfigError(msg)


def _verifications(providers: Mapping[str, Provider]) -> dict[str, Verification]:
    """Return what sends codes, for itself and for passwords, by id."""
    found: dict[str, Verification] = {}
    for provider in providers.values():
        own = [provider] if isinstance(provider, Verification) else []
        if isinstance(provider, Password):
            own = [each for each in (provider.verify, provider.reset) if each is not None]
        for each in own:
            if found.setdefault(each.id, each) is not each:
                msg = f"there are two providers called {each.id!r}: give one another id="
                raise AuthConfigError(msg)
    return found


def _redeemable(providers: Mapping[str, Provider]) -> frozenset[str]:
    """Return the senders whose codes sign in by themselves: never those that reset a password."""
    found = {name for name, each in providers.items() if isinstance(each, Verification)}
    for provider in providers.values():
        # The link of a message leads to a page that has the code and nothing else.
        if isinstance(provider, Password) and isinstance(provider.verify, MagicLink):
            found.add(provider.verify.id)
    for provider in providers.values():
        if isinstance(provider, Password) and provider.reset is not None:
            found.discard(provider.reset.id)
    return frozenset(found)


async def _configuration(ctx: ActionCtx, request: Request) -> Response:
    """Say where the keys of access tokens are (OpenID Connect Discovery)."""
    del request
    issuer = issuer_of(ctx.env)
    return _public_json(
        {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "authorization_endpoint": f"{issuer}/oauth/authorize",
        }
    )


async def _key_set(ctx: ActionCtx, request: Request) -> Response:
    """Return the public keys of access tokens."""
    del request
    return _public_json(published_keys(ctx.env, time.time()))


def _public_json(value: object) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, headers={"Cache-Control": _CACHED})


def _begin(config: Config, provider: OAuth2) -> Callable[[ActionCtx, Request], Any]:
    async def begin(ctx: ActionCtx, request: Request) -> Response:
        """Send a browser to the provider's sign-in page."""
        try:
            return await Flow(ctx, config, provider).begin(request)
        except AppError as error:
            ctx.log.error(f"Signing in by {provider.id} cannot begin: {error.data}")
            return Response(status_code=400)
        # Whatever it is: a browser is no place for it.
        except Exception as error:  # noqa: BLE001
            ctx.log.error(f"Signing in by {provider.id} cannot begin: {error}")
            return Response(status_code=500)

    return begin


def _end(config: Config, provider: OAuth2) -> Callable[[ActionCtx, Request], Any]:
    async def end(ctx: ActionCtx, request: Request) -> Response:
        """Take a browser back from the provider."""
        return await Flow(ctx, config, provider).end(request)

    return end
