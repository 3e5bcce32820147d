from typing import NotRequired, TypedDict

from camber import (
    AppError,
    Id,
    MutationCtx,
    QueryCtx,
    StoredFile,
    internal_mutation,
    mutation,
    query,
)

from .schema import Message

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


class Shown(TypedDict):
    _id: Id[Message]
    _creationTime: float
    author: str
    body: str
    format: str
    url: NotRequired[str | None]


@query(name="list")
def list_messages(ctx: QueryCtx) -> list[Shown]:
    """All messages; those that are images with the URL to show."""
    return [
        {**message.to_dict(), "url": ctx.storage.get_url(message.body)}
        if message.format == "image"
        else message.to_dict()
        for message in ctx.db.query(Message)
    ]


@mutation(name="generateUploadUrl")
def generate_upload_url(ctx: MutationCtx) -> str:
    # Here an application would see who asks: whoever has the URL may upload a file.
    return ctx.storage.generate_upload_url()


@mutation(name="sendImage")
def send_image(ctx: MutationCtx, storageId: Id[StoredFile], author: str) -> None:  # noqa: N803
    file = ctx.storage.get_metadata(storageId)
    if file is None or file.content_type not in IMAGES:
        # What was uploaded stays nobody's.
        raise AppError({"code": "NOT_AN_IMAGE"})
    ctx.db.insert(Message(author=author, body=storageId, format="image"))


@mutation(name="sendMessage")
def send_message(ctx: MutationCtx, body: str, author: str) -> None:
    ctx.db.insert(Message(author=author, body=body, format="text"))


@mutation
def remove(ctx: MutationCtx, id: Id[Message]) -> None:
    message = ctx.db.get(id)
    if message is None:
        return
    ctx.db.delete(id)
    if message.format == "image":
        ctx.storage.delete(message.body)


@internal_mutation
def discard(ctx: MutationCtx, file: Id[StoredFile]) -> None:
    ctx.storage.delete(file)
