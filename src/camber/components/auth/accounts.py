"""Users and their ways in: which user a new account belongs to, and what is written of either."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from camber import MutationCtx
from camber.components.auth.policy import Linking
from camber.components.auth.tables import AuthAccount, AuthUser


class Kind(Enum):
    """How somebody came by an account; the `type` that callbacks are told."""

    OAUTH = "oauth"
    CREDENTIALS = "credentials"
    EMAIL = "email"
    PHONE = "phone"
    #: A code that was sent to an address has come back.
    VERIFICATION = "verification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of who signs in. `fields` are those of `users`, by their names on the wire.

    An address is proven if whoever signs in has shown, here or to a provider that is trusted in
    this, that it is theirs. One that is awaited is proven before the account lets anybody in.
    """

    fields: Mapping[str, Any]
    email_proven: bool = False
    phone_proven: bool = False
    email_awaited: bool = False
    phone_awaited: bool = False

    @property
    def email(self) -> str | None:
        """Return the address, if there is one."""
        return cast("str | None", self.fields.get("email"))

    @property
    def phone(self) -> str | None:
        """Return the number, if there is one."""
        return cast("str | None", self.fields.get("phone"))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What callbacks are told of somebody who signs in, or adds a way in.

    `existing_user_id` is the user that the account has had before, `current_user_id` who is signed
    in where that is known.
    """

    kind: str
    provider: str
    profile: Mapping[str, Any]
    existing_user_id: str | None
    current_user_id: str | None
    email_proven: bool
    phone_proven: bool


CreateOrUpdate = Callable[[MutationCtx, UserChange], str]
AfterChange = Callable[[MutationCtx, str, UserChange], None]


@dataclass(slots=True, kw_only=True)
class UserRules:
    """Who a new account belongs to, and who is asked or told."""

    linking: Linking
    create_or_update: CreateOrUpdate | None = None
    after_change: list[AfterChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account as it is to be."""

    provider: str
    account_id: str
    kind: Kind
    secret: str | None = None


def find_account(ctx: MutationCtx, provider: str, account_id: str) -> AuthAccount | None:
    """Return the account at a provider."""
    query = ctx.db.unrestricted.query("authAccounts").with_index(
        "providerAndAccountId", provider=provider, providerAccountId=account_id
    )
    return cast("AuthAccount | None", query.unique())


def sign_up(
    ctx: MutationCtx,
    rules: UserRules,
    wanted: NewAccount,
    profile: Profile,
    current_user_id: str | None = None,
) -> AuthAccount:
    """Make an account, and its user if it belongs to none yet; return it."""
    user_id = _user(ctx, rules, wanted, profile, None, current_user_id)
    fields = {
        "userId": user_id,
        "provider": wanted.provider,
        "providerAccountId": wanted.account_id,
        "secret": wanted.secret,
    }
    account_id = ctx.db.unrestricted.insert("authAccounts", fields)
    return cast("AuthAccount", ctx.db.unrestricted.get(account_id))


def update_user(
    ctx: MutationCtx,
    rules: UserRules,
    account: AuthAccount,
    kind: Kind,
    profile: Profile,
    current_user_id: str | None = None,
) -> str:
    """Write what is known now of the user that an account belongs to; return which that is now."""
    wanted = NewAccount(
        provider=account.provider, account_id=account.provider_account_id, kind=kind
    )
    user_id = _user(ctx, rules, wanted, profile, account.user_id, current_user_id)
    if user_id != account.user_id:
        ctx.db.unrestricted.patch(account.id, {"userId": user_id})
    return user_id


def _user(
    ctx: MutationCtx,
    rules: UserRules,
    wanted: NewAccount,
    profile: Profile,
    existing: str | None,
    current: str | None,
) -> str:
    change = UserChange(
        kind=wanted.kind.value,
        provider=wanted.provider,
        profile=profile.fields,
        existing_user_id=existing,
        current_user_id=current,
        email_proven=profile.email_proven,
        phone_proven=profile.phone_proven,
    )
    if rules.create_or_update is not None:
        return rules.create_or_update(ctx, change)
    found = existing or _linked(ctx, rules, wanted, profile, current)
    if found is None:
        user_id: str = ctx.db.unrestricted.insert("users", _fields(profile, None))
    else:
        user_id = found
        # Of an account that has yet to prove its address nothing is known but what was typed: it
        # is no reason to rename the user who has proven it.
        if existing is not None or profile.email_proven or profile.phone_proven:
            user = cast("AuthUser | None", ctx.db.unrestricted.get(user_id))
            ctx.db.unrestricted.patch(user_id, _fields(profile, user))
    for told in rules.after_change:
        told(ctx, user_id, change)
    return user_id


def _linked(
    ctx: MutationCtx,
    rules: UserRules,
    wanted: NewAccount,
    profile: Profile,
    current: str | None,
) -> str | None:
    """Return the user that a new account belongs to, if it is one that there is."""
    if rules.linking is Linking.SIGNED_IN and current is not None and _is_own(wanted, profile):
        return current
    by_email = by_phone = None
    if profile.email is not None and (profile.email_proven or profile.email_awaited):
        by_email = _only_verified(ctx, "email", profile.email)
    if profile.phone is not None and (profile.phone_proven or profile.phone_awaited):
        by_phone = _only_verified(ctx, "phone", profile.phone)
    # Two users who are perhaps two people: neither is given to the other.
    return None if by_email is not None and by_phone is not None else by_email or by_phone


def _is_own(wanted: NewAccount, profile: Profile) -> bool:
    """Return whether a new account is of who adds it by more than what they have typed.

    Whoever an address is of would be let in, once it is proven, as the user of who has typed it.
    """
    is_typed = (profile.email is not None and not profile.email_proven) or (
        profile.phone is not None and not profile.phone_proven
    )
    return wanted.kind is Kind.OAUTH or not is_typed


def _only_verified(ctx: MutationCtx, index: str, address: str) -> str | None:
    """Return the user who has proven an address, unless there are several."""
    users = ctx.db.unrestricted.query("users").with_index(index, {index: address})
    verified = [user.id for user in cast("list[AuthUser]", users.collect()) if _time(user, index)]
    return verified[0] if len(verified) == 1 else None


def _fields(profile: Profile, user: AuthUser | None) -> dict[str, Any]:
    """Return what to write: an address that nobody has proven takes the place of none that is."""
    fields = dict(profile.fields)
    now = time.time() * 1000
    for address, proven, time_field, proven_before in (
        ("email", profile.email_proven, "emailVerificationTime", _time(user, "email")),
        ("phone", profile.phone_proven, "phoneVerificationTime", _time(user, "phone")),
    ):
        if address not in fields:
            continue
        if proven:
            fields[time_field] = now
        elif proven_before is not None:
            del fields[address]
    return fields


def _time(user: AuthUser | None, address: str) -> float | None:
    """Return when a user has proven an address, if that is so."""
    if user is None:
        return None
    return user.email_verification_time if address == "email" else user.phone_verification_time
