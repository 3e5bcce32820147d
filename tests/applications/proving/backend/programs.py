"""The functions that run programs."""

from __future__ import annotations

from typing import Any

from camber import (
    AppError,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    internal_mutation,
    internal_query,
    mutation,
    query,
)

from .steps import Failed, Running, read_page, run, to_the_end


def _running(ctx: Any, ids: list[str], pages: list[Any]) -> Running:
    def nested(steps: list[Any], fails: bool):
        yield
        try:
            done = ctx.run_mutation(step_by_step, steps=steps, ids=ids, pages=pages, fails=fails)
        except AppError as error:
            raise Failed(error.data["seen"]) from error
        ids[:], pages[:] = done["ids"], done["pages"]
        return done["seen"]

    def page(spec: Any, options: PaginationOpts, journal: str | None) -> Any:
        # Nested queries begin without a journal, so none is asked for here.
        assert journal is None
        return {**ctx.run_query(one_page, spec=spec, opts=options).to_dict(), "journal": None}

    return Running(ctx.db, ids, pages, nested, page)


@mutation
def write(ctx: MutationCtx, steps: list[Any], ids: list[str], pages: list[Any]) -> Any:
    """Run a program and return what it has seen."""
    return to_the_end(run(_running(ctx, ids, pages), steps))


@mutation
def write_and_fail(ctx: MutationCtx, steps: list[Any], ids: list[str], pages: list[Any]) -> None:
    """Run a program and throw all of it away."""
    raise AppError({"seen": to_the_end(run(_running(ctx, ids, pages), steps))})


@query
def read(ctx: QueryCtx, steps: list[Any], ids: list[str], pages: list[Any]) -> Any:
    """Run a program that only reads."""
    return to_the_end(run(_running(ctx, ids, pages), steps))


@internal_mutation
def step_by_step(
    ctx: MutationCtx, steps: list[Any], ids: list[str], pages: list[Any], fails: bool
) -> Any:
    seen = to_the_end(run(_running(ctx, ids, pages), steps))
    if fails:
        raise AppError({"seen": seen})
    return {"seen": seen, "ids": ids, "pages": pages}


@internal_query
def one_page(ctx: QueryCtx, spec: Any, opts: PaginationOpts) -> Page[Any]:
    return _paged(ctx, spec, opts)


@query
def page(ctx: QueryCtx, spec: Any, opts: PaginationOpts) -> Page[Any]:
    """One page, for clients that watch it."""
    return _paged(ctx, spec, opts)


def _paged(ctx: QueryCtx, spec: Any, opts: PaginationOpts) -> Page[Any]:
    running = Running(ctx.db, [], [], None, None)  # type: ignore[arg-type]
    found = read_page(running, spec, opts)
    return Page(
        page=found["page"],
        is_done=found["isDone"],
        continue_cursor=found["continueCursor"],
        split_cursor=found["splitCursor"],
        page_status=found["pageStatus"],
    )
