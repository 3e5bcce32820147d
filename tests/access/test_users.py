"""Who the caller is in tables of the application's own: users, sessions and roles; and what tests can ask."""

from __future__ import annotations

import pytest

from camber.errors import AppError, FunctionError
from tests.functions.projects import project_app

CODE = """
    from typing import Any, Literal
    from camber import *

    class User(Table, table="users"):
        name: str
        roles: list[Literal["admin", "editor"]] = []
        # What an application adds of its own.
        onboarded: bool = False
        plan: Literal["free", "pro"] = "free"

    class AuthSession(Table, table="authSessions"):
        user: Id[User] = field(name="userId")
        expires: float = field(name="expirationTime", default=0)
        roles: list[str] = []
        device: str = "unknown"
        by_user = Index("userId")

    class Person(Table, table="people"):
        token: str
        role: str | None = None
        by_token = Index("token")

    users = Users(User, sessions=AuthSession)
    people = Users(Person, by=Person.by_token, roles="role")
    pro = guard(lambda ctx: (user := users.current(ctx)) is not None and user.plan == "pro")

    @query
    def me(ctx: QueryCtx) -> Any:
        user, session = users.current(ctx), users.session(ctx)
        return [user and user.name, session and session.device, sorted(users.roles(ctx))]

    @query
    def required(ctx: QueryCtx) -> str:
        return users.require(ctx).name

    @query(allow=users.role("admin"))
    def admins(ctx: QueryCtx) -> int:
        return 1

    @query(allow=role("admin", "editor"))
    def staff(ctx: QueryCtx) -> int:
        return 2

    @query(allow=users.signed_in)
    def members(ctx: QueryCtx) -> int:
        return 3

    @query(allow=people.role("boss"))
    def bosses(ctx: QueryCtx) -> int:
        return 4

    @action(allow=users.role("admin"))
    async def purge(ctx: ActionCtx) -> int:
        return 5

    @query(allow=pro)
    def paid(ctx: QueryCtx) -> int:
        return 6

    @action
    async def misuse(ctx: ActionCtx) -> Any:
        return users.current(ctx)

    @mutation
    def sign_up(ctx: MutationCtx, name: str, roles: list[str] = []) -> Id[User]:
        return ctx.db.unrestricted.insert(User(name=name, roles=roles))

    @mutation
    def sign_in(ctx: MutationCtx, user: Id[User], roles: list[str] = []) -> Id[AuthSession]:
        return ctx.db.unrestricted.insert(AuthSession(user=user, roles=roles, device="phone"))

    @mutation
    def end(ctx: MutationCtx, id: str) -> None:
        ctx.db.unrestricted.delete(id)

    @mutation
    def grant(ctx: MutationCtx, user: Id[User], roles: list[str]) -> None:
        ctx.db.unrestricted.patch(user, roles=roles)

    @mutation
    def finish_onboarding(ctx: MutationCtx) -> bool:
        ctx.db.unrestricted.patch(users.require(ctx).id, onboarded=True, plan="pro")
        return users.require(ctx).onboarded

    @mutation
    def meet(ctx: MutationCtx, token: str, role: str | None) -> None:
        ctx.db.unrestricted.insert(Person(token=token, role=role))
"""
ACCESS = """
    from camber import *
    from .code import AuthSession, Person, User, users

    access = Access(default="deny")
    itself = row_rule(lambda ctx, row: (user := users.current(ctx)) is not None and user.id == row.id)

    def keeps_roles(ctx: QueryCtx, old: User, new: User) -> bool:
        return itself(ctx, old) and old.roles == new.roles

    access.table(User, read=itself | users.role("admin"), update=keeps_roles)
    access.table(AuthSession, read=lambda ctx, row: row.user == users.require(ctx).id, write=nobody)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("users"), code=CODE, access=ACCESS) as opened:
        yield opened


@pytest.fixture
def ann(app):
    return app.mutation("code:sign_up", name="ann")


@pytest.fixture
def admin(app):
    return app.mutation("code:sign_up", name="root", roles=["admin"])


def sign_in(app, user, **more):
    session = app.mutation("code:sign_in", user=user, **more)
    return app.with_user(user, session), session


def is_refused(call, path, code):
    with pytest.raises(AppError) as raised:
        call(path)
    assert raised.value.data["code"] == code


def test_a_caller_is_found_by_the_subject(app, ann):
    signed_in, _ = sign_in(app, ann)
    assert signed_in.query("code:me") == ["ann", "phone", []]
    assert signed_in.query("code:required") == "ann"
    assert signed_in.query("code:members") == 3
    assert app.query("code:me") == [None, None, []]
    is_refused(app.query, "code:required", "Unauthenticated")
    is_refused(app.query, "code:members", "Unauthenticated")


def test_roles_are_those_of_the_user_and_of_the_session(app, ann, admin):
    boss, _ = sign_in(app, admin)
    raised, _ = sign_in(app, ann, roles=["editor"])
    elsewhere, _ = sign_in(app, ann)
    assert boss.query("code:admins") == 1
    assert raised.query("code:staff") == 2
    is_refused(elsewhere.query, "code:staff", "Forbidden")
    is_refused(raised.query, "code:admins", "Forbidden")
    is_refused(app.query, "code:admins", "Unauthenticated")
    assert boss.action("code:purge") == 5
    is_refused(raised.action, "code:purge", "Forbidden")


def test_a_role_that_is_granted_or_taken_shows_at_once(app, ann):
    signed_in, _ = sign_in(app, ann)
    watched = signed_in.subscribe("code:admins")
    with pytest.raises(AppError):
        watched.value  # noqa: B018  # it raises
    app.mutation("code:grant", user=ann, roles=["admin"])
    assert watched.value == 1
    app.mutation("code:grant", user=ann, roles=[])
    with pytest.raises(AppError):
        watched.value  # noqa: B018  # it raises
    watched.close()


def test_a_session_that_has_ended_makes_its_bearer_nobody(app, admin):
    signed_in, session = sign_in(app, admin)
    assert signed_in.query("code:admins") == 1
    app.mutation("code:end", id=session)
    assert signed_in.query("code:me") == [None, None, []]
    # Signing in may help, which a page is told.
    is_refused(signed_in.query, "code:admins", "Unauthenticated")


def test_a_session_of_another_user_is_none(app, ann, admin):
    _, session = sign_in(app, ann)
    assert app.with_user(admin, session).query("code:me") == [None, None, []]


def test_a_subject_of_another_issuer_names_nobody_here(app, admin):
    """A provider may give its users whatever subjects it likes, ids of ours too."""
    _, session = sign_in(app, admin)
    stranger = app.with_identity(subject=f"{admin}|{session}", issuer="https://evil.example")
    assert stranger.query("code:me") == [None, None, []]
    is_refused(stranger.query, "code:admins", "Forbidden")


@pytest.mark.parametrize("subject", ["", "|", "x", "x|y", "|x", "a|b|c"])
def test_a_subject_that_is_no_id_is_nobody(app, subject):
    assert app.with_user(subject).query("code:me") == [None, None, []]


def test_an_id_of_another_table_is_no_user(app, ann):
    _, session = sign_in(app, ann)
    assert app.with_user(session).query("code:me") == [None, None, []]


def test_users_of_other_providers_are_found_by_their_token_identifier(app):
    app.mutation("code:meet", token="https://idp|1", role="boss")
    app.mutation("code:meet", token="https://idp|2", role=None)
    assert app.with_identity(token_identifier="https://idp|1").query("code:bosses") == 4
    is_refused(
        app.with_identity(token_identifier="https://idp|2").query, "code:bosses", "Forbidden"
    )


def test_what_an_application_adds_to_users_is_typed_and_guards_by_it(app, ann):
    signed_in, _ = sign_in(app, ann)
    is_refused(signed_in.query, "code:paid", "Forbidden")
    assert signed_in.mutation("code:finish_onboarding") is True
    assert signed_in.query("code:paid") == 6


def test_an_action_is_told_that_it_has_no_database(app):
    with pytest.raises(FunctionError, match="ctx of a query or mutation"):
        app.action("code:misuse")


# What a test can ask.


def test_visible_shows_the_rows_of_an_identity(app, ann, admin):
    from_ann, _ = sign_in(app, ann)
    from_admin, _ = sign_in(app, admin)
    assert [row.name for row in from_ann.visible("users")] == ["ann"]
    assert {"ann", "root"} <= {row.name for row in from_admin.visible("users")}
    assert app.visible("users") == []


def test_may_says_what_can_be_written_and_writes_nothing(app, ann, admin):
    from_ann, session = sign_in(app, ann)
    from_admin, _ = sign_in(app, admin)
    assert from_ann.may_patch(ann, name="eve")
    assert not from_ann.may_patch(ann, roles=["admin"])
    assert not from_ann.may_patch(admin, name="eve")
    assert not from_admin.may_patch(ann, name="eve")
    assert from_ann.may_replace(ann, {"name": "eve"})
    assert not from_ann.may_delete(ann)
    assert not from_ann.may_delete(session)
    assert not from_ann.may_insert("users", {"name": "x"})
    assert not app.may_insert("elsewhere", {})
    assert from_ann.query("code:required") == "ann"


def test_a_probe_that_is_wrong_is_no_answer(app, ann):
    from_ann, _ = sign_in(app, ann)
    with pytest.raises(Exception, match="SchemaEnforcementError"):
        from_ann.may_patch(ann, name=3)
    with pytest.raises(Exception, match="is not a document id"):
        from_ann.may_delete("nonsense")
