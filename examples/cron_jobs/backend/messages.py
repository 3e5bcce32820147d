"""A chat that is emptied again and again: the contract of Convex's demo of cron jobs."""

from camber import MutationCtx, QueryCtx, internal_mutation, mutation, query

from .schema import Message


@query(name="list")
def list_messages(ctx: QueryCtx) -> list[Message]:
    """All messages that are there, the oldest first."""
    return ctx.db.query(Message).collect()


@mutation
def send(ctx: MutationCtx, body: str, author: str) -> None:
    """Write a message."""
    ctx.db.insert(Message(body=body, author=author))


@internal_mutation(name="clearAll")
def clear_all(ctx: MutationCtx) -> int:
    """Remove all messages; return how many there were."""
    messages = ctx.db.query(Message).collect()
    for message in messages:
        ctx.db.delete(message.id)
    return len(messages)
