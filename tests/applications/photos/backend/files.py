"""Everything that functions do with files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from camber import (
    ActionCtx,
    Id,
    MutationCtx,
    QueryCtx,
    StoredFile,
    SyncActionCtx,
    action,
    mutation,
    query,
)


@mutation
def upload_url(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()


@query
def url(ctx: QueryCtx, id: Id[StoredFile], expires: float | None = None) -> str | None:
    return ctx.storage.get_url(id, expires=expires)


@query
def url_of_any(ctx: QueryCtx, id: str) -> str | None:
    return ctx.storage.get_url(id)


@query
def metadata(ctx: QueryCtx, id: Id[StoredFile]) -> StoredFile | None:
    return ctx.storage.get_metadata(id)


@query
def listed(ctx: QueryCtx) -> list[StoredFile]:
    return ctx.db.system.query("_storage").collect()


@mutation
def delete(ctx: MutationCtx, id: Id[StoredFile]) -> None:
    ctx.storage.delete(id)


@mutation
def delete_all_then_fail(ctx: MutationCtx) -> None:
    for file in ctx.db.system.query(StoredFile):
        ctx.storage.delete(file.id)
    raise ValueError("none of it happens")


@action
async def doubled(ctx: ActionCtx, id: Id[StoredFile]) -> Id[StoredFile] | None:
    """Store a file in which each piece of another comes twice."""
    blob = await ctx.storage.get(id)
    if blob is None:
        return None

    async def twice() -> AsyncIterator[bytes]:
        async for piece in blob:
            yield piece + piece

    return await ctx.storage.store(twice(), content_type=blob.content_type)


@action
def doubled_plainly(ctx: SyncActionCtx, id: Id[StoredFile]) -> Id[StoredFile] | None:
    blob = ctx.storage.get(id)
    if blob is None:
        return None

    def twice() -> Iterator[bytes]:
        for piece in blob:
            yield piece + piece

    return ctx.storage.store(twice(), content_type=blob.content_type)


@action
async def store(
    ctx: ActionCtx, text: str, content_type: str | None = None, sha256: str | None = None
) -> Id[StoredFile]:
    return await ctx.storage.store(text.encode(), content_type=content_type, sha256=sha256)


@action
async def read(ctx: ActionCtx, id: Id[StoredFile]) -> str | None:
    blob = await ctx.storage.get(id)
    return None if blob is None else (await blob.read()).decode()


@action
async def read_twice(ctx: ActionCtx, id: Id[StoredFile]) -> None:
    blob = await ctx.storage.get(id)
    assert blob is not None
    await blob.read()
    await blob.read()


@action
async def store_and_hang(ctx: ActionCtx) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        await ctx.run_mutation(upload_url)
        print("hanging")
        await asyncio.sleep(3600)

    await ctx.storage.store(endless())


@action
async def all_about(ctx: ActionCtx, id: Id[StoredFile]) -> list[str | None]:
    found = await ctx.storage.get_metadata(id)
    return [
        await ctx.storage.get_url(id),
        await ctx.storage.generate_upload_url(),
        None if found is None else found.sha256,
    ]


@action
def remove(ctx: SyncActionCtx, id: Id[StoredFile]) -> str | None:
    ctx.storage.delete(id)
    return ctx.storage.get_url(id)
