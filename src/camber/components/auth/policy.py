"""How long things last and how often things may be tried."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final, Protocol

from camber import CamberError


class AuthConfigError(CamberError):
    """Something about signing in that cannot be declared as it is, or a variable that is missing."""

    code = "AuthConfigError"


#: A refresh token that was used may be used again for so long: two tabs, one lost response.
REUSE_WINDOW_MS: Final = 10_000
#: What an OAuth flow and its cookies live for, and the code at its end.
FLOW_MS: Final = 15 * 60_000
OAUTH_CODE_MS: Final = 2 * 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: Attempts at one account from all addresses that are not known there, as multiples of what one of them
#: has: who guesses from two addresses does not keep out who signs in from a third. And from one address
#: at all accounts: an office is one.
OF_ALL_STRANGERS: Final = 3
FROM_ONE_ADDRESS: Final = 10
#: For so long after somebody has got in from an address they are known there.
KNOWN_ADDRESS_MS: Final = 90 * DAY_MS
#: Hashes of passwords that wait or are made for one address at one time, in one process: of all
#: there may be `passwords.WAITING_MAX`.
HASHES_FROM_ONE_ADDRESS: Final = 4
#: Characters of a password: enough for any phrase, and no megabytes to hash.
PASSWORD_LENGTH_MAX: Final = 1024
#: Characters of an address, or of another name of an account.
ACCOUNT_ID_LENGTH_MAX: Final = 320
#: Documents that one round of sweeping deletes from each table.
SWEPT_AT_ONCE: Final = 256
#: Sessions, each of which may have many refresh tokens.
SESSIONS_SWEPT_AT_ONCE: Final = 4


class Variables(Protocol):
    """Deployment variables, as `ctx.env` has them."""

    def get(self, name: str, default: str | None = None, /) -> str | None:
        """Return a variable, or `default`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """How long a session lasts, however often it is used, and how long when it is not used.

    What is left out is the variable AUTH_SESSION_TOTAL_DURATION_MS or
    AUTH_SESSION_INACTIVE_DURATION_MS, and 30 days where that is not set.
    """

    total: timedelta | None = None
    inactive: timedelta | None = None

    def total_ms(self, env: Variables) -> float:
        """Return the life of a session."""
        return _duration_ms(self.total, env, "AUTH_SESSION_TOTAL_DURATION_MS")

    def inactive_ms(self, env: Variables) -> float:
        """Return the life of each refresh token."""
        return _duration_ms(self.inactive, env, "AUTH_SESSION_INACTIVE_DURATION_MS")


_SESSION_DEFAULT: Final = timedelta(days=30)


def _duration_ms(given: timedelta | None, env: Variables, name: str) -> float:
    if given is not None:
        return given.total_seconds() * 1000
    text = env.get(name)
    if text is None:
        return _SESSION_DEFAULT.total_seconds() * 1000
    if not text.isdecimal() or not int(text):
        msg = f"variable {name} is {text!r}; it is a number of milliseconds, such as 2592000000"
        raise AuthConfigError(msg)
    return float(text)


class Linking(Enum):
    """When a new way in belongs to a user that there is already."""

    #: If exactly one user has the address, and both sides have proven that it is theirs.
    VERIFIED_ADDRESS = "verified address"
    #: Also if whoever adds it is signed in: to that user. Not by an address that is only typed.
    SIGNED_IN = "signed in"


def subscriber_of(ip: str | None) -> str | None:
    """Return by what a client's address is counted: of IPv6 the network, all of which one has."""
    if ip is None or ":" not in ip:
        return ip
    return str(ipaddress.ip_network((ip, 64), strict=False))


def required(env: Variables, name: str, purpose: str) -> str:
    """Return a variable that has to be set.

    Raises:
        AuthConfigError: it is not.
    """
    value = env.get(name)
    if not value:
        msg = (
            f"deployment variable {name} is not set: {purpose}. Set it with `camber env set {name}`"
        )
        raise AuthConfigError(msg)
    return value


def variable_of(provider: str, suffix: str) -> str:
    """Return the name of a provider's variable: `AUTH_GITHUB_SECRET`."""
    return f"AUTH_{provider.upper().replace('-', '_')}_{suffix}"


def shown(mapping: Mapping[str, object]) -> str:
    """Return names for an error."""
    return ", ".join(sorted(mapping)) or "none"
