"""Messages that destroy themselves: the contract of Convex's demo of scheduled functions."""

from datetime import timedelta
from typing import Annotated

from camber import (
    Arg,
    Id,
    MutationCtx,
    QueryCtx,
    ScheduledFunction,
    internal_mutation,
    mutation,
    query,
)

from .schema import Message

LIFETIME = timedelta(seconds=5)


@query(name="list")
def list_messages(ctx: QueryCtx) -> list[Message]:
    """All messages that are there, the oldest first."""
    return ctx.db.query(Message).collect()


@mutation(name="sendExpiringMessage")
def send_expiring_message(ctx: MutationCtx, body: str, author: str) -> Id[ScheduledFunction]:
    """Write a message that is gone after a few seconds; return what will remove it.

    Both happen or neither: no message is left over because a server was killed in between.
    """
    message = ctx.db.insert(Message(body=body, author=author))
    return ctx.scheduler.run_after(LIFETIME, destruct, message)


@internal_mutation
def destruct(ctx: MutationCtx, message_id: Annotated[Id[Message], Arg("messageId")]) -> None:
    """Remove a message, unless somebody has done so already."""
    if ctx.db.get(message_id) is not None:
        ctx.db.delete(message_id)


@mutation
def keep(ctx: MutationCtx, job: Id[ScheduledFunction]) -> None:
    """Let a message stay: what would have removed it never runs."""
    ctx.scheduler.cancel(job)
