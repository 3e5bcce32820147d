"""Notes: reads and writes through an index, pages, nested calls."""

from __future__ import annotations

from typing import Any

from camber import (
    UNSET,
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    gt,
    internal_query,
    mutation,
    query,
)

from .schema import Note


@query(name="list")
def list_notes(ctx: QueryCtx, board: str, after: float = UNSET, limit: int = UNSET) -> list[Note]:
    """The notes of a board, by rank."""
    conditions = {"board": board}
    if after is not UNSET:
        conditions["rank"] = gt(after)
    notes = ctx.db.query(Note).with_index(Note.by_board, conditions)
    return notes.collect() if limit is UNSET else notes.take(limit)


@query
def page(ctx: QueryCtx, board: str, opts: PaginationOpts) -> Page[Note]:
    return ctx.db.query(Note).with_index(Note.by_board, board=board).paginate(opts)


@query
def get(ctx: QueryCtx, id: Id[Note]) -> Note | None:
    return ctx.db.get(id)


@query
def count(ctx: QueryCtx, board: str) -> int:
    return ctx.db.query(Note).with_index(Note.by_board, board=board).count()


@mutation
def add(ctx: MutationCtx, board: str, rank: float, text: str = "") -> Id[Note]:
    print("adding", rank)
    return ctx.db.insert(Note(board=board, rank=rank, text=text))


@mutation
def edit(ctx: MutationCtx, id: Id[Note], text: str) -> None:
    ctx.db.patch(id, text=text)


@mutation
def move(ctx: MutationCtx, id: Id[Note], rank: float) -> None:
    ctx.db.patch(id, rank=rank)


@mutation
def remove(ctx: MutationCtx, id: Id[Note]) -> None:
    ctx.db.delete(id)


@mutation
def clear(ctx: MutationCtx, board: str) -> int:
    notes = ctx.db.query(Note).with_index(Note.by_board, board=board).collect()
    for note in notes:
        ctx.db.delete(note.id)
    return len(notes)


@mutation
def add_then_fail(ctx: MutationCtx, board: str) -> None:
    ctx.db.insert(Note(board=board, rank=1))
    raise AppError({"code": "CHANGED_MIND"})


@mutation
def add_nested(ctx: MutationCtx, board: str) -> list[str]:
    """One note that stays, and one whose sub-transaction fails."""
    ctx.run_mutation(add, board=board, rank=1)
    try:
        ctx.run_mutation(add_then_fail, board=board)
    except AppError as error:
        return [error.data["code"], str(ctx.run_query(count, board=board))]
    return []


@internal_query
def secret(ctx: QueryCtx) -> str:
    return "hidden"


@query
def untyped(ctx: QueryCtx, value: Any):
    return value


@mutation
def add_pair(ctx: MutationCtx, board: str, rank: float) -> float:
    """Two notes that belong together, and a count of the pairs: a hot document."""
    for text in ("left", "right"):
        ctx.db.insert(Note(board=board, rank=rank, text=text))
    return rank
