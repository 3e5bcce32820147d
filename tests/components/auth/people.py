"""An application that signs people in, and people who do so by its functions, as clients call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from camber import AppError
from camber.engine.variables import VariableChange
from camber.identity.signing_keys import new_signing_keys
from camber.testing import TestApp
from tests.servers import REPOSITORY

SIGNING_IN = REPOSITORY / "tests" / "applications" / "signing_in"
SITE = "http://127.0.0.1:3211"
PAGES = "http://localhost:5999"
ENVIRONMENT = {**new_signing_keys(), "SITE_URL": PAGES}


def opened(project: Path = SIGNING_IN, **variables: str) -> TestApp:
    """Return the application, in a store of its own."""
    return TestApp(project, environment={**ENVIRONMENT, **variables})


class Person:
    """A browser: it has the tokens that it was given, and no others."""

    def __init__(self, app: TestApp) -> None:
        self.app = app
        self.tokens: dict[str, str] | None = None

    @property
    def claims(self) -> dict[str, Any]:
        """Return what the access token says."""
        assert self.tokens is not None
        claims: dict[str, Any] = jwt.decode(
            self.tokens["token"], options={"verify_signature": False}
        )
        return claims

    @property
    def user(self) -> str:
        return str(self.claims["sub"].partition("|")[0])

    @property
    def session(self) -> str:
        return str(self.claims["sub"].partition("|")[2])

    @property
    def calling(self) -> TestApp:
        """Return the application as this person calls it."""
        if self.tokens is None:
            return self.app
        return self.app.with_identity(issuer=SITE, subject=self.claims["sub"])

    def sign_in(self, provider: str | None = None, **params: Any) -> dict[str, Any]:
        """Call `auth:signIn`, and keep the tokens as Convex's front end does."""
        verifier = params.pop("verifier", None)
        sent: dict[str, Any] = {"params": params}
        if provider is not None:
            sent["provider"] = provider
        if verifier is not None:
            sent["verifier"] = verifier
        answer: dict[str, Any] = self.calling.action("auth:signIn", **sent)
        assert len(answer.keys() & {"tokens", "redirect", "started"}) == 1
        if "tokens" in answer:
            self.tokens = answer["tokens"]
        return answer

    def refresh(self, token: str | None = None) -> bool:
        """Take the refresh token for another; return whether that was possible."""
        if token is None:
            assert self.tokens is not None
            token = self.tokens["refreshToken"]
        # Without the access token, as Convex's front end asks.
        answer = self.app.action("auth:signIn", refreshToken=token)
        self.tokens = answer["tokens"]
        return self.tokens is not None

    def sign_out(self) -> None:
        self.calling.action("auth:signOut")
        self.tokens = None


def newest_letter(app: TestApp, to: str) -> Any:
    """Return what somebody has got last, after what was to be sent was."""
    app.advance()
    return app.query("letters:newest", to=to)


def set_variables(app: TestApp, **values: str | None) -> None:
    """Change deployment variables, as `camber env set` does."""
    core = app._core
    changes = [VariableChange(name=name, value=value) for name, value in values.items()]
    core.wait(core.deployment.change_variables(changes))


def rows(app: TestApp, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.query("people:rows", table=table)
    return found


def refused(expected: str, attempt: Any, /, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the data of an error that has a code."""
    with pytest.raises(AppError) as raised:
        attempt(*args, **kwargs)
    data: dict[str, Any] = raised.value.data
    assert data["code"] == expected, data
    return data
