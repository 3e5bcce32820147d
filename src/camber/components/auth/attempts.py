"""Attempts: at passwords, at codes, and at having codes sent. Each counts in three buckets.

Who tries from an address has a bucket of their own for each account, so that nobody uses up the attempts of
somebody else. Guessing from many addresses at one account, and from one address at many, is bounded by a
bucket of the account and by one of the address. These two are shared, and must keep nobody out by
what others do: who has got in from there before is let in by the right password while they are empty.
Whoever gives a wrong one is told the same as a stranger, after as much work, so that being known does not tell
who has an account. Where addresses are not known, all who try share one bucket of the account.

An attempt is taken before it is known how it ends, and given back when it succeeds: whoever makes a
thousand at the same moment has no more of them than one after the other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from camber import MutationCtx
from camber.components.auth.policy import (
    DAY_MS,
    FROM_ONE_ADDRESS,
    HOUR_MS,
    KNOWN_ADDRESS_MS,
    OF_ALL_STRANGERS,
    subscriber_of,
)
from camber.components.auth.tables import AuthKnownAddress, AuthRateLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is tried, or asked for: a `kind` of it, and whose. So often in an hour by one of them.

    Who has succeeded at one of `proven_by` from an address is known there.
    """

    kind: str
    of: tuple[str, ...]
    per_hour: int
    proven_by: tuple[Target, ...] = ()

    def key(self, *more: str) -> str:
        """Return the name of a bucket: two are never the same, and none tells what was typed."""
        text = json.dumps([*self.of, *more])
        return f"{self.kind} {hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """Attempts: so many at once, and as many again in an hour."""

    key: str
    per_hour: int


class Attempt(Enum):
    """What became of an attempt."""

    TAKEN = "taken"
    #: What is shared is used up, but whoever tries has got in from there before.
    SPARED = "spared"
    #: What is shared is used up: all the same is done, and nobody is let in.
    CROWDED = "crowded"
    #: Their own are used up.
    REFUSED = "refused"


def take_attempt(ctx: MutationCtx, target: Target) -> Attempt:
    """Take an attempt, if there is one."""
    address = _address(ctx)
    if address is None:
        alone = _Bucket(key=target.key(), per_hour=target.per_hour)
        return Attempt.TAKEN if _take(ctx, [alone]) else Attempt.REFUSED
    if not _take(ctx, [_own(target, address)]):
        return Attempt.REFUSED
    if _take(ctx, _shared(target, address)):
        return Attempt.TAKEN
    return Attempt.SPARED if _is_known(ctx, target, address) else Attempt.CROWDED


def attempt_succeeded(ctx: MutationCtx, target: Target, attempt: Attempt) -> None:
    """Take in that an attempt was no guess: whoever made it is known from where it was made."""
    address = _address(ctx)
    if address is None:
        _fill(ctx, target.key())
        return
    _fill(ctx, _own(target, address).key)
    if attempt is Attempt.TAKEN:
        # And no more than this one: who has an account must not get guesses at others' by it.
        for bucket in _shared(target, address):
            _give_back(ctx, bucket)
    _remember(ctx, target, address)


def forget_attempts(ctx: MutationCtx, target: Target) -> None:
    """Fill what belongs to a secret that was replaced: guesses at the one before are worth nothing."""
    address = _address(ctx)
    if address is None:
        _fill(ctx, target.key())
        return
    own, strangers, _ = _own(target, address), *_shared(target, address)
    _fill(ctx, own.key)
    _fill(ctx, strangers.key)
    _remember(ctx, target, address)


def _address(ctx: MutationCtx) -> str | None:
    """Return from where a client calls, if that is known."""
    return subscriber_of(ctx.meta.get_request_metadata().ip)


def _own(target: Target, address: str) -> _Bucket:
    return _Bucket(key=target.key("from", address), per_hour=target.per_hour)


def _shared(target: Target, address: str) -> tuple[_Bucket, _Bucket]:
    """Return the bucket of all strangers together, and that of an address for all accounts."""
    anybodys = Target(kind=target.kind, of=("anybody",), per_hour=target.per_hour)
    return (
        _Bucket(key=target.key("strangers"), per_hour=target.per_hour * OF_ALL_STRANGERS),
        _Bucket(key=anybodys.key("from", address), per_hour=target.per_hour * FROM_ONE_ADDRESS),
    )


def _take(ctx: MutationCtx, buckets: Sequence[_Bucket]) -> bool:
    now = time.time() * 1000
    found = [(bucket, _find(ctx, bucket.key)) for bucket in buckets]
    left = [_left(bucket, row, now) for bucket, row in found]
    if min(left) < 1:
        return False
    for (bucket, row), attempts in zip(found, left, strict=True):
        _write(ctx, bucket.key, row, attempts - 1, now)
    return True


def _give_back(ctx: MutationCtx, bucket: _Bucket) -> None:
    row = _find(ctx, bucket.key)
    if row is not None:
        now = time.time() * 1000
        _write(ctx, bucket.key, row, min(bucket.per_hour, _left(bucket, row, now) + 1), now)


def _left(bucket: _Bucket, row: AuthRateLimit | None, now: float) -> float:
    if row is None:
        return bucket.per_hour
    refilled = (now - row.last_attempt_time) * bucket.per_hour / HOUR_MS
    return min(bucket.per_hour, row.attempts_left + refilled)


def _write(ctx: MutationCtx, key: str, row: AuthRateLimit | None, left: float, now: float) -> None:
    fields = {"attemptsLeft": left, "lastAttemptTime": now}
    if row is None:
        ctx.db.unrestricted.insert("authRateLimits", {"identifier": key, **fields})
    else:
        ctx.db.unrestricted.patch(row.id, fields)


def _fill(ctx: MutationCtx, key: str) -> None:
    row = _find(ctx, key)
    if row is not None:
        ctx.db.unrestricted.delete(row.id)


def _find(ctx: MutationCtx, key: str) -> AuthRateLimit | None:
    query = ctx.db.unrestricted.query("authRateLimits").with_index("identifier", identifier=key)
    found: AuthRateLimit | None = query.first()
    return found


# Who is known from where.


def _is_known(ctx: MutationCtx, target: Target, address: str) -> bool:
    now = time.time() * 1000
    rows = (_known(ctx, each, address) for each in (target, *target.proven_by))
    return any(row is not None and row.last_time + KNOWN_ADDRESS_MS > now for row in rows)


def _remember(ctx: MutationCtx, target: Target, address: str) -> None:
    now = time.time() * 1000
    row = _known(ctx, target, address)
    if row is None:
        identifier = target.key("known", address)
        ctx.db.unrestricted.insert(
            "authKnownAddresses", {"identifier": identifier, "lastTime": now}
        )
    elif row.last_time + DAY_MS < now:
        ctx.db.unrestricted.patch(row.id, {"lastTime": now})


def _known(ctx: MutationCtx, target: Target, address: str) -> AuthKnownAddress | None:
    query = ctx.db.unrestricted.query("authKnownAddresses").with_index(
        "identifier", identifier=target.key("known", address)
    )
    found: AuthKnownAddress | None = query.first()
    return found
