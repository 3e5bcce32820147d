from camber import MutationCtx, QueryCtx, internal_mutation, mutation, query

from .schema import Message


@query(name="list")
def list_messages(ctx: QueryCtx) -> list[Message]:
    return ctx.db.query(Message).collect()


@query(name="getByAuthor")
def by_author(ctx: QueryCtx, author: str) -> list[Message]:
    return ctx.db.query(Message).with_index(Message.by_author, author=author).collect()


@mutation(name="send")
def send(ctx: MutationCtx, author: str, body: str) -> None:
    ctx.db.insert(Message(author=author, body=body))


@internal_mutation(name="sendOne")
def send_one(ctx: MutationCtx, author: str, body: str) -> None:
    ctx.db.insert(Message(author=author, body=f"Sent via HTTP action: {body}"))
