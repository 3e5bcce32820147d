"""Signing in works where all tables are closed, and opens none of them."""

from __future__ import annotations

import shutil

import pytest

from tests.components.auth.people import SIGNING_IN, newest_letter, opened, refused

ACCESS = """
from camber import Access

access = Access(default="deny")
"""
SHOWING = """
from typing import Any

from camber import QueryCtx, query


@query
def all(ctx: QueryCtx, table: str) -> list[Any]:
    return [row.to_dict() for row in ctx.db.query(table)]


@query
def count(ctx: QueryCtx, table: str) -> int:
    return len(ctx.db.unrestricted.query(table).collect())


@query
def one(ctx: QueryCtx, id: str) -> Any:
    row = ctx.db.get(id)
    return None if row is None else row.to_dict()


@query
def me(ctx: QueryCtx) -> str | None:
    from .auth import auth

    user = auth.user(ctx)
    return None if user is None else user.id
"""
TABLES = (
    "users",
    "authAccounts",
    "authSessions",
    "authRefreshTokens",
    "authVerificationCodes",
    "authVerifiers",
    "authRateLimits",
)


@pytest.fixture
def app(tmp_path):
    root = tmp_path / "p"
    shutil.copytree(SIGNING_IN, root)
    (root / "backend" / "access.py").write_text(ACCESS)
    (root / "backend" / "showing.py").write_text(SHOWING)
    letters = root / "backend" / "letters.py"
    letters.write_text(letters.read_text().replace("ctx.db.", "ctx.db.unrestricted."))
    with opened(root) as app:
        yield app


def test_who_signs_in_does_so_and_sees_nothing(app, ada):
    password = {"email": "ada@example.com", "password": "correct horse"}
    ada.sign_in("password", flow="signUp", **password)
    ada.sign_in("password", flow="signIn", **password)
    assert ada.refresh()
    assert ada.calling.query("showing:me") == ada.user
    for table in TABLES:
        assert ada.calling.query("showing:all", table=table) == [], table
    for id in (ada.user, ada.session):
        assert ada.calling.query("showing:one", id=id) is None
    ada.sign_out()
    assert app.query("showing:count", table="authSessions") == 0
    assert app.query("showing:count", table="users") == 1


def test_codes_guesses_and_flows_are_counted_as_ever(app, ada, eve):
    ada.sign_in("email-code", email="ada@example.com")
    letter = newest_letter(app, "ada@example.com")
    refused("InvalidCode", eve.sign_in, "email-code", email="ada@example.com", code="wrong")
    ada.sign_in("email-code", email="ada@example.com", code=letter.token)
    assert ada.calling.query("showing:me") == ada.user
    assert app.query("showing:me") is None


def test_what_has_had_its_time_is_swept(app, ada):
    ada.sign_in("anonymous")
    assert app.query("showing:count", table="authRefreshTokens") == 1
    app.advance(days=31)
    for table in ("authSessions", "authRefreshTokens"):
        assert app.query("showing:count", table=table) == 0
