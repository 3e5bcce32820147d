"""Channels."""

from camber import AppError, Id, MutationCtx, QueryCtx, mutation, query

from .schema import Channel
from .text import cleaned

NAME_LENGTH_MAX = 40


@query(name="list")
def list_channels(ctx: QueryCtx) -> list[Channel]:
    """All channels, by name."""
    return ctx.db.query(Channel).with_index(Channel.by_name).collect()


@mutation
def create(ctx: MutationCtx, name: str) -> Id[Channel]:
    """Open a channel and return its id."""
    name = cleaned(name.removeprefix("#"), what="The channel's name", at_most=NAME_LENGTH_MAX)
    existing = ctx.db.query(Channel).with_index(Channel.by_name, name=name).unique()
    if existing is not None:
        raise AppError({"code": "NAME_TAKEN", "message": f"There is a channel #{name} already."})
    return ctx.db.insert(Channel(name=name))
