"""Functions that fail, each in its way."""

from __future__ import annotations

import sys

from camber import AppError, MutationCtx, QueryCtx, mutation, query
from camber.testing import system_error


@query
def app_error(ctx: QueryCtx) -> None:
    raise AppError({"code": "FULL", "seats": 3})


@query
def app_error_null(ctx: QueryCtx) -> None:
    raise AppError(None)


@query
def value_error(ctx: QueryCtx) -> None:
    raise ValueError("not that")


@query
def plain_error(ctx: QueryCtx) -> None:
    raise Exception("plain")


@query
def ends_the_process(ctx: QueryCtx) -> None:
    sys.exit(3)


@query
def wrong_result(ctx: QueryCtx) -> int:
    return "text"  # type: ignore[return-value]


@query
def not_a_value(ctx: QueryCtx):
    return {"inner": [1, {2, 3}]}


@query
def query_object(ctx: QueryCtx):
    return ctx.db.query("notes")


@query
def logs(ctx: QueryCtx) -> None:
    print("hello", 3)
    ctx.log.info("m", key=1)


@query
def two_pages(ctx: QueryCtx):
    from camber import PaginationOpts

    ctx.db.query("notes").paginate(PaginationOpts(num_items=1))
    ctx.db.query("notes").paginate(PaginationOpts(num_items=1))


@mutation
def app_error_after_write(ctx: MutationCtx, name: str) -> None:
    ctx.db.insert("events", {"name": name})
    raise AppError("no")


@mutation
def conflict(ctx: MutationCtx) -> None:
    raise system_error("OptimisticConcurrencyControlFailure")
