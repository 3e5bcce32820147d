"""Messages."""

from camber import (
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    mutation,
    query,
)

from .schema import Channel, Message
from .text import cleaned

AUTHOR_LENGTH_MAX = 40
BODY_LENGTH_MAX = 2000


@query
def history(ctx: QueryCtx, channel: Id[Channel], opts: PaginationOpts) -> Page[Message]:
    """The messages of a channel, the newest first, page by page."""
    messages = ctx.db.query(Message).with_index(Message.by_channel, channel=channel)
    return messages.order("desc").paginate(opts)


@mutation
def send(ctx: MutationCtx, channel: Id[Channel], author: str, body: str) -> Id[Message]:
    """Write a message and return its id."""
    if ctx.db.get(channel) is None:
        raise AppError({"code": "NO_CHANNEL", "message": "This channel does not exist any more."})
    author = cleaned(author, what="Your name", at_most=AUTHOR_LENGTH_MAX)
    body = cleaned(body, what="The message", at_most=BODY_LENGTH_MAX)
    return ctx.db.insert(Message(channel=channel, author=author, body=body))


@mutation
def like(ctx: MutationCtx, message: Id[Message]) -> int:
    """Like a message and return how many likes it has."""
    found = ctx.db.get(message)
    if found is None:
        raise AppError({"code": "NO_MESSAGE", "message": "This message does not exist any more."})
    ctx.db.patch(message, likes=found.likes + 1)
    return found.likes + 1
