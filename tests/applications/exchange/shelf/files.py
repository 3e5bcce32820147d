"""Files of a shelf, which are its own."""

from __future__ import annotations

from camber import Id, MutationCtx, StoredFile, mutation


@mutation
def upload_url(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()


@mutation
def remove(ctx: MutationCtx, id: Id[StoredFile]) -> None:
    ctx.storage.delete(id)
