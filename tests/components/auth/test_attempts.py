"""How often may be tried, by whom, and that nobody keeps another out by trying."""

from __future__ import annotations

import asyncio

import pytest

from camber import AppError
from camber.components.auth import attempts, passwords, policy, store
from camber.components.auth.passwords import FromOneAddress, Scrypt
from tests.components.auth.people import Person, newest_letter, refused, rows

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
HOME, OFFICE, CAFE = "198.51.100.1", "203.0.113.7", "192.0.2.9"
LOCKED = "TooManyFailedAttempts"
WRONG = "InvalidCredentials"


def at(app, ip):
    """Return somebody at an address."""
    return Person(app.with_request_metadata(ip=ip))


def sign_up(person, email=EMAIL, password=PASSWORD, provider="password"):
    person.sign_in(provider, flow="signUp", email=email, password=password)


def sign_in(person, email=EMAIL, password=PASSWORD):
    person.sign_in("password", flow="signIn", email=email, password=password)


def guess(person, times, email=EMAIL, expected=WRONG):
    for _ in range(times):
        refused(expected, sign_in, person, email=email, password="wrong horse")


@pytest.fixture
def home(app):
    """Ada, who has signed up from there."""
    person = at(app, HOME)
    sign_up(person)
    return person


def test_guesses_from_an_address_run_out_there_and_nowhere_else(app, home):
    guess(at(app, CAFE), 10)
    refused(LOCKED, sign_in, at(app, CAFE))
    sign_in(at(app, OFFICE))
    app.advance(minutes=6)
    guess(at(app, CAFE), 1)
    refused(LOCKED, sign_in, at(app, CAFE))


def test_guesses_from_many_addresses_at_one_account_run_out_but_not_for_who_is_known(app, home):
    for last in range(3):
        guess(at(app, f"192.0.2.{last}"), 10)
    # Strangers are kept out, the one with the right password too.
    refused(LOCKED, sign_in, at(app, OFFICE))
    sign_in(at(app, HOME))


def test_guesses_from_one_address_at_many_accounts_run_out_but_not_for_who_is_known_there(
    app, home
):
    at_home = at(app, HOME)
    for number in range(10):
        guess(at_home, 10, email=f"{number}@example.com")
    sign_up(at(app, OFFICE), email="grace@example.com")
    refused(LOCKED, sign_in, at(app, HOME), email="grace@example.com")
    sign_in(at(app, HOME))
    # The others are where they were.
    guess(at(app, CAFE), 1)


def test_being_known_does_not_tell_who_has_an_account(app, home):
    """Somebody beside Ada uses up what is shared; what she is told then is what strangers are."""
    beside = at(app, HOME)
    for number in range(10):
        guess(beside, 10, email=f"{number}@example.com")
    hashed: list[str] = []
    real = passwords.scrypt_key
    told = []
    with pytest.MonkeyPatch.context() as patch:

        def counted(password, salt):
            hashed.append(salt)
            return real(password, salt)

        patch.setattr(passwords, "scrypt_key", counted)
        for email in (EMAIL, "nobody@example.com"):
            before = len(hashed)
            answers = [
                refused(LOCKED, sign_in, beside, email=email, password="wrong horse")
                for _ in range(12)
            ]
            told.append((answers, len(hashed) - before))
    assert told[0] == told[1]
    # As much work for both, and only as often as anybody may try.
    assert told[0][1] == 10


def test_an_account_of_ones_own_gives_no_guesses_at_others(app, home):
    eve = at(app, CAFE)
    sign_up(eve, email="eve@example.com", password="eve's own words")
    for number in range(10):
        guess(eve, 10, email=f"{number}@example.com")
        sign_in(eve, email="eve@example.com", password="eve's own words")
    for number in range(10, 20):
        sign_in(eve, email="eve@example.com", password="eve's own words")
        sign_up(eve, email=f"eve{number}@example.com", password="eve's own words")
        guess(eve, 1, email=f"{number}@example.com", expected=LOCKED)


def test_a_network_of_ipv6_is_one_address(app, home):
    for host in range(10):
        guess(at(app, f"2001:db8:0:1::{host:x}"), 1)
    refused(LOCKED, sign_in, at(app, "2001:db8:0:1:ffff::1"))
    sign_in(at(app, "2001:db8:0:2::1"))


def test_guesses_at_codes_are_counted_so_too(app):
    ada, eve = at(app, HOME), at(app, CAFE)
    ada.sign_in("email-code", email=EMAIL)
    code = newest_letter(app, EMAIL).token
    for _ in range(10):
        refused("InvalidCode", eve.sign_in, "email-code", email=EMAIL, code="no")
    refused("InvalidCode", eve.sign_in, "email-code", email=EMAIL, code=code)
    ada.sign_in("email-code", email=EMAIL, code=code)
    assert ada.tokens
    # And strangers together cannot keep out who is known.
    for last in range(3):
        for _ in range(10):
            other = at(app, f"192.0.2.{last}")
            refused("InvalidCode", other.sign_in, "email-code", email=EMAIL, code="no")
    ada.sign_in("email-code", email=EMAIL)
    code = newest_letter(app, EMAIL).token
    refused("InvalidCode", at(app, OFFICE).sign_in, "email-code", email=EMAIL, code=code)
    ada.sign_in("email-code", email=EMAIL, code=code)


def test_nobody_is_kept_from_messages_by_who_asks_for_them_elsewhere(app):
    ada = at(app, HOME)
    ada.sign_in("email", email=EMAIL)
    ada.sign_in(code=newest_letter(app, EMAIL).token, email=EMAIL)
    for last in range(3):
        eve = at(app, f"192.0.2.{last}")
        for _ in range(9 if last == 0 else 10):
            eve.sign_in("email", email=EMAIL)
    assert len(rows(app, "letters")) == 30
    # A stranger is told that it was sent, as anybody is, and nobody is troubled.
    stranger = at(app, OFFICE)
    assert stranger.sign_in("email", email=EMAIL) == {"started": True}
    app.advance()
    assert len(rows(app, "letters")) == 30
    assert ada.sign_in("email", email=EMAIL) == {"started": True}
    newest = newest_letter(app, EMAIL)
    assert len(rows(app, "letters")) == 31
    ada.sign_in(code=newest.token)
    assert ada.tokens


def test_nobody_is_kept_from_resetting_a_password_by_who_asks_elsewhere(app, home):
    for last in range(3):
        eve = at(app, f"192.0.2.{last}")
        for _ in range(10):
            eve.sign_in("password", flow="reset", email=EMAIL)
    app.advance()
    sent = len(rows(app, "letters"))
    assert at(app, OFFICE).sign_in("password", flow="reset", email=EMAIL) == {"tokens": None}
    app.advance()
    assert len(rows(app, "letters")) == sent
    at_home = at(app, HOME)
    assert at_home.sign_in("password", flow="reset", email=EMAIL) == {"tokens": None}
    app.advance()
    assert len(rows(app, "letters")) == sent + 1
    letter = newest_letter(app, EMAIL)
    for _ in range(10):
        refused(
            "InvalidCode",
            at(app, CAFE).sign_in,
            "password",
            flow="reset-verification",
            email=EMAIL,
            code="00000000",
            newPassword="eve's own words",
        )
    at_home.sign_in(
        "password",
        flow="reset-verification",
        email=EMAIL,
        code=letter.token,
        newPassword="a new phrase",
    )
    assert at_home.tokens


def test_signing_up_where_addresses_are_proven_runs_out_alike(app):
    """Whether there is an account or not: one attempt for each."""
    ada = at(app, HOME)
    sign_up(ada, provider="verified")
    letter = newest_letter(app, EMAIL)
    ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
    eve = at(app, CAFE)
    counts = []
    for email in (EMAIL, "nobody@example.com"):
        for number in range(20):
            try:
                sign_up(eve, provider="verified", email=email, password=f"wrong horse {number}")
            except AppError as error:
                counts.append((number, error.data))
                break
    assert counts[0] == counts[1]
    assert counts[0][0] == 10


def test_what_was_typed_and_where_is_not_stored(app, home):
    """A password is soon typed into the wrong field."""
    guess(at(app, CAFE), 1, email="correct-horse-battery")
    stored = str([rows(app, table) for table in ("authRateLimits", "authKnownAddresses")])
    for text in (EMAIL, PASSWORD, "correct-horse-battery", HOME, CAFE):
        assert text not in stored
    assert len(rows(app, "authKnownAddresses")) == 1


def test_nobody_is_known_for_ever(app, home, monkeypatch):
    monkeypatch.setattr(attempts, "KNOWN_ADDRESS_MS", 3 * policy.HOUR_MS)
    (swept,) = (each for each in store._SWEPT if each[0] == "authKnownAddresses")
    assert swept[-1] == policy.KNOWN_ADDRESS_MS
    monkeypatch.setattr(store, "_SWEPT", ((*swept[:-1], 3 * policy.HOUR_MS),))
    app.advance(hours=5)
    assert rows(app, "authKnownAddresses") == []


def test_who_has_not_signed_in_from_there_for_long_is_a_stranger(app, home, monkeypatch):
    monkeypatch.setattr(attempts, "KNOWN_ADDRESS_MS", 3 * policy.HOUR_MS)
    app.advance(hours=4)
    for last in range(3):
        guess(at(app, f"192.0.2.{last}"), 10)
    refused(LOCKED, sign_in, at(app, HOME))


def test_names_that_are_put_together_are_of_no_other_bucket(app):
    """Two texts beside each other could be read as two others."""
    pins = [("7", "8"), ("7 8", ""), ('7", "8', "")]
    for number, _ in pins:
        at(app, HOME).sign_in("badge", number=number, pin="1234", new=True)
    for _ in range(10):
        refused(WRONG, at(app, CAFE).sign_in, "badge", number=f"7 from {OFFICE}", pin="no")
    at(app, OFFICE).sign_in("badge", number="7", pin="1234")


def test_those_at_one_address_leave_room_for_hashes_to_others(monkeypatch):
    waiting = asyncio.Event()

    class Slow(Scrypt):
        async def hash(self, password):
            await waiting.wait()
            return "00"

    async def many():
        hasher = FromOneAddress(Slow(), HOME)
        asked = [
            asyncio.ensure_future(hasher.hash(PASSWORD))
            for _ in range(policy.HASHES_FROM_ONE_ADDRESS)
        ]
        await asyncio.sleep(0)
        with pytest.raises(AppError, match="TooBusy"):
            await asyncio.wait_for(hasher.hash(PASSWORD), 5)
        with pytest.raises(AppError, match="TooBusy"):
            await FromOneAddress(Slow(), HOME).verify(PASSWORD, None)
        others = [
            asyncio.ensure_future(FromOneAddress(Slow(), ip).hash(PASSWORD)) for ip in (CAFE, None)
        ]
        await asyncio.sleep(0)
        waiting.set()
        await asyncio.gather(*asked, *others)
        assert await hasher.hash(PASSWORD) == "00"

    asyncio.run(many())
