"""Guards: who may call what, by which way, and what those are told who may not."""

from __future__ import annotations

import pytest

from camber.errors import AppError, FunctionError
from camber.functions.loading import LoadError
from camber.testing import TestApp
from tests.functions.projects import project_app, write_project

CODE = """
    from typing import Any
    from camber import *

    class Room(Table, table="rooms"):
        name: str
        members: list[str] = []
        by_name = Index("name")

    RAN: list[str] = []

    @guard
    def verified(ctx: QueryCtx) -> bool:
        user = ctx.auth.get_user_identity()
        return user is not None and bool(user.email_verified)

    @guard
    def in_room(ctx: QueryCtx, room: str = "") -> bool:
        user = ctx.auth.get_user_identity()
        found = ctx.db.query(Room).with_index(Room.by_name, name=room).first()
        return user is not None and found is not None and user.subject in found.members

    def open_today(ctx: QueryCtx) -> bool:
        return ctx.env.get("CLOSED") is None

    def needs_payment(ctx: QueryCtx) -> bool:
        raise AppError({"code": "PAYMENT_REQUIRED"})

    def forgets_to_run(ctx: QueryCtx) -> bool:
        return ctx.db.query(Room)

    @query(allow=signed_in)
    def mine(ctx: QueryCtx) -> str:
        RAN.append("mine")
        return ctx.auth.get_user_identity().subject

    @query(allow=signed_in & ~verified)
    def unverified(ctx: QueryCtx) -> int:
        return 1

    @query(allow=verified | in_room)
    def either(ctx: QueryCtx, room: str = "lobby") -> int:
        return 2

    @query(name="wireName", allow=open_today)
    def today(ctx: QueryCtx) -> int:
        return 3

    @mutation(allow=in_room)
    def say(ctx: MutationCtx, room: str, body: str) -> None:
        ctx.db.insert("said", {"room": room, "body": body})

    @action(allow=in_room)
    async def shout(ctx: ActionCtx, room: str) -> str:
        RAN.append("shout")
        return "!" + room

    @action(allow=signed_in)
    def plainly(ctx: SyncActionCtx) -> int:
        return 4

    @query(allow=needs_payment)
    def paid(ctx: QueryCtx) -> int:
        return 5

    @action(allow=needs_payment)
    async def paid_action(ctx: ActionCtx) -> int:
        return 5

    @query(allow=forgets_to_run)
    def fails_closed(ctx: QueryCtx) -> int:
        RAN.append("fails_closed")
        return 6

    @action(allow=forgets_to_run)
    async def fails_closed_too(ctx: ActionCtx) -> int:
        RAN.append("fails_closed_too")
        return 6

    @query(allow=nobody)
    def never(ctx: QueryCtx) -> int:
        return 7

    @query(allow=anyone)
    def always(ctx: QueryCtx) -> int:
        return 8

    @query
    def around(ctx: QueryCtx) -> int:
        return ctx.run_query(never)

    @action
    async def around_by_action(ctx: ActionCtx) -> int:
        return await ctx.run_query(never)

    @mutation
    def later(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(1, never_written)

    @mutation(allow=nobody)
    def never_written(ctx: MutationCtx) -> None:
        ctx.db.insert("said", {"room": "", "body": "scheduled"})

    @mutation
    def make_room(ctx: MutationCtx, name: str, members: list[str]) -> None:
        ctx.db.insert(Room(name=name, members=members))

    @query
    def said(ctx: QueryCtx) -> list[str]:
        return [row["body"] for row in ctx.db.query("said")]

    @query
    def ran(ctx: QueryCtx) -> list[str]:
        return list(RAN)
"""
HTTP = """
    from camber import *
    from . import code

    http = HttpRouter()

    @http.get("/mine", allow=signed_in)
    async def mine(ctx: ActionCtx, request: Request) -> Response:
        code.RAN.append("http")
        return Response(ctx.auth.get_user_identity().subject)

    @http.get("/verified", allow=code.verified)
    async def verified(ctx: ActionCtx, request: Request) -> Response:
        return Response("yes")

    @http.post("/paid", allow=code.needs_payment)
    async def paid(ctx: ActionCtx, request: Request) -> Response:
        return Response("never")

    async def application(scope, receive, send):
        await Response("mounted")(scope, receive, send)

    http.mount("/legacy", application, allow=code.verified)
"""
UNAUTHENTICATED = {"code": "Unauthenticated", "message": "Sign in first"}
FORBIDDEN = {"code": "Forbidden", "message": "You may not do this"}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("guards"), code=CODE, http=HTTP) as opened:
        opened.mutation("code:make_room", name="lobby", members=["ann"])
        yield opened


@pytest.fixture
def ann(app):
    return app.with_identity(subject="ann")


def denial(call, *args, **kwargs):
    """What the caller is told."""
    with pytest.raises(AppError) as raised:
        call(*args, **kwargs)
    return raised.value.data


def test_a_guard_lets_in_and_keeps_out(app, ann):
    assert denial(app.query, "code:mine") == UNAUTHENTICATED
    assert "mine" not in app.query("code:ran")
    assert ann.query("code:mine") == "ann"


def test_guards_are_combined(app, ann):
    verified = app.with_identity(subject="bob", email_verified=True)
    assert ann.query("code:unverified") == 1
    assert denial(verified.query, "code:unverified") == FORBIDDEN
    assert denial(app.query, "code:unverified") == UNAUTHENTICATED
    assert verified.query("code:either") == 2
    assert denial(app.query, "code:never") == FORBIDDEN
    assert app.query("code:always") == 8


def test_a_guard_looks_at_arguments_by_their_names(app, ann):
    assert ann.query("code:either") == 2
    assert denial(ann.query, "code:either", room="cellar") == FORBIDDEN
    ann.mutation("code:say", room="lobby", body="hi")
    assert denial(ann.mutation, "code:say", room="cellar", body="hidden") == FORBIDDEN
    assert "hidden" not in app.query("code:said")


def test_actions_are_guarded_before_they_begin(app, ann):
    assert denial(ann.action, "code:shout", room="cellar") == FORBIDDEN
    assert denial(app.action, "code:shout", room="lobby") == UNAUTHENTICATED
    assert "shout" not in app.query("code:ran")
    assert ann.action("code:shout", room="lobby") == "!lobby"
    assert denial(app.action, "code:plainly") == UNAUTHENTICATED
    assert ann.action("code:plainly") == 4


def test_a_guard_that_asks_for_nobody_forbids(tmp_path):
    root = write_project(tmp_path, code=CODE)
    with TestApp(root) as open_:
        assert open_.query("code:wireName") == 3
    with TestApp(root, environment={"CLOSED": "yes"}) as closed:
        assert denial(closed.query, "code:wireName") == FORBIDDEN


def test_what_a_guard_raises_is_told_as_any_other(app):
    assert denial(app.query, "code:paid") == {"code": "PAYMENT_REQUIRED"}
    assert denial(app.action, "code:paid_action") == {"code": "PAYMENT_REQUIRED"}


def test_a_guard_answers_true_or_false_or_fails(app):
    for call, path in ((app.query, "code:fails_closed"), (app.action, "code:fails_closed_too")):
        with pytest.raises(FunctionError, match=r"InvalidRule.*forgets_to_run.*True or False"):
            call(path)
    assert not {"fails_closed", "fails_closed_too"} & set(app.query("code:ran"))


def test_what_the_application_calls_itself_is_not_asked(app):
    assert app.query("code:around") == 7
    assert app.action("code:around_by_action") == 7
    app.mutation("code:later")
    app.advance(seconds=2)
    assert "scheduled" in app.query("code:said")


def test_routes_answer_401_and_403(app, ann):
    refused = app.fetch("/mine")
    assert (refused.status_code, refused.json()) == (401, UNAUTHENTICATED)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "http" not in app.query("code:ran")
    assert ann.fetch("/mine").text == "ann"
    refused = ann.fetch("/verified")
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)
    # A token that does not verify is nobody's.
    wrong = app.fetch("/mine", headers={"Authorization": "Bearer made.up.token"})
    assert wrong.status_code == 401


def test_mounted_applications_are_guarded(app, ann):
    assert app.fetch("/legacy/x").status_code == 401
    assert ann.fetch("/legacy/x").status_code == 403
    assert app.with_identity(email_verified=True).fetch("/legacy/x").text == "mounted"


def test_a_guard_of_a_route_that_fails_lets_nobody_in(app, ann):
    failed = ann.fetch("/paid", method="POST")
    assert (failed.status_code, failed.json()["data"]) == (500, {"code": "PAYMENT_REQUIRED"})


def test_a_watched_query_follows_what_its_guard_has_read(app):
    eve = app.with_identity(subject="eve")
    watched = eve.subscribe("code:either", room="attic")
    assert denial(lambda: watched.value) == FORBIDDEN
    app.mutation("code:make_room", name="attic", members=["eve"])
    assert watched.value == 2
    watched.close()


def test_two_callers_never_share_an_answer(app, ann):
    assert ann.query("code:mine") == "ann"
    assert app.with_identity(subject="eve").query("code:mine") == "eve"
    assert denial(app.query, "code:mine") == UNAUTHENTICATED


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("@internal_query(allow=signed_in)\n    def f(ctx): ...", "internal and has `allow=`"),
        ("@query(allow=signed_in and role('a'))\n    def f(ctx): ...", "with &, | and ~"),
        ("@query(allow=not signed_in)\n    def f(ctx): ...", "with &, | and ~"),
        ("@query(allow=3)\n    def f(ctx): ...", "3 is no guard"),
        (
            "async def later(ctx): ...\n    @query(allow=later)\n    def f(ctx): ...",
            "later is an `async def`",
        ),
        ("@query(allow=lambda: True)\n    def f(ctx): ...", "a guard is a function of a context"),
        (
            "@query(allow=lambda ctx, room: True)\n    def f(ctx, rom: str): ...",
            "looks at argument 'room', which the function does not have",
        ),
        ("role()", "takes the name of a role"),
        (
            "http = HttpRouter()\n    @http.get('/x', allow=lambda ctx, room: True)\n"
            "    async def f(ctx, request): ...",
            "looks at arguments .room., and an HTTP route has none",
        ),
    ],
)
def test_what_cannot_be_a_guard_is_refused_when_it_loads(tmp_path, declared, told):
    code = f"""
    from camber import *
    {declared}
    """
    with pytest.raises(LoadError, match=told):
        TestApp(write_project(tmp_path, code=code))
