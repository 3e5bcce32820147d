"""Sessions and the rotation of their refresh tokens.

A refresh token is `<its id>|<its session's id>|<a secret>`, and one text to clients. The secret of a
child is made of its parent's and a nonce that is stored for as long as the child is not used. So
nothing that is stored lets anybody in, and yet a client that has lost the response to a refresh is
given the same child when it asks again with the parent.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, cast

from camber import AppError, Id, MutationCtx
from camber.components.auth.policy import REUSE_WINDOW_MS, SessionPolicy
from camber.components.auth.tables import AuthRefreshToken, AuthSession


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A refresh token as a client has it."""

    token_id: str
    session_id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.token_id}|{self.session_id}|{self.secret}"

    @staticmethod
    def parse(text: str) -> RefreshToken:
        """Return the parts of a token; what has no secret is of no session here.

        Raises:
            AppError: it is none (code InvalidRefreshToken).
        """
        token_id, _, rest = text.partition("|")
        session_id, _, secret = rest.partition("|")
        if not token_id or not session_id:
            sentence = "this is not a refresh token: it has no session"
            raise AppError({"code": "InvalidRefreshToken", "message": sentence})
        return RefreshToken(token_id=token_id, session_id=session_id, secret=secret)


def hash_of(secret: str) -> str:
    """Return what is stored of a secret that has as much chance in it as a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_of_child(parent: str, nonce: str) -> str:
    """Return the secret of the token that takes over from the one with the secret `parent`."""
    return hmac.new(parent.encode(), nonce.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A session that has begun, and its first refresh token."""

    session_id: str
    token_id: str


def begin_session(ctx: MutationCtx, policy: SessionPolicy, user_id: str, hash: str) -> Begun:
    """Begin a session of a user, whose first refresh token's secret has this hash."""
    now = _now()
    session_id = ctx.db.unrestricted.insert(
        "authSessions", {"userId": user_id, "expirationTime": now + policy.total_ms(ctx.env)}
    )
    token_id = _insert_token(ctx, policy, session_id, {"hash": hash})
    return Begun(session_id=session_id, token_id=token_id)


def join_session(
    ctx: MutationCtx, policy: SessionPolicy, user_id: str, session_id: str, hash: str
) -> Begun | None:
    """Add a refresh token to a session of a user that has not ended, if it is one."""
    found = ctx.db.unrestricted.normalize_id("authSessions", session_id)
    session = None if found is None else cast("AuthSession | None", ctx.db.unrestricted.get(found))
    if session is None or session.user_id != user_id or has_had_its_time(session):
        return None
    token_id = _insert_token(ctx, policy, session.id, {"hash": hash})
    return Begun(session_id=session.id, token_id=token_id)


def has_had_its_time(session: AuthSession) -> bool:
    """Return whether a session has ended that nobody has deleted yet."""
    return session.expiration_time < _now()


def end_session(ctx: MutationCtx, session_id: str) -> None:
    """End a session, if it has not ended already, and forget its refresh tokens."""
    if ctx.db.unrestricted.get(session_id) is not None:
        ctx.db.unrestricted.delete(session_id)
    forget_tokens(ctx, session_id)


def forget_tokens(ctx: MutationCtx, session_id: str) -> None:
    """Let all refresh tokens of a session be good no more."""
    for token in ctx.db.unrestricted.query("authRefreshTokens").with_index(
        "sessionId", sessionId=session_id
    ):
        ctx.db.unrestricted.delete(token.id)


def end_sessions(ctx: MutationCtx, user_id: str, keep: Collection[str] = ()) -> None:
    """End all sessions of a user but those that are to be kept."""
    for session in ctx.db.unrestricted.query("authSessions").with_index("userId", userId=user_id):
        if session.id not in keep:
            end_session(ctx, session.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """A session that goes on with another refresh token, made of the one it was asked with."""

    user_id: str
    session_id: str
    token_id: str
    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A refresh token that somebody has, and what its child is to be if it gets a new one."""

    token_id: str
    session_id: str
    hash: str
    child_hash: str
    child_nonce: str


def refresh_session(
    ctx: MutationCtx, policy: SessionPolicy, presented: Presented
) -> Refreshed | None:
    """Take a refresh token and return its successor, or None if it is not good any more.

    What is presented by somebody who does not know the token's secret changes nothing: session ids
    are in every access token. A token that comes back late is in two hands: it and all that has
    come of it are used up.
    """
    token = _token(ctx, presented)
    if token is None:
        return None
    session = cast("AuthSession | None", ctx.db.unrestricted.get(token.session_id))
    if session is None or _has_ended(ctx, session, token):
        end_session(ctx, token.session_id)
        return None
    now = _now()
    if token.first_used_time is None:
        ctx.db.unrestricted.patch(token.id, {"firstUsedTime": now, "nonce": None})
        return _child(ctx, policy, token, session, presented)
    active = _active(ctx, token.session_id)
    if active is not None and active.parent_refresh_token_id == token.id and active.nonce:
        return _refreshed(session, active.id, active.nonce)
    if token.first_used_time + REUSE_WINDOW_MS > now:
        return _child(ctx, policy, token, session, presented)
    _use_up(ctx, token, now - REUSE_WINDOW_MS)
    return None


def _has_ended(ctx: MutationCtx, session: AuthSession, token: AuthRefreshToken) -> bool:
    is_late = has_had_its_time(session) or token.expiration_time < _now()
    # A user who was deleted is not kept signed in.
    return is_late or ctx.db.unrestricted.get(session.user_id) is None


def _token(ctx: MutationCtx, presented: Presented) -> AuthRefreshToken | None:
    """Return the token that is presented, if it is one."""
    token_id = ctx.db.unrestricted.normalize_id("authRefreshTokens", presented.token_id)
    token = (
        None
        if token_id is None
        else cast("AuthRefreshToken | None", ctx.db.unrestricted.get(token_id))
    )
    known = _NO_HASH if token is None or token.hash is None else token.hash
    is_known = hmac.compare_digest(known, presented.hash)
    if token is None or not is_known or token.session_id != presented.session_id:
        return None
    return token


#: What no secret has for a hash.
_NO_HASH: Final = ""


def _child(
    ctx: MutationCtx,
    policy: SessionPolicy,
    parent: AuthRefreshToken,
    session: AuthSession,
    presented: Presented,
) -> Refreshed:
    fields = {
        "parentRefreshTokenId": parent.id,
        "hash": presented.child_hash,
        "nonce": presented.child_nonce,
    }
    token_id = _insert_token(ctx, policy, parent.session_id, fields)
    return _refreshed(session, token_id, presented.child_nonce)


def _refreshed(session: AuthSession, token_id: str, nonce: str) -> Refreshed:
    return Refreshed(user_id=session.user_id, session_id=session.id, token_id=token_id, nonce=nonce)


def _active(ctx: MutationCtx, session_id: str) -> AuthRefreshToken | None:
    """Return the newest token of a session that nobody has used."""
    newest_first = (
        ctx.db.unrestricted.query("authRefreshTokens")
        .with_index("sessionId", sessionId=session_id)
        .order("desc")
    )
    return next((token for token in newest_first if token.first_used_time is None), None)


def _use_up(ctx: MutationCtx, token: AuthRefreshToken, used_at: float) -> None:
    """Let a token and all that has come of it be used for so long that they are good for nothing."""
    waiting = [token]
    while waiting:
        each = waiting.pop()
        if each.first_used_time is None or each.first_used_time > used_at:
            ctx.db.unrestricted.patch(each.id, {"firstUsedTime": used_at, "nonce": None})
        waiting += ctx.db.unrestricted.query("authRefreshTokens").with_index(
            "sessionIdAndParentRefreshTokenId",
            {"sessionId": each.session_id, "parentRefreshTokenId": each.id},
        )


def _insert_token(
    ctx: MutationCtx, policy: SessionPolicy, session_id: str, fields: dict[str, Any]
) -> Id[AuthRefreshToken]:
    expires = _now() + policy.inactive_ms(ctx.env)
    return ctx.db.unrestricted.insert(
        "authRefreshTokens", {"sessionId": session_id, "expirationTime": expires, **fields}
    )


def _now() -> float:
    return time.time() * 1000
