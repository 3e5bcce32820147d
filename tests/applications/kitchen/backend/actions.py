"""Actions, of both kinds."""

from __future__ import annotations

import asyncio

from camber import ActionCtx, AppError, SyncActionCtx, action

from . import counters, errors


@action
async def double(ctx: ActionCtx, value: float) -> float:
    await asyncio.sleep(0)
    print("doubling", value)
    return value * 2


@action
async def increment_twice(ctx: ActionCtx, name: str) -> list[int]:
    first = await ctx.run_mutation(counters.increment, name=name)
    await ctx.run_action("actions:increment_plain", name=name)
    return [first, await ctx.run_query(counters.read, name=name)]


@action
def increment_plain(ctx: SyncActionCtx, name: str) -> int:
    ctx.log.info("blocking", name=name)
    return ctx.run_mutation(counters.increment, name=name)


@action
async def catches(ctx: ActionCtx) -> object:
    try:
        await ctx.run_query(errors.app_error)
    except AppError as error:
        return error.data
    return None


@action
async def fails(ctx: ActionCtx) -> None:
    raise RuntimeError("boom")


@action
async def variable(ctx: ActionCtx, name: str) -> str | None:
    return ctx.env.get(name)


@action
async def slow(ctx: ActionCtx, seconds: float) -> None:
    await asyncio.sleep(seconds)


@action
async def increment_then_wait(ctx: ActionCtx, name: str, seconds: float) -> int:
    value = await ctx.run_mutation(counters.increment, name=name)
    await asyncio.sleep(seconds)
    return value
