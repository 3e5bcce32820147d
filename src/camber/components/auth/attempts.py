"""Buckets of attempts: at passwords, at codes, and at having codes sent.

An attempt is taken before it is known how it ends, and given back when it succeeds: whoever makes a
thousand at the same moment has no more of them than one after the other.
"""

from __future__ import annotations

import time

from camber import MutationCtx
from camber.components.auth.policy import HOUR_MS, Bucket
from camber.components.auth.tables import AuthRateLimit


def take_attempt(ctx: MutationCtx, bucket: Bucket) -> bool:
    """Take an attempt, and return whether there was one."""
    now = time.time() * 1000
    found = _find(ctx, bucket)
    left = float(bucket.per_hour)
    if found is not None:
        refilled = (now - found.last_attempt_time) * bucket.per_hour / HOUR_MS
        left = min(left, found.attempts_left + refilled)
    if left < 1:
        return False
    fields = {"attemptsLeft": left - 1, "lastAttemptTime": now}
    if found is None:
        ctx.db.unrestricted.insert("authRateLimits", {"identifier": bucket.identifier, **fields})
    else:
        ctx.db.unrestricted.patch(found.id, fields)
    return True


def forget_attempts(ctx: MutationCtx, bucket: Bucket) -> None:
    """Fill a bucket: whoever has been let in did not guess."""
    found = _find(ctx, bucket)
    if found is not None:
        ctx.db.unrestricted.delete(found.id)


def _find(ctx: MutationCtx, bucket: Bucket) -> AuthRateLimit | None:
    query = ctx.db.unrestricted.query("authRateLimits").with_index(
        "identifier", identifier=bucket.identifier
    )
    found: AuthRateLimit | None = query.first()
    return found
