"""The functions that run programs."""

from __future__ import annotations

from typing import Any

from camber import (
    AppError,
    FunctionError,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from camber.errors import DeveloperError

from .steps import Failed, Running, Steps, read_page, run, to_the_end, told_now

#: What to call in each place: a mutation and a query, by their handles.
Handles = dict[str, list[str]]


def _running(ctx: Any, ids: list[str], pages: list[Any], handles: Handles | None) -> Running:
    def nested(outer: Running, steps: list[Any], fails: bool, place: str | None) -> Steps:
        yield
        known = {"ids": outer.ids, "pages": outer.pages, "handles": handles}
        callee: Any = step_by_step if place is None or handles is None else handles[place][0]
        try:
            done = ctx.run_mutation(callee, steps=steps, **known, fails=fails)
        except AppError as error:
            raise Failed(error.data["seen"]) from error
        outer.ids, outer.pages = done["ids"], done["pages"]
        return done["seen"]

    def ask(outer: Running, steps: list[Any], place: str) -> Steps:
        yield
        assert handles is not None
        known = {"ids": outer.ids, "pages": outer.pages, "handles": handles}
        return ctx.run_query(handles[place][1], steps=steps, **known)

    def page(spec: Any, options: PaginationOpts, journal: str | None) -> Any:
        # What pins the pages of nested queries is the journal of the query that calls them.
        assert journal is None
        try:
            found = ctx.run_query(one_page, spec=spec, opts=options)
        except FunctionError as error:
            if "CommitTsUnknown" not in str(error):
                raise
            raise DeveloperError(str(error), code="CommitTsUnknown") from error
        return {**found.to_dict(), "journal": None}

    def who() -> str | None:
        user = ctx.auth.get_user_identity()
        return None if user is None else user.subject

    return Running(ctx.db, ids, pages, who, nested, ask, page)


@mutation
def write(
    ctx: MutationCtx,
    steps: list[Any],
    ids: list[str],
    pages: list[Any],
    handles: Handles | None = None,
) -> Any:
    """Run a program and return what it has seen."""
    return to_the_end(run(_running(ctx, ids, pages, handles), steps))


@mutation
def write_and_fail(
    ctx: MutationCtx,
    steps: list[Any],
    ids: list[str],
    pages: list[Any],
    handles: Handles | None = None,
) -> None:
    """Run a program and throw all of it away."""
    raise AppError({"seen": told_now(to_the_end(run(_running(ctx, ids, pages, handles), steps)))})


@query
def read(
    ctx: QueryCtx,
    steps: list[Any],
    ids: list[str],
    pages: list[Any],
    handles: Handles | None = None,
) -> Any:
    """Run a program that only reads."""
    return to_the_end(run(_running(ctx, ids, pages, handles), steps))


@internal_mutation
def step_by_step(
    ctx: MutationCtx,
    steps: list[Any],
    ids: list[str],
    pages: list[Any],
    fails: bool,
    handles: Handles | None = None,
) -> Any:
    running = _running(ctx, ids, pages, handles)
    seen = to_the_end(run(running, steps))
    if fails:
        raise AppError({"seen": told_now(seen)})
    return {"seen": seen, "ids": running.ids, "pages": running.pages}


@internal_query
def one_page(ctx: QueryCtx, spec: Any, opts: PaginationOpts) -> Page[Any]:
    return read_page(ctx.db, spec, opts)


@query
def page(ctx: QueryCtx, spec: Any, opts: PaginationOpts) -> Page[Any]:
    """One page, for clients that watch it."""
    return read_page(ctx.db, spec, opts)
