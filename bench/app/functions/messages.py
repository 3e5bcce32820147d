"""Messages of channels: what is inserted, listed and pushed to clients."""

import builtins

from camber import Id, MutationCtx, PaginationOpts, QueryCtx, mutation, query

from .schema import Message


@mutation
def send(ctx: MutationCtx, channel: str, author: str, body: str) -> Id[Message]:
    return ctx.db.insert(Message(channel=channel, author=author, body=body))


@mutation
def seed(ctx: MutationCtx, bodies: builtins.list[str], channels: int) -> None:
    """Insert messages into channels by turns."""
    for number, body in enumerate(bodies):
        ctx.db.insert(Message(channel=f"c{number % channels}", author="a", body=body))


@query
def list(ctx: QueryCtx, channel: str, fresh: float = 0) -> builtins.list[Message]:
    """The newest 50. `fresh` only makes each request another one."""
    messages = ctx.db.query(Message).with_index(Message.by_channel, channel=channel)
    return messages.order("desc").take(50)


@query
def newest(ctx: QueryCtx, channel: str) -> Message | None:
    messages = ctx.db.query(Message).with_index(Message.by_channel, channel=channel)
    return messages.order("desc").first()


@query
def count(ctx: QueryCtx, opts: PaginationOpts) -> dict[str, float | str | bool]:
    """How many there are on a page, and where the next begins."""
    page = ctx.db.query(Message).paginate(opts)
    return {"sum": len(page.page), "done": page.is_done, "cursor": page.continue_cursor}
