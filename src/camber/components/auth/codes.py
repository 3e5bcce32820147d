"""Codes: one-time texts that were sent to an address, or to a browser at the end of an OAuth flow."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from camber import MutationCtx
from camber.components.auth.tables import AuthAccount, AuthVerificationCode, FlowEnd

#: Says whether parameters fit the account that a code is of.
Authorize = Callable[[Mapping[str, Any], AuthAccount], bool]
#: Codes of one hash that are looked through: short ones may meet.
_ALIKE_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCode:
    """A code that is about to be sent: what is kept of it."""

    provider: str
    hash: str
    life_ms: float
    verifier: str | None = None
    email: str | None = None
    phone: str | None = None


def issue_code(ctx: MutationCtx, of: AuthAccount | FlowEnd, code: NewCode) -> None:
    """Keep a code of an account or of a flow; one that an account had before is good no more."""
    account, flow = (of, None) if isinstance(of, AuthAccount) else (None, of)
    if account is not None:
        for earlier in ctx.db.unrestricted.query("authVerificationCodes").with_index(
            "accountId", accountId=account.id
        ):
            ctx.db.unrestricted.delete(earlier.id)
    ctx.db.unrestricted.insert(
        "authVerificationCodes",
        {
            "accountId": None if account is None else account.id,
            "flow": flow,
            "provider": code.provider,
            "code": code.hash,
            "expirationTime": time.time() * 1000 + code.life_ms,
            "verifier": code.verifier,
            "emailVerified": code.email,
            "phoneVerified": code.phone,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """A code that was accepted, and is gone: what it was of, and the addresses that it proves."""

    of: AuthAccount | FlowEnd
    provider: str
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCode:
    """A code that somebody has; `provider` is None if it may be of any."""

    hash: str
    verifier: str | None
    provider: str | None
    params: Mapping[str, Any]


def redeem_code(
    ctx: MutationCtx, presented: PresentedCode, authorizing: Callable[[str], Authorize | None]
) -> Redeemed | None:
    """Take a code, or return None: it is gone only if it is accepted.

    `authorizing` tells how a provider checks who presents its codes, None for one that there is
    no more.
    """
    query = ctx.db.unrestricted.query("authVerificationCodes").with_index(
        "code", code=presented.hash
    )
    for code in cast("list[AuthVerificationCode]", query.take(_ALIKE_MAX)):
        of = _accepted(ctx, code, presented, authorizing)
        if of is not None:
            ctx.db.unrestricted.delete(code.id)
            return Redeemed(
                of=of,
                provider=code.provider,
                email=code.email_verified,
                phone=code.phone_verified,
            )
    return None


def _accepted(
    ctx: MutationCtx,
    code: AuthVerificationCode,
    presented: PresentedCode,
    authorizing: Callable[[str], Authorize | None],
) -> AuthAccount | FlowEnd | None:
    # A browser that has left a flow half-way shows its verifier with whatever comes next.
    if code.verifier is not None and not _same(code.verifier, presented.verifier or ""):
        return None
    if code.expiration_time < time.time() * 1000:
        ctx.db.unrestricted.delete(code.id)
        return None
    authorize = authorizing(code.provider)
    if authorize is None or (presented.provider or code.provider) != code.provider:
        return None
    if code.flow is not None:
        # It is for the browser that has its verifier, which it has shown.
        return code.flow
    if code.account_id is None:
        return None
    account = cast("AuthAccount | None", ctx.db.unrestricted.get(code.account_id))
    return account if account is not None and authorize(presented.params, account) else None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
