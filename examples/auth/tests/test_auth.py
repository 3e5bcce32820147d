"""The example's own tests: the real engine, in process."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backend.account import name_device, sessions, sign_out_elsewhere, ways
from backend.auth import auth
from backend.invitations import invite
from backend.members import finish_onboarding, me, newest, promote, set_roles
from backend.notes import add, mine
from backend.schema import Invitation, Note

from camber import AppError
from camber.testing import TestApp

PROJECT = Path(__file__).parent.parent
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def app() -> Iterator[TestApp]:
    with TestApp(PROJECT, environment={"SITE_URL": "http://localhost"}) as app:
        yield app


def somebody(app: TestApp) -> TestApp:
    """Return the application as somebody new calls it."""
    return enter(app, "anonymous")


def enter(app: TestApp, provider: str, **params: object) -> TestApp:
    """Sign in, and return the application as whoever that was calls it."""
    tokens = app.action(auth.sign_in, provider=provider, params=params)["tokens"]
    return app.with_token(tokens["token"])


def by_code(app: TestApp, capsys: Capture, email: str) -> TestApp:
    """Sign in by the code that the console shows."""
    app.action(auth.sign_in, provider="email-code", params={"email": email})
    (code,) = re.findall(r"To \S+: (\d+) or", capsys.readouterr().err)
    return enter(app, "email-code", email=email, code=code)


def refused(code: str, call: Callable[..., object], /, *args: object, **kwargs: object) -> None:
    with pytest.raises(AppError) as raised:
        call(*args, **kwargs)
    assert raised.value.data["code"] == code


def test_notes_are_their_authors(app: TestApp) -> None:
    ann, bob = somebody(app), somebody(app)
    ann.mutation(add, text=" mine ")

    assert [note.text for note in ann.query(mine)] == ["mine"]
    assert bob.query(mine) == []
    assert bob.visible(Note) == app.visible(Note) == []
    assert not bob.may_delete(ann.query(mine)[0].id)


def test_nobody_is_let_in_without_signing_in(app: TestApp) -> None:
    refused("Unauthenticated", app.query, me)
    refused("Unauthenticated", app.query, mine)


def test_who_has_signed_out_is_nobody_whatever_the_token_says(app: TestApp) -> None:
    ann = somebody(app)
    ann.action(auth.sign_out)
    refused("Unauthenticated", ann.query, me)


@pytest.fixture
def admin(app: TestApp, capsys: Capture) -> TestApp:
    ann = by_code(app, capsys, "ann@example.com")
    with pytest.raises(AppError, match="Nobody has proven"):
        app.mutation(promote, email="bob@example.com")
    app.mutation(promote, email="ann@example.com")
    return ann


def test_roles_say_who_sees_members_and_who_gives_roles(app: TestApp, admin: TestApp) -> None:
    bob = somebody(app)
    user = bob.query(me)
    refused("Forbidden", bob.query, newest)
    refused("Forbidden", bob.mutation, set_roles, member=user.id, roles=["admin"])
    # Not by a function that forgets to ask, either.
    assert bob.may_patch(user.id, onboarded=True)
    assert not bob.may_patch(user.id, roles=["admin"])

    admin.mutation(set_roles, member=user.id, roles=["support"])
    assert {each.id for each in bob.query(newest)} >= {user.id}
    refused("Forbidden", bob.mutation, set_roles, member=user.id, roles=["admin"])
    admin.mutation(set_roles, member=user.id, roles=[])
    refused("Forbidden", bob.query, newest)

    own = admin.query(me)
    refused("OWN_ROLES", admin.mutation, set_roles, member=own.id, roles=[])


def test_an_invitation_lets_one_person_in_once(app: TestApp, admin: TestApp) -> None:
    refused("Forbidden", somebody(app).action, invite, name="Mary", roles=[])
    refused("BAD_NAME", admin.action, invite, name=" ", roles=[])
    code = admin.action(invite, name="Mary", roles=["support"])
    # Nobody reads them, and what is kept of the code is no code.
    assert admin.visible(Invitation) == []

    for wrong in (code + "x", "", 7, None):
        refused("BAD_INVITATION", enter, app, "invitation", invitation=wrong)
    mary = enter(app, "invitation", invitation=code).query(me)
    assert (mary.name, mary.roles) == ("Mary", ["support"])
    refused("BAD_INVITATION", enter, app, "invitation", invitation=code)


def test_somebody_sees_where_they_are_signed_in_and_ends_it(app: TestApp, capsys: Capture) -> None:
    ann, phone = (by_code(app, capsys, "ann@example.com") for _ in range(2))
    other = somebody(app)
    ann.mutation(name_device, device="desk" * 100)
    ann.mutation(name_device, device="another")
    here, there = ann.query(sessions)
    assert (here.here, here.device) == (True, "desk" * 20)
    assert (there.here, there.device) == (False, None)
    assert ann.query(ways) == ["email-code"]

    ann.mutation(sign_out_elsewhere)
    assert len(ann.query(sessions)) == 1
    refused("Unauthenticated", phone.query, me)
    assert other.query(me)


def test_onboarding_is_finished_once_and_for_all(app: TestApp) -> None:
    ann = somebody(app)
    ann.mutation(finish_onboarding)
    user = ann.query(me)
    assert user.onboarded


@pytest.mark.parametrize("text", ["  ", "x" * 501])
def test_a_note_that_cannot_be_one_is_refused(app: TestApp, text: str) -> None:
    ann = somebody(app)
    with pytest.raises(AppError):
        ann.mutation(add, text=text)
    assert ann.query(mine) == []
