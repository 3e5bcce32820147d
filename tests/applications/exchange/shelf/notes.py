"""Notes on a shelf, and in its box."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from camber import (
    AppError,
    FunctionHandle,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    internal_mutation,
    mutation,
    query,
)

from .app import box
from .schema import Note


@query
def board(ctx: QueryCtx, name: str) -> list[str]:
    return [
        each.text for each in ctx.db.query(Note).with_index(Note.by_board, board=name).collect()
    ]


@query
def boards(ctx: QueryCtx, name: str) -> list[list[str]]:
    """Of a board the notes here, and those in the box."""
    return [ctx.run_query(board, name), ctx.run_query(box["notes:board"], name=name)]


@query
def page(ctx: QueryCtx, name: str, opts: PaginationOpts) -> Page[str]:
    notes = ctx.db.query(Note).with_index(Note.by_board, board=name).paginate(opts)
    return notes.map(lambda each: each.text)


@mutation
def put(ctx: MutationCtx, name: str, text: str, fails: str) -> list[list[str]]:
    """Put a note here and one into the box, of which one is undone or both; return what was seen."""
    ctx.db.insert(Note(board=name, text=text))
    with suppress(AppError):
        ctx.run_mutation(box["notes:put"], board=name, text=text, fails=fails == "box")
    seen = ctx.run_query(boards, name)
    if fails == "shelf":
        raise AppError(seen)
    return seen


@mutation
def give(ctx: MutationCtx, name: str, handle: FunctionHandle) -> str | None:
    """Hand the first note of a board to a function of somebody else's; return its text."""
    first = ctx.db.query(Note).with_index(Note.by_board, board=name).first()
    if first is None:
        return None
    ctx.db.delete(first.id)
    ctx.run_mutation(handle, name=name, text=first.text)
    return first.text


@query
def receiver(ctx: QueryCtx) -> str:
    """Return the handle of what takes notes in."""
    return ctx.function_handle(take)


@internal_mutation
def take(ctx: MutationCtx, name: str, text: str) -> None:
    ctx.db.insert(Note(board=name, text=text))


@mutation
def put_later(
    ctx: MutationCtx,
    name: str,
    text: str,
    delay: float,
    then: FunctionHandle,
    arguments: dict[str, Any],
) -> None:
    """Schedule a note, and with it a function of somebody else's."""
    ctx.scheduler.run_after(delay, come, name, text, then, arguments)


@internal_mutation
def come(
    ctx: MutationCtx, name: str, text: str, then: FunctionHandle, arguments: dict[str, Any]
) -> None:
    ctx.db.insert(Note(board=name, text=text))
    ctx.run_mutation(then, **arguments)
