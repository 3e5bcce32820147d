"""Addresses and passwords: signing up and in, proving the address, forgetting and changing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from camber import AppError
from camber.components.auth import passwords
from camber.components.auth.passwords import Scrypt, scrypt_key
from tests.components.auth.people import Person, newest_letter, refused, rows

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
SALT = "00112233445566778899aabbccddeeff"
KEY = (
    "267a33c2ae63f1c2d542f84d50b7d87c68900c8b9475f6a47ade71cf44b234822e0a34af1d226572b5caf52809319d4c"
    "486f3d209cc2fd022fb53bb4eaeb35b1"
)


def sign_up(person, provider="password", email=EMAIL, password=PASSWORD):
    return person.sign_in(provider, flow="signUp", email=email, password=password)


def sign_in(person, provider="password", email=EMAIL, password=PASSWORD):
    return person.sign_in(provider, flow="signIn", email=email, password=password)


@pytest.mark.costly
def test_hashes_are_those_of_convexs_library():
    assert scrypt_key(PASSWORD, SALT) == KEY
    assert asyncio.run(Scrypt().verify(PASSWORD, f"{SALT}:{KEY}"))
    assert not asyncio.run(Scrypt().verify(f"{PASSWORD} ", f"{SALT}:{KEY}"))


@pytest.mark.costly
def test_letters_that_look_alike_are_the_same_password():
    assert scrypt_key("\u00c5ngstr\u00f6m", SALT) == scrypt_key("A\u030angstro\u0308m", SALT)


def test_each_hash_has_a_salt_of_its_own():
    async def two():
        return await Scrypt().hash(PASSWORD), await Scrypt().hash(PASSWORD)

    one, other = asyncio.run(two())
    assert one != other
    assert [len(part) for part in one.split(":")] == [32, 128]


def test_passwords_are_hashed_beside_the_event_loop_few_at_a_time(monkeypatch):
    running: list[str] = []
    most = 0
    began, release = threading.Event(), threading.Event()

    def key(password, salt):
        nonlocal most
        running.append(threading.current_thread().name)
        most = max(most, len(running))
        if len(running) == passwords.THREADS_MAX:
            began.set()
        release.wait(10)
        running.pop()
        return "00"

    monkeypatch.setattr(passwords, "scrypt_key", key)

    async def many():
        asked = [asyncio.ensure_future(Scrypt().hash(PASSWORD)) for _ in range(6)]
        # The loop turns meanwhile; a hash on it would never let this come.
        await asyncio.to_thread(began.wait, 10)
        release.set()
        return await asyncio.gather(*asked)

    assert len(asyncio.run(many())) == 6
    assert most == passwords.THREADS_MAX


def test_hashes_that_wait_are_bounded(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(passwords, "scrypt_key", lambda password, salt: release.wait(10) and "00")

    async def many():
        asked = [
            asyncio.ensure_future(Scrypt().hash(PASSWORD)) for _ in range(passwords.WAITING_MAX)
        ]
        await asyncio.sleep(0)
        try:
            with pytest.raises(Exception, match="TooBusy"):
                await asyncio.wait_for(Scrypt().hash(PASSWORD), 5)
        finally:
            release.set()
        await asyncio.gather(*asked)
        await Scrypt().hash(PASSWORD)

    asyncio.run(many())


def test_somebody_signs_up_and_in_again(app, ada):
    sign_up(ada)
    first = ada.user
    ada.sign_out()
    sign_in(ada)
    assert ada.user == first
    user = ada.calling.query("people:me")
    assert (user.email, user.email_verification_time) == (EMAIL, None)
    assert PASSWORD not in str(rows(app, "authAccounts"))


def test_capitals_and_spaces_make_no_other_address(ada):
    sign_up(ada, email=" Ada@Example.com ")
    first = ada.user
    sign_in(ada, email="ADA@example.COM")
    assert ada.user == first


def test_signing_up_again_with_the_same_password_is_signing_in(app, ada):
    sign_up(ada)
    first = ada.user
    sign_up(ada)
    assert ada.user == first
    assert len(rows(app, "users")) == 1


def test_an_address_that_is_taken_is_not_signed_up_again(app, ada, eve):
    sign_up(ada)
    refused("AccountAlreadyExists", sign_up, eve, password="something else")
    assert len(rows(app, "authAccounts")) == 1
    assert eve.tokens is None


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, None, 12345678, ["a"] * 8])
def test_a_password_that_is_none_is_refused(app, ada, password):
    code = "InvalidPassword" if isinstance(password, str) and password else "MissingParameter"
    refused(code, sign_up, ada, password=password)
    assert rows(app, "users") == []


@pytest.mark.parametrize(
    "email", ["", " ", None, 7, "a b@example.com", "a\nb@example.com", "x" * 400]
)
def test_an_address_that_is_none_is_refused(app, ada, email):
    for attempt in (sign_up, sign_in):
        with pytest.raises(Exception, match=r"MissingParameter|InvalidAddress"):
            attempt(ada, email=email)
    assert rows(app, "users") == rows(app, "authRateLimits") == []


def test_who_is_not_there_and_who_is_are_told_the_same(app, ada, eve):
    """No enumeration: neither by the error, nor by what is counted, nor by what is hashed."""
    sign_up(ada)
    hashed: list[str] = []
    answers = []
    real = passwords.scrypt_key
    with pytest.MonkeyPatch.context() as patch:

        def counted(password, salt):
            hashed.append(salt)
            return real(password, salt)

        patch.setattr(passwords, "scrypt_key", counted)
        for email in (EMAIL, "nobody@example.com"):
            answers.append(
                [refused("InvalidCredentials", sign_in, eve, email=email, password="wrong horse")]
                + [
                    refused("InvalidCredentials", sign_in, eve, email=email, password="wrong horse")
                    for _ in range(9)
                ]
                + [refused("TooManyFailedAttempts", sign_in, eve, email=email)]
            )
    assert answers[0] == answers[1]
    assert len(hashed) == 20


def test_guesses_at_a_password_run_out_and_come_back(app, ada, eve):
    sign_up(ada)
    for _ in range(10):
        refused("InvalidCredentials", sign_in, eve, password="wrong horse")
    # The right one does not help any more, or guessing would go on.
    refused("TooManyFailedAttempts", sign_in, eve)
    app.advance(minutes=5)
    refused("TooManyFailedAttempts", sign_in, eve)
    app.advance(minutes=1)
    sign_in(eve)
    refused("InvalidCredentials", sign_in, eve, password="wrong horse")


def test_guesses_by_signing_up_run_out_too(app, ada, eve):
    """The gap of components_a 1.7: signing up holds a password against an account's."""
    sign_up(ada)
    for _ in range(10):
        refused("AccountAlreadyExists", sign_up, eve, password="wrong horse")
    refused("TooManyFailedAttempts", sign_up, eve)
    refused("TooManyFailedAttempts", sign_in, eve)


def test_who_gave_a_password_that_was_replaced_meanwhile_is_not_let_in(app, ada, eve):
    """A reset ends all sessions: one that was about to begin by the old password too."""
    sign_up(ada)
    ada.sign_in("password", flow="reset", email=EMAIL)
    token = newest_letter(app, EMAIL).token
    real = passwords.scrypt_key
    with pytest.MonkeyPatch.context() as patch:

        def slow(password, salt):
            patch.setattr(passwords, "scrypt_key", real)
            found = real(password, salt)
            new = {"email": EMAIL, "code": token, "newPassword": "another horse"}
            ada.sign_in("password", flow="reset-verification", **new)
            return found

        patch.setattr(passwords, "scrypt_key", slow)
        refused("InvalidCredentials", sign_in, eve)
    assert eve.tokens is None
    assert [row["_id"] for row in rows(app, "authSessions")] == [ada.session]
    sign_in(eve, password="another horse")


def test_a_password_that_is_refused_to_a_session_that_has_ended_is_not_changed(app, ada):
    sign_up(ada)
    app.mutation("people:change", id=ada.session, fields={"expirationTime": 1.0})
    new = {"currentPassword": PASSWORD, "newPassword": "another horse"}
    refused("NotSignedIn", ada.sign_in, "password", flow="change", **new)
    sign_in(ada)
    assert len(rows(app, "authSessions")) == 1


def test_guesses_at_the_same_moment_are_as_many_as_one_after_another(app, ada, eve):
    sign_up(ada)
    results: list[str] = []

    def guess():
        try:
            sign_in(Person(app), password="wrong horse")
        except AppError as error:
            results.append(str(error))

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("InvalidCredentials" in each for each in results) == 10
    assert sum("TooManyFailedAttempts" in each for each in results) == 6


def test_who_gets_in_has_not_guessed(ada):
    for _ in range(3):
        sign_up(ada)
        for _ in range(8):
            refused("InvalidCredentials", sign_in, ada, password="wrong horse")


def test_nobody_gets_in_before_the_address_is_proven(app, ada):
    assert sign_up(ada, "verified") == {"tokens": None}
    assert sign_in(ada, "verified") == {"tokens": None}
    letter = newest_letter(app, EMAIL)
    refused(
        "InvalidCode",
        ada.sign_in,
        "verified",
        flow="email-verification",
        email=EMAIL,
        code="00000000",
    )
    ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
    user = ada.calling.query("people:me")
    assert user.email_verification_time
    ada.sign_out()
    sign_in(ada, "verified")
    assert ada.tokens


def test_a_code_is_good_for_its_address_alone(app, ada, eve):
    sign_up(ada, "verified")
    sign_up(eve, "verified", email="eve@example.com", password="eve's own words")
    letter = newest_letter(app, "eve@example.com")
    refused(
        "InvalidCode",
        eve.sign_in,
        "verified",
        flow="email-verification",
        email=EMAIL,
        code=letter.token,
    )
    refused(
        "InvalidCode",
        eve.sign_in,
        "verified",
        flow="reset-verification",
        email=EMAIL,
        code=letter.token,
        newPassword="eve's own words",
    )


def test_where_addresses_are_proven_signing_up_does_not_tell_who_is_there(app, ada, eve):
    sign_up(ada, "verified")
    letter = newest_letter(app, EMAIL)
    ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
    answers = [
        sign_up(eve, "verified", email=email, password="wrong horse")
        for email in (EMAIL, "nobody@example.com")
    ]
    assert answers == [{"tokens": None}] * 2
    # Ada is not troubled, and her password is hers.
    assert newest_letter(app, EMAIL) == letter
    sign_in(ada, "verified")
    assert ada.tokens


@pytest.mark.parametrize("eve_comes", ["before", "after", "between"])
def test_of_two_who_sign_up_with_one_address_nobodys_password_counts(app, ada, eve, eve_comes):
    """The code proves whose the address is, and not which of the two passwords is of the same person."""

    def eve_tries():
        sign_up(eve, "verified", password="eve's own words")

    if eve_comes != "after":
        eve_tries()
    sign_up(ada, "verified")
    if eve_comes == "between":
        sign_up(ada, "verified", password="another of Ada's")
    if eve_comes != "before":
        eve_tries()
    letter = newest_letter(app, EMAIL)
    ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
    for password in ("eve's own words", PASSWORD, "another of Ada's"):
        refused("InvalidCredentials", sign_in, eve, "verified", password=password)
    # Ada is signed in, and needs to know none to choose one.
    first = ada.user
    refused("InvalidPassword", ada.sign_in, "verified", flow="change", newPassword="short")
    ada.sign_in("verified", flow="change", newPassword="a new phrase")
    refused("NotSignedIn", ada.sign_in, "verified", flow="change", newPassword="a third one")
    ada.sign_out()
    sign_in(ada, "verified", password="a new phrase")
    assert ada.user == first


def test_who_signed_up_long_ago_with_an_address_that_is_not_theirs_has_nothing_of_it(app, ada, eve):
    """No code is on its way any more that could be taken for that of who tries now."""
    sign_up(eve, "verified", password="eve's own words")
    app.advance(seconds=20 * 60 + 1)
    sign_up(ada, "verified")
    letter = newest_letter(app, EMAIL)
    ada.sign_in("verified", flow="email-verification", email=EMAIL, code=letter.token)
    refused("InvalidCredentials", sign_in, eve, "verified", password="eve's own words")
    ada.sign_out()
    sign_in(ada, "verified")
    assert ada.tokens


def test_a_password_that_is_forgotten_is_replaced(app, ada, eve):
    sign_up(ada)
    sign_up(eve)
    first = ada.user
    assert ada.sign_in("password", flow="reset", email=EMAIL) == {"tokens": None}
    letter = newest_letter(app, EMAIL)
    ada.sign_in(
        "password",
        flow="reset-verification",
        email=EMAIL,
        code=letter.token,
        newPassword="a new phrase",
    )
    assert ada.user == first
    # Whoever was signed in before is not any more.
    assert not eve.refresh()
    refused("InvalidCredentials", sign_in, eve)
    sign_in(eve, password="a new phrase")


def test_a_reset_code_is_used_once_and_signs_nobody_in_by_itself(app, ada):
    sign_up(ada)
    ada.sign_out()
    ada.sign_in("password", flow="reset", email=EMAIL)
    token = newest_letter(app, EMAIL).token
    assert ada.sign_in(code=token, email=EMAIL) == {"tokens": None}
    refused("UnknownProvider", ada.sign_in, "reset", code=token, email=EMAIL)
    arguments = {
        "flow": "reset-verification",
        "email": EMAIL,
        "code": token,
        "newPassword": "a new phrase",
    }
    refused("InvalidPassword", ada.sign_in, "password", **{**arguments, "newPassword": "short"})
    ada.sign_in("password", **arguments)
    refused("InvalidCode", ada.sign_in, "password", **arguments)


def test_a_reset_code_is_of_one_account(app, ada, eve):
    sign_up(ada)
    sign_up(eve, email="eve@example.com")
    eve.sign_in("password", flow="reset", email="eve@example.com")
    token = newest_letter(app, "eve@example.com").token
    refused(
        "InvalidCode",
        eve.sign_in,
        "password",
        flow="reset-verification",
        email=EMAIL,
        code=token,
        newPassword="eve's own words",
    )
    sign_in(ada)


def test_a_reset_does_not_tell_who_is_there(app, ada, eve):
    sign_up(ada)
    answers = [
        eve.sign_in("password", flow="reset", email=email)
        for email in (EMAIL, "nobody@example.com")
    ]
    assert answers == [{"tokens": None}] * 2
    # Nothing was sent before the answer, which then takes as long for both.
    assert app.query("letters:newest", to=EMAIL) is None
    assert newest_letter(app, EMAIL).provider == "reset"
    assert newest_letter(app, "nobody@example.com") is None


def test_messages_to_one_address_are_few(app, ada, eve):
    """The other gap of components_a 1.7: sending codes is limited, for who is not there too."""
    sign_up(ada)
    for email in (EMAIL, "nobody@example.com"):
        for _ in range(10):
            eve.sign_in("password", flow="reset", email=email)
        refused("TooManyMessages", eve.sign_in, "password", flow="reset", email=email)
    app.advance(minutes=6)
    eve.sign_in("password", flow="reset", email=EMAIL)


def test_guesses_at_a_reset_code_run_out(app, ada, eve):
    sign_up(ada)
    ada.sign_in("password", flow="reset", email=EMAIL)
    token = newest_letter(app, EMAIL).token
    arguments = {"flow": "reset-verification", "email": EMAIL, "newPassword": "eve's own words"}
    for _ in range(10):
        refused("InvalidCode", eve.sign_in, "password", **arguments, code="00000000")
    refused("InvalidCode", eve.sign_in, "password", **arguments, code=token)


def test_a_password_is_changed_by_who_is_signed_in_and_knows_it(app, ada, eve):
    arguments = {"flow": "change", "currentPassword": PASSWORD, "newPassword": "a new phrase"}
    refused("NotSignedIn", eve.sign_in, "password", **arguments)
    sign_up(ada)
    sign_up(eve)
    refused(
        "InvalidCredentials", ada.sign_in, "password", **{**arguments, "currentPassword": "wrong"}
    )
    refused("InvalidPassword", ada.sign_in, "password", **{**arguments, "newPassword": "short"})
    before, first = ada.session, ada.tokens["refreshToken"]
    ada.sign_in("password", **arguments)
    # Its own session goes on, by another refresh token: an open page is not told of another session.
    assert ada.session == before
    assert not Person(app).refresh(first)
    assert ada.refresh()
    assert not eve.refresh()
    refused("InvalidCredentials", sign_in, eve)


def test_flows_that_there_are_not_are_told(app, ada):
    refused("MissingParameter", ada.sign_in, "password", email=EMAIL, password=PASSWORD)
    with pytest.raises(Exception, match="needs Password"):
        ada.sign_in("password", flow="email-verification", email=EMAIL, code="1")


def test_an_applications_own_credentials_have_hashed_secrets_and_limits(app, ada, eve):
    ada.sign_in("badge", number="7", pin="1234", new=True)
    assert "1234" not in [row["secret"] for row in rows(app, "authAccounts")]
    refused("AccountAlreadyExists", eve.sign_in, "badge", number="7", pin="9", new=True)
    for _ in range(9):
        refused("InvalidCredentials", eve.sign_in, "badge", number="7", pin="9999")
    refused("TooManyFailedAttempts", eve.sign_in, "badge", number="7", pin="1234")
    refused("InvalidCredentials", eve.sign_in, "badge", number="8", pin="1234")
    assert eve.sign_in("badge", number="0") == {"tokens": None}
