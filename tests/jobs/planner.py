"""An application that schedules, as text: tests write it where they use it, and change it."""

from __future__ import annotations

PLANNER = """
    from __future__ import annotations

    from datetime import datetime, timedelta, timezone
    from typing import Any

    from camber import *


    class Note(Table, table="notes"):
        text: str
        at: float = 0.0
        by_text = Index("text")


    class Attempt(Table, table="attempts"):
        of: str


    @mutation
    def note(ctx: MutationCtx, text: str) -> None:
        now = datetime.now(timezone.utc).timestamp() * 1e3
        ctx.db.insert(Note(text=text, at=now))


    @internal_mutation
    def hidden(ctx: MutationCtx, text: str) -> None:
        ctx.db.insert(Note(text=text))


    @query
    def texts(ctx: QueryCtx) -> list[str]:
        return [n.text for n in ctx.db.query(Note).collect()]


    @query
    def times(ctx: QueryCtx) -> list[float]:
        return [n.at for n in ctx.db.query(Note).collect()]


    @query
    def states(ctx: QueryCtx) -> list[str]:
        return [f.state.kind for f in ctx.db.system.query(ScheduledFunction).collect()]


    @query
    def scheduled(ctx: QueryCtx) -> list[dict[str, Any]]:
        return [f.to_dict() for f in ctx.db.system.query("_scheduled_functions").collect()]


    @query
    def typed(ctx: QueryCtx) -> list[ScheduledFunction]:
        return ctx.db.system.query(ScheduledFunction).collect()


    @query
    def find(ctx: QueryCtx, id: Id[ScheduledFunction]) -> ScheduledFunction | None:
        return ctx.db.system.get(id)


    @mutation
    def later(ctx: MutationCtx, text: str, delay: float = 0.0) -> Id[ScheduledFunction]:
        return ctx.scheduler.run_after(delay, note, text=text)


    @mutation
    def call_later(ctx: MutationCtx, path: str, delay: float, args: dict[str, Any]) -> Id[ScheduledFunction]:
        return ctx.scheduler.run_after(delay, path, **args)


    @mutation
    def many(ctx: MutationCtx, delays: list[float]) -> None:
        for n, delay in enumerate(delays):
            ctx.scheduler.run_after(delay, note, f"{n}")


    @mutation
    def at(ctx: MutationCtx, iso: str, text: str) -> Id[ScheduledFunction]:
        return ctx.scheduler.run_at(datetime.fromisoformat(iso), note, text)


    @mutation
    def cancel(ctx: MutationCtx, id: str) -> None:
        ctx.scheduler.cancel(id)


    @mutation
    def raises(ctx: MutationCtx, text: str = "") -> None:
        ctx.scheduler.run_after(0, note, text="never")
        ctx.db.insert(Note(text="never"))
        raise AppError({"code": "NO", "text": text})


    @mutation
    def catches(ctx: MutationCtx) -> str:
        ctx.scheduler.run_after(0, note, text="kept")
        try:
            ctx.run_mutation(raises)
        except AppError:
            pass
        ctx.run_mutation(later, text="of the sub-transaction")
        return "caught"


    @mutation
    def cancels_itself(ctx: MutationCtx) -> None:
        (own,) = [f.id for f in ctx.db.system.query(ScheduledFunction).collect() if f.state.kind == "inProgress"]
        ctx.scheduler.cancel(own)


    @mutation
    def sees_itself(ctx: MutationCtx) -> None:
        kinds = [f.state.kind for f in ctx.db.system.query(ScheduledFunction).collect()]
        ctx.db.insert(Note(text=",".join(kinds)))


    @mutation
    def who(ctx: MutationCtx) -> None:
        ctx.db.insert(Note(text=repr(ctx.auth.get_user_identity())))


    @mutation
    def chain(ctx: MutationCtx, left: int) -> None:
        ctx.db.insert(Note(text=f"left {left}"))
        if left:
            ctx.scheduler.run_after(timedelta(seconds=10), chain, left=left - 1)


    @mutation
    def loops(ctx: MutationCtx, delay: float) -> None:
        ctx.db.insert(Note(text="again"))
        ctx.scheduler.run_after(delay, loops, delay=delay)


    @internal_mutation
    def attempted(ctx: MutationCtx, of: str) -> int:
        ctx.db.insert(Attempt(of=of))
        return len([a for a in ctx.db.query(Attempt).collect() if a.of == of])


    @action
    async def act(ctx: ActionCtx, text: str) -> str:
        await ctx.run_mutation(note, text=text)
        return text


    @action
    async def fails(ctx: ActionCtx) -> None:
        await ctx.run_mutation(note, text="before it failed")
        raise ValueError("no good")


    @action
    async def fails_at_first(ctx: ActionCtx, times: int) -> None:
        count = await ctx.run_mutation(attempted, of="fails_at_first")
        if count <= times:
            raise ValueError(f"attempt {count}")


    @mutation
    def retried(ctx: MutationCtx, times: int, max_attempts: int, backoff: float) -> Id[ScheduledFunction]:
        retry = Retry(max_attempts=max_attempts, backoff=backoff)
        return ctx.scheduler.options(retry=retry).run_after(5, fails_at_first, times=times)


    @mutation
    def retried_mutation(ctx: MutationCtx) -> None:
        ctx.scheduler.options(retry=Retry()).run_after(5, note, text="x")


    @action
    async def act_later(ctx: ActionCtx, text: str, then_fail: bool = False) -> str:
        id = await ctx.scheduler.run_after(2, note, text=text)
        if then_fail:
            raise ValueError("after scheduling")
        return id


    @action
    def act_later_blocking(ctx: SyncActionCtx, text: str) -> str:
        id = ctx.scheduler.run_after(timedelta(seconds=2), note, text=text)
        other = ctx.scheduler.run_after(timedelta(seconds=1), note, text="never")
        ctx.scheduler.cancel(other)
        return id


    @action
    async def cancels_then_schedules(ctx: ActionCtx) -> None:
        (own,) = [each["_id"] for each in await ctx.run_query(scheduled) if each["state"]["kind"] == "inProgress"]
        await ctx.scheduler.cancel(own)
        await ctx.scheduler.run_after(0, note, text="of the action")
        await ctx.run_mutation(later, text="of its mutation")


    @query
    def looks(ctx: QueryCtx) -> int:
        return len(ctx.db.query(Note).collect())
"""
