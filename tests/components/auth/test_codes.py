"""Links and codes that are sent to an address, and how they are redeemed."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from camber import FunctionError
from camber.components.auth.sessions import hash_of
from camber.components.auth.verification import Message, console_sender
from tests.components.auth.people import PAGES, SIGNING_IN, Person, opened, refused, rows

EMAIL = "ada@example.com"


def test_codes_are_stored_as_convexs_library_does():
    expected = "ef797c8118f02dfb649607dd5d3f8c7623048c9c063d532cc95c5ed7a898a64f"
    assert hash_of("12345678") == expected


def test_a_link_signs_in_whoever_follows_it(app, ada):
    assert ada.sign_in("email", email="Ada@Example.com", redirectTo="/inbox?tab=1") == {
        "started": True
    }
    letter = app.query("letters:newest", to=EMAIL)
    assert letter.url.startswith(f"{PAGES}/inbox?tab=1&code=")
    code = parse_qs(urlsplit(letter.url).query)["code"][0]
    assert code == letter.token
    assert len(code) == 32
    # The page that the link leads to has the code and nothing else.
    ada.sign_in(code=code)
    user = ada.calling.query("people:me")
    assert user.email == EMAIL
    assert user.email_verification_time


def test_a_code_is_good_once_and_for_a_while(app, ada):
    ada.sign_in("email", email=EMAIL)
    first = app.query("letters:newest", to=EMAIL).token
    ada.sign_in(code=first)
    assert ada.sign_in(code=first) == {"tokens": None}
    ada.sign_in("email", email=EMAIL)
    late = app.query("letters:newest", to=EMAIL).token
    app.advance(minutes=61)
    assert ada.sign_in(code=late) == {"tokens": None}


def test_a_new_code_replaces_the_one_before(app, ada):
    ada.sign_in("email", email=EMAIL)
    first = app.query("letters:newest", to=EMAIL).token
    ada.sign_in("email", email=EMAIL)
    assert ada.sign_in(code=first) == {"tokens": None}
    ada.sign_in(code=app.query("letters:newest", to=EMAIL).token)
    assert ada.tokens


def test_codes_are_not_stored(app, ada):
    ada.sign_in("email-code", email=EMAIL)
    token = app.query("letters:newest", to=EMAIL).token
    stored = rows(app, "authVerificationCodes")
    assert token not in str(stored)
    assert stored[0]["code"] == hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    ("provider", "parameter", "address", "length"),
    [("email-code", "email", EMAIL, 8), ("phone", "phone", "+15550001111", 6)],
)
def test_a_short_code_needs_its_address(app, ada, eve, provider, parameter, address, length):
    ada.sign_in(provider, **{parameter: address})
    token = app.query("letters:newest", to=address).token
    assert len(token) == length
    assert token.isdecimal()
    assert eve.sign_in(code=token) == {"tokens": None}
    refused("InvalidCode", eve.sign_in, provider, code=token)
    refused("InvalidCode", eve.sign_in, provider, code=token, **{parameter: "eve@example.com"})
    refused("InvalidCode", eve.sign_in, "email", code=token, **{parameter: address})
    ada.sign_in(provider, code=token, **{parameter: address})
    assert ada.tokens


def test_guesses_at_a_code_run_out(app, ada, eve):
    ada.sign_in("email-code", email=EMAIL)
    token = app.query("letters:newest", to=EMAIL).token
    for address in (EMAIL, " ADA@example.com") * 5:
        refused("InvalidCode", eve.sign_in, "email-code", email=address, code="no")
    refused("InvalidCode", eve.sign_in, "email-code", email=EMAIL, code=token)
    assert eve.sign_in(code=token, email=EMAIL) == {"tokens": None}


@pytest.mark.parametrize("beside", ["eve{}@example.com", 7, None])
def test_guesses_at_a_code_run_out_whatever_is_named_beside_its_address(app, ada, eve, beside):
    phone = "+15550001111"
    ada.sign_in("phone", phone=phone)
    token = app.query("letters:newest", to=phone).token
    for number in range(10):
        email = beside.format(number) if isinstance(beside, str) else beside
        refused("InvalidCode", eve.sign_in, "phone", email=email, phone=phone, code="no")
    refused("InvalidCode", eve.sign_in, "phone", email="e@example.com", phone=phone, code=token)
    assert eve.sign_in(code=token, phone=phone, email=beside) == {"tokens": None}


def test_a_code_of_ones_own_gives_no_guesses_at_anothers(app, ada, eve):
    ada.sign_in("email-code", email=EMAIL)
    token = app.query("letters:newest", to=EMAIL).token
    eve.sign_in("email", email="eve@example.com")
    link = app.query("letters:newest", to="eve@example.com").token
    for _ in range(9):
        refused("InvalidCode", eve.sign_in, "email-code", email=EMAIL, code="no")
    # A link is good by itself, whatever else is said.
    eve.sign_in(code=link, email=EMAIL)
    assert eve.tokens
    refused("InvalidCode", eve.sign_in, "email-code", email=EMAIL, code=token)


def test_messages_to_one_address_are_few(app, ada):
    for _ in range(10):
        ada.sign_in("email", email=EMAIL)
    refused("TooManyMessages", ada.sign_in, "email", email=EMAIL)
    assert len(rows(app, "letters")) == 10


def test_codes_of_two_people_that_are_equal_are_told_apart(app, ada, eve):
    ada.sign_in("email-code", email=EMAIL)
    eve.sign_in("email-code", email="eve@example.com")
    code = hash_of("12345678")
    for row in rows(app, "authVerificationCodes"):
        app.mutation("people:change", id=row["_id"], fields={"code": code})
    eve.sign_in("email-code", email="eve@example.com", code="12345678")
    assert eve.calling.query("people:me").email == "eve@example.com"
    ada.sign_in("email-code", email=EMAIL, code="12345678")
    assert ada.calling.query("people:me").email == EMAIL


def test_what_is_no_code_signs_nobody_in(app, ada):
    for code in ("", "x", 7, None, ["a"], {"a": 1}):
        if code is None:
            refused("MissingParameter", ada.sign_in, code=None)
        else:
            assert ada.sign_in(code=code) == {"tokens": None}
    refused("MissingParameter", ada.sign_in)
    refused("MissingParameter", app.action, "auth:signIn", params=[1])
    refused("UnknownProvider", ada.sign_in, "nobody")


def test_a_code_of_an_account_that_is_gone_is_worth_nothing(app, ada):
    ada.sign_in("email", email=EMAIL)
    token = app.query("letters:newest", to=EMAIL).token
    account = rows(app, "authAccounts")[0]["_id"]
    app.mutation("people:remove", id=account)
    assert ada.sign_in(code=token) == {"tokens": None}


def test_two_ways_in_by_one_proven_address_are_one_user(app, ada):
    ada.sign_in("email", email=EMAIL)
    ada.sign_in(code=app.query("letters:newest", to=EMAIL).token)
    first = ada.user
    ada.sign_in("email-code", email=EMAIL)
    ada.sign_in("email-code", email=EMAIL, code=app.query("letters:newest", to=EMAIL).token)
    assert ada.user == first
    assert len(rows(app, "users")) == 1


def test_an_address_that_nobody_has_proven_links_nobody(app, ada, eve):
    """Who signs up first by another's address, and waits for them, waits in vain."""
    eve.sign_in("password", flow="signUp", email=EMAIL, password="eve's own words")
    ada.sign_in("email", email=EMAIL)
    ada.sign_in(code=app.query("letters:newest", to=EMAIL).token)
    assert ada.user != eve.user


def test_asking_for_a_code_changes_nothing_of_the_user_who_has_the_address(app, ada, eve):
    ada.sign_in("email", email=EMAIL)
    ada.sign_in(code=app.query("letters:newest", to=EMAIL).token)
    app.mutation("people:change", id=ada.user, fields={"name": "Ada", "email": "ada@new.example"})
    before = rows(app, "users")
    eve.sign_in("email", email=EMAIL)
    eve.sign_in("verified", flow="signUp", email="ada@new.example", password="eve's own words")
    assert rows(app, "users")[0] == before[0]


def test_what_an_application_asks_for_with_an_address_is_of_who_is_new(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(SIGNING_IN, project, ignore=shutil.ignore_patterns("__pycache__"))
    module = project / "backend" / "auth.py"
    named = 'EmailCode(send=deliver, profile=lambda given: {"name": given.get("name")}),'
    module.write_text(module.read_text().replace("EmailCode(send=deliver),", named))
    with opened(project) as app:
        ada, eve = Person(app), Person(app)
        ada.sign_in("email-code", email=EMAIL, name="Ada", plan="gold")
        eve.sign_in("email-code", email=EMAIL, name="Eve")
        letter: Any = app.query("letters:newest", to=EMAIL)
        ada.sign_in("email-code", email=EMAIL, code=letter.token)
        user: Any = ada.calling.query("people:me")
        assert (user.name, user.email, user.plan) == ("Ada", EMAIL, "free")


def test_an_address_that_takes_anothers_place_is_not_proven_by_it(app, ada):
    """Its time would say that it was."""
    ada.sign_in("phone", phone="+15550001111")
    ada.sign_in(
        "phone", phone="+15550001111", code=app.query("letters:newest", to="+15550001111").token
    )
    app.mutation(
        "people:change",
        id=ada.user,
        fields={"phone": "+15550002222", "phoneVerificationTime": None},
    )
    ada.sign_in("phone", phone="+15550001111")
    ada.sign_in(
        "phone", phone="+15550001111", code=app.query("letters:newest", to="+15550001111").token
    )
    user = ada.calling.query("people:me")
    assert (user.phone, bool(user.phone_verification_time)) == ("+15550001111", True)


def test_codes_are_printed_on_a_developers_machine_alone(capfd):
    sender: Any = console_sender

    class Ctx:
        def __init__(self, **env):
            self.env = env

    import asyncio
    from datetime import UTC, datetime

    message = Message(
        identifier=EMAIL,
        url=f"{PAGES}?code=1",
        token="1",
        expires=datetime.now(UTC),
        provider="email",
    )
    asyncio.run(sender(message, Ctx(SITE_URL=PAGES)))
    assert EMAIL in capfd.readouterr().err
    with pytest.raises(Exception, match="console_sender prints codes"):
        asyncio.run(sender(message, Ctx(SITE_URL="https://app.example.com")))
    asyncio.run(sender(message, Ctx(SITE_URL="https://a.example", AUTH_LOG_SECRETS="true")))
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_sender_that_fails_is_told_to_who_waits():
    with opened(SITE_URL="") as app, pytest.raises(FunctionError, match="SITE_URL is not set"):
        Person(app).sign_in("email", email=EMAIL)
