"""The example's own tests: the real engine, in process."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from backend.auth import auth
from backend.members import me, newest, promote
from backend.notes import add, mine
from backend.schema import Note

from camber import AppError
from camber.identity.signing_keys import new_signing_keys
from camber.testing import TestApp

PROJECT = Path(__file__).parent.parent


@pytest.fixture
def app() -> Iterator[TestApp]:
    with TestApp(PROJECT, environment=new_signing_keys()) as app:
        yield app


def somebody(app: TestApp) -> TestApp:
    """Return the application as somebody new calls it."""
    tokens = app.action(auth.sign_in, provider="anonymous")["tokens"]
    claims = tokens["token"].split(".")[1]
    subject = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
    return app.with_user(*subject.split("|"))


def test_notes_are_their_authors(app: TestApp) -> None:
    ann, bob = somebody(app), somebody(app)
    ann.mutation(add, text=" mine ")

    assert [note.text for note in ann.query(mine)] == ["mine"]
    assert bob.query(mine) == []
    assert bob.visible(Note) == app.visible(Note) == []
    assert not bob.may_delete(ann.query(mine)[0].id)


def test_nobody_is_let_in_without_signing_in(app: TestApp) -> None:
    assert app.query(me) is None
    with pytest.raises(AppError) as refused:
        app.query(mine)
    assert refused.value.data["code"] == "Unauthenticated"


def test_who_has_signed_out_is_nobody_whatever_the_token_says(app: TestApp) -> None:
    ann = somebody(app)
    ann.action(auth.sign_out)
    assert ann.query(me) is None


def test_members_are_for_administrators(app: TestApp) -> None:
    with pytest.raises(AppError) as refused:
        somebody(app).query(newest)
    assert refused.value.data["code"] == "Forbidden"
    with pytest.raises(AppError, match="Nobody has proven"):
        app.mutation(promote, email="ann@example.com")


@pytest.mark.parametrize("text", ["  ", "x" * 501])
def test_a_note_that_cannot_be_one_is_refused(app: TestApp, text: str) -> None:
    ann = somebody(app)
    with pytest.raises(AppError):
        ann.mutation(add, text=text)
    assert ann.query(mine) == []
