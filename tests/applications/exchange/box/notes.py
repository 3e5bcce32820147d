"""Notes within a shelf."""

from __future__ import annotations

from camber import AppError, MutationCtx, QueryCtx, mutation, query

from .schema import Note


@mutation
def put(ctx: MutationCtx, board: str, text: str, fails: bool) -> None:
    """Put a note here; one that fails has scheduled another one."""
    ctx.db.insert(Note(board=board, text=text))
    if fails:
        ctx.scheduler.run_after(0, put, board, f"{text} undone", False)
        raise AppError("asked for")


@query
def board(ctx: QueryCtx, name: str) -> list[str]:
    return [
        each.text for each in ctx.db.query(Note).with_index(Note.by_board, board=name).collect()
    ]
