"""What the mutation `auth:store` does: each operation on the tables, in its one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, assert_never, cast

from camber import MutationCtx, Users, lt
from camber.components.auth import operations as op
from camber.components.auth.access_tokens import checked_claims
from camber.components.auth.accounts import (
    Kind,
    NewAccount,
    Profile,
    UserRules,
    find_account,
    sign_up,
    update_user,
)
from camber.components.auth.attempts import (
    Attempt,
    Target,
    attempt_succeeded,
    forget_attempts,
    take_attempt,
)
from camber.components.auth.codes import (
    Authorize,
    NewCode,
    PresentedCode,
    Redeemed,
    issue_code,
    redeem_code,
)
from camber.components.auth.oauth import OAuth2
from camber.components.auth.policy import (
    FLOW_MS,
    HOUR_MS,
    KNOWN_ADDRESS_MS,
    OAUTH_CODE_MS,
    SESSIONS_SWEPT_AT_ONCE,
    SWEPT_AT_ONCE,
    SessionPolicy,
)
from camber.components.auth.providers import Anonymous, Credentials, Password
from camber.components.auth.sessions import (
    Presented,
    begin_session,
    end_session,
    end_sessions,
    forget_tokens,
    has_had_its_time,
    join_session,
    refresh_session,
)
from camber.components.auth.tables import AuthAccount, AuthSession, AuthVerifier, FlowEnd
from camber.components.auth.verification import Verification, normalised

Provider = Password | Verification | OAuth2 | Anonymous | Credentials
BeforeSession = Callable[[MutationCtx, str], None]
CustomClaims = Callable[[MutationCtx, str, str], Mapping[str, Any]]


@dataclass(slots=True, kw_only=True)
class Rules:
    """What an application has decided of signing in. Decorators of its module add to it."""

    #: Those that clients can name.
    providers: Mapping[str, Provider]
    #: Those and the ones that prove addresses for passwords.
    verifications: Mapping[str, Verification]
    #: Of these, those whose codes sign in without their provider's name.
    redeemable: frozenset[str]
    sessions: SessionPolicy
    attempts_per_hour: int
    sendings_per_hour: int
    callers: Users[Any, AuthSession]
    users: UserRules
    before_session: list[BeforeSession] = field(default_factory=list)
    custom_claims: CustomClaims | None = None

    def secret(self, account: op.AccountName) -> Target:
        """Return the secret of an account, as what is tried."""
        return Target(
            kind="secret",
            of=(account.provider, account.account_id),
            per_hour=self.attempts_per_hour,
        )

    def code(self, address: str, account: op.AccountName | None = None) -> Target:
        """Return the codes of an address; who knows the secret of `account` has it."""
        return Target(
            kind="code",
            of=(address.strip().lower(),),
            per_hour=self.attempts_per_hour,
            proven_by=() if account is None else (self.secret(account),),
        )

    def sending(self, address: str, provider: str) -> Target:
        """Return the messages to an address, by which there may be an account at a provider."""
        account = op.AccountName(provider=provider, account_id=address)
        return Target(
            kind="sending",
            of=(address,),
            per_hour=self.sendings_per_hour,
            proven_by=(self.code(address), self.secret(account)),
        )


def carry_out(ctx: MutationCtx, rules: Rules, wanted: op.Operation) -> Any:
    """Carry out an operation and return what its action needs to know."""
    store = _Store(ctx, rules)
    match wanted:
        case op.SignIn():
            return store.sign_in(wanted)
        case op.SignOut():
            return store.sign_out()
        case op.Refresh():
            return store.refresh(wanted)
        case op.RedeemCode():
            return store.redeem_code(wanted)
        case op.BeginFlow():
            return store.begin_flow()
        case op.SignFlow():
            return store.sign_flow(wanted)
        case op.EndFlow():
            return store.end_flow(wanted)
        case op.StartVerification():
            return store.start_verification(wanted).value
        case op.TakeSending():
            return take_attempt(ctx, rules.sending(wanted.address, wanted.provider)).value
        case op.CodeForAccount():
            return store.code_for_account(wanted)
        case op.TakeAttempt():
            return store.take_attempt(wanted)
        case op.Succeeded():
            return store.succeeded(wanted.known)
        case op.CreateAccount():
            return store.create_account(wanted)
        case op.GetAccount():
            return _shown(find_account(ctx, wanted.provider, wanted.account_id))
        case op.ReplaceSecret():
            return store.replace_secret(wanted)
        case op.ClaimSecret():
            return store.claim_secret(wanted)
        case op.ResetPassword():
            return store.reset_password(wanted)
        case op.ChangePassword():
            return store.change_password(wanted)
        case op.OwnAccount():
            return store.own_account(wanted)
        case op.InvalidateSessions():
            return end_sessions(ctx, wanted.user_id, frozenset(wanted.keep))
        case _:
            assert_never(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is signed in here: a user, in a session."""

    user_id: str
    session_id: str


def caller_of(subject: str) -> Caller | None:
    """Return whom the subject of a token of this deployment means."""
    user_id, bar, session_id = subject.partition("|")
    return Caller(user_id=user_id, session_id=session_id) if bar else None


class _Store:
    def __init__(self, ctx: MutationCtx, rules: Rules) -> None:
        self._ctx = ctx
        self._rules = rules

    # Sessions.

    def sign_in(self, wanted: op.SignIn) -> dict[str, Any] | None:
        known = wanted.known
        if known is not None:
            account = find_account(self._ctx, known.provider, known.account_id)
            # While the secret was looked at it may have been replaced, and all sessions ended.
            if account is None or account.secret != known.secret:
                return None
            self.succeeded(known)
        if wanted.session_id is None:
            return self._signed_in(wanted.user_id, wanted.hash)
        return self._joined(wanted.user_id, wanted.session_id, wanted.hash)

    def sign_out(self) -> None:
        # Also one that has had its time, and is still there.
        session = self._rules.callers.session(self._ctx)
        if session is not None:
            end_session(self._ctx, session.id)

    def refresh(self, wanted: op.Refresh) -> dict[str, Any] | None:
        presented = Presented(
            token_id=wanted.token_id,
            session_id=wanted.session_id,
            hash=wanted.hash,
            child_hash=wanted.child_hash,
            child_nonce=wanted.child_nonce,
        )
        refreshed = refresh_session(self._ctx, self._rules.sessions, presented)
        if refreshed is None:
            return None
        granted = self._granted(refreshed.user_id, refreshed.session_id, refreshed.token_id)
        return {**granted, "nonce": refreshed.nonce}

    def _signed_in(self, user_id: str, hash: str) -> dict[str, Any]:
        """Begin a session; the one that the caller has had ends."""
        self.sign_out()
        for before in self._rules.before_session:
            before(self._ctx, user_id)
        begun = begin_session(self._ctx, self._rules.sessions, user_id, hash)
        return self._granted(user_id, begun.session_id, begun.token_id)

    def _joined(self, user_id: str, session_id: str, hash: str) -> dict[str, Any] | None:
        """Go on in a session, if it is that user's and has not ended."""
        joined = join_session(self._ctx, self._rules.sessions, user_id, session_id, hash)
        if joined is None:
            return None
        return self._granted(user_id, joined.session_id, joined.token_id)

    def _granted(self, user_id: str, session_id: str, token_id: str) -> dict[str, Any]:
        claims = self._rules.custom_claims
        custom = {} if claims is None else claims(self._ctx, user_id, session_id)
        return {
            "userId": user_id,
            "sessionId": session_id,
            "tokenId": token_id,
            "claims": checked_claims(custom),
            "nowMs": time.time() * 1000,
        }

    def _own_session(self) -> AuthSession | None:
        """Return the session of the caller's token, if it has not ended."""
        session = self._rules.callers.session(self._ctx)
        return None if session is None or has_had_its_time(session) else session

    def _own_user(self) -> str | None:
        session = self._own_session()
        return None if session is None else session.user_id

    # Codes.

    def redeem_code(self, wanted: op.RedeemCode) -> dict[str, Any] | None:
        # Of a code that may be of either address, both are tried.
        tried = self._addresses(wanted.params)
        attempts = {each: take_attempt(self._ctx, self._rules.code(each)) for each in tried}
        if not _LET_IN.issuperset(attempts.values()):
            return None
        redeemed = self._redeemed(wanted)
        if redeemed is None:
            return None
        # Who has a code of their own has not known that of an address that they name beside it.
        own = None if isinstance(redeemed.of, FlowEnd) else redeemed.of.provider_account_id
        if own in attempts:
            attempt_succeeded(self._ctx, self._rules.code(own), attempts[own])
        if not isinstance(redeemed.of, FlowEnd):
            return self._signed_in(self._verified(redeemed, redeemed.of), wanted.hash)
        user_id = self._entered(redeemed.provider, redeemed.of)
        session_id = redeemed.of.session_id
        # Where the account was added to whoever began, the session goes on: other tabs are in it.
        joined = None if session_id is None else self._joined(user_id, session_id, wanted.hash)
        return joined or self._signed_in(user_id, wanted.hash)

    def _addresses(self, params: Mapping[str, Any]) -> list[str]:
        """Return the addresses among parameters that a provider of codes may go by."""
        named = {each.parameter for each in self._rules.verifications.values()}
        given = (params.get(parameter) for parameter in named)
        return sorted({normalised(each) for each in given if isinstance(each, str)})

    def _redeemed(self, wanted: op.RedeemCode) -> Redeemed | None:
        presented = PresentedCode(
            hash=wanted.code_hash,
            verifier=wanted.verifier,
            provider=wanted.provider,
            params=wanted.params,
        )
        named = wanted.provider
        return redeem_code(
            self._ctx, presented, lambda provider: self._authorizing(provider, named)
        )

    def _authorizing(self, provider: str, named: str | None) -> Authorize | None:
        """Return how a provider checks who presents its codes, None if this is no place for it."""
        if isinstance(self._rules.providers.get(provider), OAuth2):
            # Its codes are for the browser that has their verifier.
            return lambda params, account: True
        if named is None and provider not in self._rules.redeemable:
            return None
        verification = self._rules.verifications.get(provider)
        return None if verification is None else verification.authorize

    def _verified(self, redeemed: Redeemed, account: AuthAccount) -> str:
        """Write down what a code has proven, and return the user that it signs in."""
        if redeemed.email is None and redeemed.phone is None:
            return account.user_id
        proven: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        if redeemed.email is not None:
            proven["emailVerified"], fields["email"] = redeemed.email, redeemed.email
        if redeemed.phone is not None:
            proven["phoneVerified"], fields["phone"] = redeemed.phone, redeemed.phone
        self._ctx.db.unrestricted.patch(account.id, proven)
        profile = Profile(
            fields=fields,
            email_proven=redeemed.email is not None,
            phone_proven=redeemed.phone is not None,
        )
        current = self._own_user()
        kind = Kind.VERIFICATION
        return update_user(self._ctx, self._rules.users, account, kind, profile, current)

    def start_verification(self, wanted: op.StartVerification) -> Attempt:
        sending = self._rules.sending(wanted.address, wanted.provider)
        attempt = take_attempt(self._ctx, sending)
        if attempt is not Attempt.TAKEN:
            return attempt
        verification = self._rules.verifications[wanted.provider]
        account = find_account(self._ctx, wanted.provider, wanted.address)
        if account is None:
            account = sign_up(
                self._ctx,
                self._rules.users,
                NewAccount(
                    provider=wanted.provider, account_id=wanted.address, kind=verification.kind
                ),
                verification.known(wanted.address, wanted.fields),
                self._own_user(),
            )
        self._issue(account, verification, wanted.address, wanted.code_hash)
        return attempt

    def code_for_account(self, wanted: op.CodeForAccount) -> bool:
        account = find_account(self._ctx, wanted.account_provider, wanted.account_id)
        if account is None:
            return False
        verification = self._rules.verifications[wanted.provider]
        self._issue(account, verification, wanted.account_id, wanted.code_hash)
        return True

    def _issue(
        self, account: AuthAccount, verification: Verification, address: str, hash: str
    ) -> None:
        code = NewCode(
            provider=verification.id,
            hash=hash,
            life_ms=verification.max_age.total_seconds() * 1000,
            email=address if verification.parameter == "email" else None,
            phone=address if verification.parameter == "phone" else None,
        )
        issue_code(self._ctx, account, code)

    # OAuth flows.

    def begin_flow(self) -> str:
        session = self._own_session()
        session_id = None if session is None else session.id
        return str(self._ctx.db.unrestricted.insert("authVerifiers", {"sessionId": session_id}))

    def sign_flow(self, wanted: op.SignFlow) -> bool:
        verifier_id = self._ctx.db.unrestricted.normalize_id("authVerifiers", wanted.verifier)
        verifier = None if verifier_id is None else self._ctx.db.unrestricted.get(verifier_id)
        if verifier is None or _is_late(verifier):
            return False
        self._ctx.db.unrestricted.patch(verifier.id, {"signature": wanted.signature})
        return True

    def end_flow(self, wanted: op.EndFlow) -> bool:
        query = self._ctx.db.unrestricted.query("authVerifiers").with_index(
            "signature", signature=wanted.signature
        )
        verifier = cast("AuthVerifier | None", query.first())
        if verifier is None or _is_late(verifier):
            return False
        self._ctx.db.unrestricted.delete(verifier.id)
        # Whose account it is is seen when the code is redeemed with the verifier, and not before:
        # this may be somebody's browser to whom another has sent the beginning of a flow of theirs.
        flow = FlowEnd(
            provider_account_id=wanted.account_id,
            fields=wanted.fields,
            email_proven=wanted.email_proven,
            session_id=verifier.session_id,
        )
        code = NewCode(
            provider=wanted.provider,
            hash=wanted.code_hash,
            life_ms=OAUTH_CODE_MS,
            verifier=verifier.id,
        )
        issue_code(self._ctx, flow, code)
        return True

    def _entered(self, provider: str, flow: FlowEnd) -> str:
        """Return the user whom a provider has told of, who may be a new one."""
        session = (
            None if flow.session_id is None else self._ctx.db.unrestricted.get(flow.session_id)
        )
        current = None if session is None else session.user_id
        profile = Profile(fields=flow.fields, email_proven=flow.email_proven)
        account = find_account(self._ctx, provider, flow.provider_account_id)
        if account is None:
            new = NewAccount(
                provider=provider, account_id=flow.provider_account_id, kind=Kind.OAUTH
            )
            return sign_up(self._ctx, self._rules.users, new, profile, current).user_id
        return update_user(self._ctx, self._rules.users, account, Kind.OAUTH, profile, current)

    # Secrets.

    def take_attempt(self, wanted: op.TakeAttempt) -> dict[str, Any]:
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        return self._attempted(wanted.provider, wanted.account_id, account)

    def own_account(self, wanted: op.OwnAccount) -> dict[str, Any] | None:
        user_id = self._own_user()
        if user_id is None:
            return None
        query = self._ctx.db.unrestricted.query("authAccounts").with_index(
            "userIdAndProvider", userId=user_id, provider=wanted.provider
        )
        account = cast("AuthAccount | None", query.first())
        if account is None:
            return None
        return self._attempted(wanted.provider, account.provider_account_id, account)

    def create_account(self, wanted: op.CreateAccount) -> dict[str, Any]:
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        attempted: dict[str, Any] = {"attempt": Attempt.TAKEN.value}
        if wanted.secret is not None or account is not None:
            attempted = self._attempted(wanted.provider, wanted.account_id, account)
        # Who crowds others out of guessing does not keep them from signing up.
        if account is not None or attempted["attempt"] == Attempt.REFUSED.value:
            return {**attempted, "created": False}
        profile = Profile(
            fields=wanted.fields,
            email_proven=wanted.email_proven,
            email_awaited=wanted.email_awaited,
        )
        account = sign_up(
            self._ctx,
            self._rules.users,
            NewAccount(
                provider=wanted.provider,
                account_id=wanted.account_id,
                kind=Kind.CREDENTIALS,
                secret=wanted.secret,
            ),
            profile,
            self._own_user(),
        )
        return {**attempted, "account": _shown(account), "created": True}

    def _attempted(
        self, provider: str, account_id: str, account: AuthAccount | None
    ) -> dict[str, Any]:
        """Count an attempt: also at an account that is not there, or its end would tell so."""
        tried = op.AccountName(provider=provider, account_id=account_id)
        attempt = take_attempt(self._ctx, self._rules.secret(tried))
        return {"account": _shown(account), "attempt": attempt.value}

    def succeeded(self, known: op.Known) -> None:
        attempt_succeeded(self._ctx, self._rules.secret(known), Attempt(known.attempt))

    def replace_secret(self, wanted: op.ReplaceSecret) -> bool:
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        if account is None:
            return False
        self._ctx.db.unrestricted.patch(account.id, {"secret": wanted.secret})
        return True

    def claim_secret(self, wanted: op.ClaimSecret) -> None:
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        if account is None or self._is_claimed(account):
            return
        now = time.time() * 1000
        before = account.creation_time if account.claim_time is None else account.claim_time
        # A code that is on its way proves the address, and not whose of the two secrets is its
        # owner's: the last may be of somebody who has waited for the owner's.
        secret = wanted.secret if before + wanted.contest_ms < now else None
        self._ctx.db.unrestricted.patch(account.id, {"secret": secret, "claimTime": now})

    def _is_claimed(self, account: AuthAccount) -> bool:
        """Return whether somebody has proven the address, or is signed in as its user."""
        sessions = self._ctx.db.unrestricted.query("authSessions").with_index(
            "userId", userId=account.user_id
        )
        return account.email_verified is not None or sessions.first() is not None

    def reset_password(self, wanted: op.ResetPassword) -> dict[str, Any] | None:
        name = op.AccountName(provider=wanted.provider, account_id=wanted.account_id)
        tried = self._rules.code(wanted.account_id, name)
        attempt = take_attempt(self._ctx, tried)
        if attempt not in _LET_IN:
            return None
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        presented = PresentedCode(
            hash=wanted.code_hash, verifier=None, provider=wanted.code_provider, params={}
        )

        def authorizing(provider: str) -> Authorize:
            # The code is of this very account, whatever its provider asks besides.
            return lambda params, found: account is not None and found.id == account.id

        redeemed = redeem_code(self._ctx, presented, authorizing)
        if redeemed is None or account is None:
            return None
        attempt_succeeded(self._ctx, tried, attempt)
        forget_attempts(self._ctx, self._rules.secret(name))
        user_id = self._verified(redeemed, account)
        self._ctx.db.unrestricted.patch(account.id, {"secret": wanted.secret})
        end_sessions(self._ctx, user_id)
        return self._signed_in(user_id, wanted.hash)

    def change_password(self, wanted: op.ChangePassword) -> dict[str, Any] | None:
        session = self._own_session()
        account = find_account(self._ctx, wanted.provider, wanted.account_id)
        if session is None or account is None or account.user_id != session.user_id:
            return None
        name = op.AccountName(provider=wanted.provider, account_id=wanted.account_id)
        forget_attempts(self._ctx, self._rules.secret(name))
        self._ctx.db.unrestricted.patch(account.id, {"secret": wanted.secret})
        end_sessions(self._ctx, account.user_id, keep={session.id})
        # This one goes on, by another refresh token: the page's socket is told of no other session.
        forget_tokens(self._ctx, session.id)
        return self._joined(account.user_id, session.id, wanted.hash)


#: Attempts that let in who is right.
_LET_IN: Final = frozenset({Attempt.TAKEN, Attempt.SPARED})


def _is_late(verifier: AuthVerifier) -> bool:
    return verifier.creation_time + FLOW_MS < time.time() * 1000


def _shown(account: AuthAccount | None) -> dict[str, Any] | None:
    """Return an account as actions have it."""
    if account is None:
        return None
    return {
        "id": account.id,
        "userId": account.user_id,
        "accountId": account.provider_account_id,
        "secret": account.secret,
        "emailVerified": account.email_verified,
    }


#: Tables, and the index by which what has had its time comes first, with how long it is kept after.
_SWEPT: Final = (
    ("authSessions", "expirationTime", "expirationTime", 0.0),
    ("authRefreshTokens", "expirationTime", "expirationTime", 0.0),
    ("authVerificationCodes", "expirationTime", "expirationTime", 0.0),
    ("authVerifiers", "by_creation_time", "_creationTime", FLOW_MS),
    ("authRateLimits", "lastAttemptTime", "lastAttemptTime", HOUR_MS),
    ("authKnownAddresses", "lastTime", "lastTime", KNOWN_ADDRESS_MS),
)


def sweep_tables(ctx: MutationCtx) -> bool:
    """Delete what has had its time, and return whether there is more of it."""
    now = time.time() * 1000
    is_more = False
    for table, index, field_name, kept_ms in _SWEPT:
        query = ctx.db.unrestricted.query(table).with_index(index, {field_name: lt(now - kept_ms)})
        # A session goes with its refresh tokens, of which there may be hundreds.
        at_once = SESSIONS_SWEPT_AT_ONCE if table == "authSessions" else SWEPT_AT_ONCE
        late = query.take(at_once)
        for document in late:
            if table == "authSessions":
                end_session(ctx, document.id)
            else:
                ctx.db.unrestricted.delete(document.id)
        is_more = is_more or len(late) == at_once
    return is_more
