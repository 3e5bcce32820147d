"""Providers that send something to an address and let in who has it: links and one-time codes."""

from __future__ import annotations

import secrets
import string
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from camber import ActionCtx, AppError
from camber.components.auth.accounts import Kind, Profile
from camber.components.auth.policy import ACCOUNT_ID_LENGTH_MAX, AuthConfigError
from camber.components.auth.tables import AuthAccount

_LETTERS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent: `token` is the code, `url` leads back to the application with it."""

    identifier: str
    url: str
    token: str
    expires: datetime
    provider: str


#: Makes fields of `users` out of the parameters of whoever asks for a code.
ProfileOf = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: Sends a message; what it raises is told to whoever waits for it.
Send = Callable[[Message, ActionCtx], Awaitable[None]]


async def console_sender(message: Message, ctx: ActionCtx) -> None:
    """Print what would be sent, while a developer's own machine serves.

    Raises:
        AuthConfigError: the application is on the internet, where logs are no place for codes.
    """
    site = ctx.env.get("SITE_URL") or ""
    if not _is_local(site) and ctx.env.get("AUTH_LOG_SECRETS") != "true":
        msg = (
            f"console_sender prints codes, and SITE_URL is {site!r}: give the provider {message.provider!r} "
            "a sender of its own, or set AUTH_LOG_SECRETS=true if these logs may have them"
        )
        raise AuthConfigError(msg)
    # Not to the log: whoever calls a function is told what it logs while a developer's machine
    # serves, and whoever asks for a code need not be who it is for.
    sys.stderr.write(f"To {message.identifier}: {message.token} or {message.url}\n")
    sys.stderr.flush()


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The base of what sends codes.

    Args:
        send: carries a message to the address.
        id: what clients call it.
        max_age: for how long a code is good.
        length, alphabet: what a code is made of.
        profile: makes further fields of `users` out of the parameters with which a code is asked for. They
            are of who is new: that somebody has typed them changes nothing of a user there is.
    """

    send: Send
    id: str
    max_age: timedelta
    length: int
    alphabet: str
    #: Whether who redeems a code has to name the address too: short codes can be guessed.
    names_address: bool
    profile: ProfileOf | None = None

    kind: ClassVar[Kind] = Kind.EMAIL
    #: The parameter that has the address, and the field of `users`.
    parameter: ClassVar[str] = "email"

    def new_token(self) -> str:
        """Return a code that nobody can tell."""
        return "".join(secrets.choice(self.alphabet) for _ in range(self.length))

    def address(self, params: Mapping[str, Any]) -> str:
        """Return the address among parameters, as it is kept.

        Raises:
            AppError: there is none (code MissingParameter).
        """
        return address_of(params, self.parameter)

    def authorize(self, params: Mapping[str, Any], account: AuthAccount) -> bool:
        """Return whether parameters fit the account that a code is of."""
        if not self.names_address:
            return True
        given = params.get(self.parameter)
        return isinstance(given, str) and normalised(given) == account.provider_account_id

    def typed(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the application makes of parameters, beside the address."""
        return {} if self.profile is None else dict(self.profile(params))

    def known(self, address: str, typed: Mapping[str, Any]) -> Profile:
        """Return what is known of whoever types an address: nothing is proven yet."""
        return Profile(
            fields={**typed, self.parameter: address},
            email_awaited=self.parameter == "email",
            phone_awaited=self.parameter == "phone",
        )


def _declared(
    kind: type[Verification],
    send: object,
    id: str,
    max_age: timedelta,
    length: int,
    alphabet: str,
    profile: ProfileOf | None,
) -> dict[str, Any]:
    if not callable(send):
        msg = f"{kind.__name__}(send={send!r}): it is an `async def` of a message and an ActionCtx"
        raise AuthConfigError(msg)
    return {
        "send": send,
        "id": id,
        "max_age": max_age,
        "length": length,
        "alphabet": alphabet,
        "profile": profile,
    }


class MagicLink(Verification):
    """A link by e-mail: whoever follows it is signed in. It is long, and needs no more."""

    __slots__ = ()

    def __init__(
        self,
        *,
        send: Send,
        id: str = "email",
        max_age: timedelta = timedelta(hours=1),
        profile: ProfileOf | None = None,
    ) -> None:
        super().__init__(
            **_declared(MagicLink, send, id, max_age, 32, _LETTERS, profile), names_address=False
        )


class EmailCode(Verification):
    """A one-time code by e-mail, of digits, which is typed in where it was asked for."""

    __slots__ = ()

    def __init__(
        self,
        *,
        send: Send,
        id: str = "email-code",
        digits: int = 8,
        max_age: timedelta = timedelta(minutes=20),
        profile: ProfileOf | None = None,
    ) -> None:
        _check_digits(digits)
        super().__init__(
            **_declared(EmailCode, send, id, max_age, digits, string.digits, profile),
            names_address=True,
        )


class PhoneCode(Verification):
    """A one-time code by text message."""

    __slots__ = ()
    kind = Kind.PHONE
    parameter = "phone"

    def __init__(
        self,
        *,
        send: Send,
        id: str = "phone",
        digits: int = 6,
        max_age: timedelta = timedelta(minutes=20),
        profile: ProfileOf | None = None,
    ) -> None:
        _check_digits(digits)
        super().__init__(
            **_declared(PhoneCode, send, id, max_age, digits, string.digits, profile),
            names_address=True,
        )


def _check_digits(digits: int) -> None:
    if not 6 <= digits <= 16:
        msg = f"a code of {digits} digits: give it 6 to 16, since fewer are guessed"
        raise AuthConfigError(msg)


def normalised(address: str) -> str:
    """Return an address by which two are the same: nobody means another by capitals."""
    return address.strip().lower()


def address_of(params: Mapping[str, Any], parameter: str) -> str:
    """Return an address among parameters, as it is kept.

    Raises:
        AppError: there is none, or it is none (code MissingParameter, InvalidAddress).
    """
    given = params.get(parameter)
    if not isinstance(given, str) or not given.strip():
        sentence = f"`params` needs {parameter!r}"
        raise AppError({"code": "MissingParameter", "parameter": parameter, "message": sentence})
    address = normalised(given)
    is_odd = len(address) > ACCOUNT_ID_LENGTH_MAX or not address.isprintable()
    if is_odd or any(letter.isspace() for letter in address):
        sentence = f"{parameter!r} is no address"
        raise AppError({"code": "InvalidAddress", "parameter": parameter, "message": sentence})
    return address


def expires_at(now_s: float, life: timedelta) -> datetime:
    """Return when a code ends that is sent now."""
    return datetime.fromtimestamp(now_s, UTC) + life
