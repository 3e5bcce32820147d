"""An application as its author's type checker sees it.

Judged by mypy alone, in `make check`: `assert_type` says what is inferred, and each ignored error
must be one, since unused ignores are errors.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from camber import (
    ActionCtx,
    App,
    CommitTs,
    Component,
    Env,
    Id,
    Index,
    Mount,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    Retry,
    ScheduledFunction,
    SyncActionCtx,
    Table,
    TransactionLimits,
    action,
    gt,
    mutation,
    query,
)
from camber.testing import TestApp


class Channel(Table, table="channels"):
    name: str

    by_name = Index("name")


class Message(Table, table="messages"):
    channel: Id[Channel]
    body: str
    likes: int = 0


class Entry(Table, table="entries"):
    body: str
    at: CommitTs
    read_at: CommitTs | None = None

    by_at = Index("at")


@query
def recent(ctx: QueryCtx, channel: Id[Channel], limit: int = 50) -> list[Message]:
    found = ctx.db.query(Channel).with_index(Channel.by_name, name=gt("a")).order("desc")
    assert_type(found.first(), Channel | None)
    assert_type(ctx.db.get(channel), Channel | None)
    return ctx.db.query(Message).filter(lambda m: m.likes > 3).take(limit)


@query
def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[str]:
    found = ctx.db.query(Message).paginate(opts)
    assert_type(found, Page[Message])
    return found.map(lambda message: message.body)


@mutation
def send(ctx: MutationCtx, channel: Id[Channel], body: str) -> Id[Message]:
    assert_type(ctx.db.insert(Message(channel=channel, body=body)), Id[Message])
    assert_type(ctx.run_query(recent, channel=channel), list[Message])
    ctx.run_query(recent, chanel=channel)  # type: ignore[call-arg]  # misspelt
    ctx.run_query(recent, channel=3)  # type: ignore[arg-type]  # no id
    ctx.run_query("messages:list", anything="goes")
    Message(channel=channel)  # type: ignore[call-arg]  # no body
    Message(channel=channel, body="x").body = "y"  # type: ignore[misc]  # frozen
    return ctx.db.insert(Message(channel=channel, body=body))


@mutation
def log(ctx: MutationCtx, body: str) -> CommitTs:
    now = ctx.db.vars.commit_ts
    assert_type(now, CommitTs)
    entry = ctx.db.insert(Entry(body=body, at=now))
    ctx.db.patch(entry, read_at=now)
    Entry(body=body, at="now")  # type: ignore[arg-type]  # no timestamp
    ctx.db.vars.commit_ts = now  # type: ignore[misc]  # read only
    return now


@query
def entries(ctx: QueryCtx, after: CommitTs) -> list[Entry]:
    assert ctx.db.vars  # type: ignore[attr-defined]  # a query commits nothing
    return ctx.db.query(Entry).with_index(Entry.by_at, at=gt(after)).take(10)


@mutation
def later(ctx: MutationCtx, channel: Id[Channel]) -> Id[ScheduledFunction]:
    assert_type(ctx.scheduler.run_after(5, send, channel=channel, body="x"), Id[ScheduledFunction])
    ctx.scheduler.run_after(timedelta(hours=1), summarize, channel=channel)
    ctx.scheduler.run_after(5, send, channel=channel)  # type: ignore[call-arg]  # no body
    ctx.scheduler.run_after("5", send, channel=channel, body="x")  # type: ignore[arg-type]
    ctx.scheduler.options(retry=Retry(max_attempts=5)).run_after(
        5, "messages:send", anything="goes"
    )
    ctx.scheduler.cancel(channel)  # type: ignore[arg-type]  # another table's
    return ctx.scheduler.run_at(datetime.now(UTC), send, channel, "x")


@action
async def summarize(ctx: ActionCtx, channel: Id[Channel]) -> int:
    assert_type(await ctx.run_mutation(send, channel=channel, body="x"), Id[Message])
    assert_type(await ctx.run_action(summarize, channel=channel), int)
    assert_type(await ctx.run_action(summarize_plainly, channel=channel), int)
    job = await ctx.scheduler.run_after(5, send, channel=channel, body="x")
    assert_type(job, Id[ScheduledFunction])
    return 1


@action
def summarize_plainly(ctx: SyncActionCtx, channel: Id[Channel]) -> int:
    assert_type(ctx.run_query(recent, channel=channel), list[Message])
    job = ctx.scheduler.run_after(5, send, channel=channel, body="x")
    assert_type(job, Id[ScheduledFunction])
    return ctx.run_action(summarize, channel=channel)


def in_a_test(app: TestApp, channel: Id[Channel]) -> None:
    assert_type(app.query(recent, channel=channel), list[Message])
    assert_type(app.mutation(send, channel=channel, body="x"), Id[Message])
    assert_type(app.subscribe(recent, channel=channel).value, list[Message])


app = App(env={"KEY": str})
ledger = app.use(Component("ledger", path="ledger"), env={"A": "x", "B": Env("B")})
assert_type(ledger, Mount)
app.use(Component("ledger", path="ledger"), env={"A": 3})  # type: ignore[dict-item]


class Messages:
    """A client in front of a component."""

    component = Component("messages", package="acme.messages")

    def mounted(self, mount: Mount) -> Messages:
        return self


assert_type(app.use(Messages()), Messages)


@mutation
def relay(ctx: MutationCtx, channel: Id[Channel]) -> str:
    assert_type(ctx.run_query(ledger[recent], channel=channel), list[Message])
    assert_type(ctx.run_mutation(ledger[send], channel=channel, body="x"), Id[Message])
    ctx.run_query(ledger[recent], chanel=channel)  # type: ignore[call-arg]  # misspelt
    ctx.run_mutation(ledger[send], channel=channel)  # type: ignore[call-arg]  # no body
    ctx.run_query(ledger["messages:recent"], anything="goes")
    stale = ctx.options(stale_snapshot=True)
    assert_type(stale.run_query(ledger[recent], channel=channel), list[Message])
    few = TransactionLimits(documents_read=100)
    assert_type(
        ctx.options(transaction_limits=few).run_mutation(ledger[send], channel=channel, body="x"),
        Id[Message],
    )
    ctx.options(stale_snapshot=True, transaction_limits=few).run_query(recent, channel=channel)
    ctx.options(transaction_limits=few).run_query(recent, chanel=channel)  # type: ignore[call-arg]
    ctx.options(stale_snapshot=True).run_mutation(send)  # type: ignore[attr-defined]
    ctx.scheduler.run_after(1, ledger[send], channel=channel, body="x")
    return ctx.function_handle(ledger[send])


@action
async def relay_by_action(ctx: ActionCtx, channel: Id[Channel]) -> int:
    assert_type(await ctx.run_mutation(ledger[send], channel=channel, body="x"), Id[Message])
    return await ctx.run_action(ledger[summarize], channel=channel)
