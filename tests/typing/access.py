"""Guards and row rules as their author's type checker sees them; judged as `application` is."""

from __future__ import annotations

from typing import Any, Literal, Protocol, assert_type

from camber import (
    Access,
    ActionCtx,
    Guard,
    HttpRouter,
    Id,
    Index,
    MutationCtx,
    QueryCtx,
    Request,
    Response,
    RowRule,
    Table,
    Users,
    action,
    anyone,
    field,
    guard,
    internal_query,
    mutation,
    nobody,
    query,
    remembered,
    role,
    row_rule,
    signed_in,
)
from camber.testing import TestApp


class User(Table, table="users"):
    name: str
    roles: list[Literal["admin", "editor"]] = field(default_factory=list)
    plan: Literal["free", "pro"] = "free"


class Session(Table, table="authSessions"):
    user: Id[User] = field(name="userId")
    device: str = "unknown"


class Person(Table, table="people"):
    token: str
    by_token = Index("token")


class Note(Table, table="notes"):
    owner: Id[User]
    body: str


class Owned(Protocol):
    """Rows that somebody owns."""

    @property
    def owner(self) -> Any: ...


users = Users(User, sessions=Session)
people = Users(Person, by=Person.by_token)
assert_type(users, Users[User, Session])
assert_type(users.role("admin"), Guard)


@guard
def pays(ctx: QueryCtx) -> bool:
    assert_type(users.session(ctx), Session | None)
    assert_type(people.current(ctx), Person | None)
    return users.require(ctx).plan == "pro"


@guard
def in_channel(ctx: QueryCtx, channel: str) -> bool:
    return bool(channel)


@row_rule
def owner(ctx: QueryCtx, row: Owned) -> bool:
    return bool(row.owner == users.require(ctx).id)


@row_rule
def short(ctx: QueryCtx, note: Note) -> bool:
    return len(note.body) < 10


@remembered
def level(ctx: QueryCtx, who: str) -> int:
    return len(who)


assert_type(signed_in & ~pays | role("admin"), Guard)
assert_type(short & ~short | pays, RowRule[Note])
assert_type(pays | short, RowRule[Note])


def keeps_owner(ctx: QueryCtx, old: Note, new: Note) -> bool:
    assert_type(level(ctx, "x"), int)
    level(ctx, 3)  # type: ignore[arg-type]
    return old.owner == new.owner


access = Access(default="deny")
access.table(Note, read=owner | role("admin"), write=short & owner, update=keeps_owner)
access.table(User, read=anyone, insert=nobody, update=short)  # type: ignore[arg-type]  # of notes
access.table(Person, read=keeps_owner)  # type: ignore[arg-type]  # of an update
access.table("loose", read=lambda ctx, row: row["owner"] == "x")
Access(default="open")  # type: ignore[arg-type]


@query(allow=signed_in & pays)
def mine(ctx: QueryCtx) -> list[Note]:
    assert_type(ctx.db.unrestricted.query(Note).first(), Note | None)
    return ctx.db.query(Note).collect()


@mutation(name="writeNote", allow=in_channel)
def write(ctx: MutationCtx, channel: str, body: str) -> Id[Note]:
    assert_type(ctx.run_query(mine), list[Note])
    ctx.run_query(mine, channel=channel)  # type: ignore[call-arg]
    return ctx.db.unrestricted.insert(Note(owner=users.require(ctx).id, body=body))


@action(allow=lambda ctx: True)
async def act(ctx: ActionCtx) -> int:
    return len(await ctx.run_query(mine))


@internal_query(allow=signed_in)  # type: ignore[call-overload, untyped-decorator]  # nobody outside could call it
def inside(ctx: QueryCtx) -> int:
    return 1


http = HttpRouter()


@http.get("/mine", allow=signed_in)
async def answer(ctx: ActionCtx, request: Request) -> Response:
    return Response("")


def in_a_test(app: TestApp, user: Id[User], session: Id[Session]) -> None:
    ann = app.with_user(user, session)
    assert_type(ann.visible(Note), list[Note])
    assert_type(ann.may_insert(Note(owner=user, body="x")), bool)
