"""Sessions and refresh tokens: a state machine against rules that are written out again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from camber import FunctionError
from tests.components.auth.people import (
    ENVIRONMENT,
    Person,
    opened,
    refused,
    rows,
    set_variables,
)

WINDOW_S = 10
# No sum of whole seconds: at the very moment of an end both answers would be right.
INACTIVE_S, TOTAL_S = 600.5, 1500.5


@dataclass
class Node:
    """A refresh token as the rules see it; `order` says which is newer."""

    text: str
    session: int
    parent: Node | None
    order: int
    made: float
    used: float | None = None


class Refreshing(RuleBasedStateMachine):
    """Any tokens in any order at any time: the oracle knows what becomes of each."""

    @initialize()
    def open(self):
        self.app = opened(
            AUTH_SESSION_TOTAL_DURATION_MS=str(int(TOTAL_S * 1000)),
            AUTH_SESSION_INACTIVE_DURATION_MS=str(int(INACTIVE_S * 1000)),
        )
        self.now = 0.0
        self.tokens: list[Node] = []
        self.begun: list[float] = []
        self.ended: set[int] = set()

    def teardown(self):
        if hasattr(self, "app"):
            self.app.close()

    def _add(self, text, session, parent):
        node = Node(text, session, parent, len(self.tokens), self.now)
        self.tokens.append(node)
        return node

    @precondition(lambda self: len(self.begun) < 2)
    @rule()
    def somebody_signs_in(self):
        person = Person(self.app)
        person.sign_in("anonymous")
        assert person.tokens is not None
        self._add(person.tokens["refreshToken"], len(self.begun), None)
        self.begun.append(self.now)

    @rule(seconds=st.sampled_from([0, 1, 9, 10, 11, 590, 601]))
    def time_passes(self, seconds):
        self.now += seconds
        self.app.advance(seconds=seconds)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def a_token_is_presented(self, data):
        # Newer ones more often, as clients have them.
        index = data.draw(st.integers(0, min(4, len(self.tokens) - 1)))
        token = self.tokens[-1 - index]
        expected = self._expected(token)
        answer = self.app.action("auth:signIn", refreshToken=token.text)["tokens"]
        if expected is None:
            assert answer is None
        elif isinstance(expected, Node):
            assert answer["refreshToken"] == expected.text
        else:
            assert answer["refreshToken"] not in {each.text for each in self.tokens}
            self._add(answer["refreshToken"], token.session, token)

    def _expected(self, token):
        """Return the token that is given again, "new" for another one, or None for nothing."""
        if token.session in self.ended:
            return None
        late = self.now > self.begun[token.session] + TOTAL_S
        if late or self.now > token.made + INACTIVE_S:
            self.ended.add(token.session)
            return None
        if token.used is None:
            token.used = self.now
            return "new"
        unused = [t for t in self.tokens if t.session == token.session and t.used is None]
        newest = max(unused, key=lambda t: t.order, default=None)
        if newest is not None and newest.parent is token:
            return newest
        if self.now < token.used + WINDOW_S:
            return "new"
        for each in self.tokens:
            ancestor: Node | None = each
            while ancestor is not None and ancestor is not token:
                ancestor = ancestor.parent
            if ancestor is token:
                spoilt = self.now - WINDOW_S
                each.used = spoilt if each.used is None else min(each.used, spoilt)
        return None


TestRefreshing = Refreshing.TestCase
TestRefreshing.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_response_that_was_lost_is_given_again_however_late(app, ada):
    ada.sign_in("anonymous")
    first = ada.tokens["refreshToken"]
    assert ada.refresh(first)
    given = ada.tokens["refreshToken"]
    app.advance(days=3)
    assert ada.refresh(first)
    assert ada.tokens["refreshToken"] == given


def test_two_tabs_that_refresh_at_once_both_go_on(app, ada):
    ada.sign_in("anonymous")
    first = ada.tokens["refreshToken"]
    assert ada.refresh(first)
    assert ada.refresh()
    app.advance(seconds=9)
    other = Person(app)
    assert other.refresh(first)
    assert other.refresh()
    assert ada.refresh()


def test_a_stolen_token_that_comes_back_late_is_worth_nothing_and_ends_what_came_of_it(
    app, ada, eve
):
    ada.sign_in("anonymous")
    stolen = ada.tokens["refreshToken"]
    ada.refresh()
    ada.refresh()
    app.advance(seconds=11)
    assert not eve.refresh(stolen)
    assert not ada.refresh()


def test_who_knows_a_session_cannot_end_it(app, ada, eve):
    """Its id is in every access token (components_a 1.2, the hole not to copy)."""
    ada.sign_in("anonymous")
    eve.sign_in("anonymous")
    token, session, secret = ada.tokens["refreshToken"].split("|")
    own_token, own_session, own_secret = eve.tokens["refreshToken"].split("|")
    wrong = [
        f"x|{session}|{secret}",
        f"{token}|{session}|",
        f"{token}|{session}",
        f"{token}|{session}|{'0' * 64}",
        f"{token}|{session}|{own_secret}",
        f"{own_token}|{session}|{own_secret}",
        f"{own_token}|{session}|{secret}",
        f"{token}|{own_session}|{secret}",
        f"{session}|{session}|{secret}",
    ]
    for text in wrong:
        assert app.action("auth:signIn", refreshToken=text) == {"tokens": None}, text
    assert ada.refresh()
    assert eve.refresh()


def test_what_is_no_refresh_token_is_told_so(app):
    for text in ("", "dummy", "|", "a|", "|b"):
        refused("InvalidRefreshToken", app.action, "auth:signIn", refreshToken=text)


def test_nothing_that_is_stored_is_a_token(app, ada):
    ada.sign_in("anonymous")
    ada.refresh()
    secret = ada.tokens["refreshToken"].rpartition("|")[2]
    assert secret not in str(rows(app, "authRefreshTokens"))
    # And who reads the table can make none: the nonce makes one of its parent's secret alone.
    for row in rows(app, "authRefreshTokens"):
        for text in filter(None, (row["hash"], row["nonce"], "")):
            presented = f"{row['_id']}|{row['sessionId']}|{text}"
            assert app.action("auth:signIn", refreshToken=presented) == {"tokens": None}
    assert ada.refresh()


def test_a_used_token_cannot_be_made_again_of_what_is_stored(app, ada):
    ada.sign_in("anonymous")
    ada.refresh()
    ada.refresh()
    nonces = [row["nonce"] for row in rows(app, "authRefreshTokens")]
    assert [nonce is None for nonce in nonces] == [True, True, False]


def test_signing_in_again_ends_the_session_before(app, ada):
    ada.sign_in("anonymous")
    before = ada.tokens["refreshToken"]
    ada.sign_in("anonymous")
    assert app.action("auth:signIn", refreshToken=before) == {"tokens": None}
    assert len(rows(app, "authSessions")) == 1


def test_signing_out_ends_the_session_and_may_be_done_twice(app, ada):
    ada.sign_in("anonymous")
    tokens = ada.tokens
    ada.sign_out()
    ada.tokens = tokens
    ada.sign_out()
    assert rows(app, "authSessions") == rows(app, "authRefreshTokens") == []
    assert not ada.refresh(tokens["refreshToken"])


def test_nobody_signs_out_another(app, ada):
    ada.sign_in("anonymous")
    for issuer in ("https://elsewhere.example", "http://127.0.0.1:3210"):
        app.with_identity(issuer=issuer, subject=ada.claims["sub"]).action("auth:signOut")
    other_user = f"{ada.session}|{ada.session}"
    app.with_identity(issuer="http://127.0.0.1:3211", subject=other_user).action("auth:signOut")
    assert ada.refresh()


def test_an_access_token_says_what_convexs_front_end_reads(ada):
    ada.sign_in("anonymous")
    claims = ada.claims
    assert claims["aud"] == "convex"
    assert claims["iss"] == "http://127.0.0.1:3211"
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["plan"] == "free"


def test_claims_follow_the_user_with_each_token(app, ada):
    ada.sign_in("anonymous")
    app.mutation("people:change", id=ada.user, fields={"plan": "gold"})
    ada.refresh()
    assert ada.claims["plan"] == "gold"


def test_a_session_that_has_ended_is_noticed_at_once_by_who_asks(app, ada):
    ada.sign_in("anonymous")
    watched = ada.calling.subscribe("people:me")
    assert watched.value.is_anonymous
    app.mutation("people:leave", user=ada.user)
    assert watched.value is None
    refused("Unauthenticated", ada.calling.mutation, "people:write", text="still here?")


def test_whom_another_provider_calls_so_is_nobody_here(app, ada):
    ada.sign_in("anonymous")
    elsewhere = app.with_identity(issuer="https://elsewhere.example", subject=ada.claims["sub"])
    assert elsewhere.query("people:me") is None


def test_a_user_who_may_not_sign_in_has_no_session(app, ada):
    ada.sign_in("badge", number="7", pin="1234", new=True)
    app.mutation("people:change", id=ada.user, fields={"name": "banned"})
    ada.sign_out()
    refused("BANNED", ada.sign_in, "badge", number="7", pin="1234")
    assert rows(app, "authSessions") == []


def test_sessions_and_users_are_the_applications_to_extend(app, ada):
    ada.sign_in("anonymous")
    app.mutation("people:change", id=ada.session, fields={"device": "phone"})
    assert ada.calling.query("people:session_device") == "phone"


def test_what_has_had_its_time_is_swept(app, ada):
    ada.sign_in("anonymous")
    ada.sign_in("email-code", email="a@example.com")
    refused("InvalidCode", ada.sign_in, "email-code", email="a@example.com", code="1")
    set_variables(app, AUTH_OIDC_ID="a", AUTH_OIDC_SECRET="b", AUTH_OIDC_ISSUER="https://c.test")
    ada.sign_in("oidc")
    assert rows(app, "authVerifiers")
    app.advance(days=31)
    for table in (
        "authSessions",
        "authRefreshTokens",
        "authVerificationCodes",
        "authVerifiers",
        "authRateLimits",
    ):
        assert rows(app, table) == [], table
    assert rows(app, "authAccounts")


def test_a_key_that_is_missing_uses_up_no_token(app, ada):
    ada.sign_in("anonymous")
    keys = {name: ENVIRONMENT[name] for name in ("JWKS", "JWT_PRIVATE_KEY")}
    for name in keys:
        set_variables(app, **{name: None})
        with pytest.raises(FunctionError, match=f"variable {name} is not set"):
            app.action("auth:signIn", refreshToken=ada.tokens["refreshToken"])
        set_variables(app, **keys)
    assert [row["firstUsedTime"] for row in rows(app, "authRefreshTokens")] == [None]
    assert ada.refresh()
