"""Everything that clients of the simulation do. Each mutation notes itself in `done`."""

from __future__ import annotations

from typing import Any

from camber import (
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    ScheduledFunction,
    StoredFile,
    internal_mutation,
    mutation,
    query,
)

from .schema import Account, Done, Log, Note, Plan

FIRST_BALANCE = 100


def note(ctx: MutationCtx, operation: str, by: list[Any], **arguments: Any) -> None:
    client, request = by
    ctx.db.insert(
        Done(
            client=client,
            request=int(request),
            operation=operation,
            arguments=arguments,
            at=ctx.db.vars.commit_ts,
        )
    )


def account(ctx: MutationCtx, name: str) -> Account:
    found = ctx.db.query(Account).with_index(Account.by_name, name=name).unique()
    if found is None:
        id = ctx.db.insert(Account(name=name, balance=FIRST_BALANCE))
        found = ctx.db.get(id)
        assert found is not None
    return found


@mutation
def transfer(ctx: MutationCtx, by: list[Any], source: str, target: str, amount: int) -> list[int]:
    """Move as much of an amount as there is; return both balances."""
    note(ctx, "transfer", by, source=source, target=target, amount=amount)
    giver = account(ctx, source)
    moved = min(amount, giver.balance)
    ctx.db.patch(giver.id, balance=giver.balance - moved)
    taker = account(ctx, target)
    ctx.db.patch(taker.id, balance=taker.balance + moved)
    return [account(ctx, source).balance, account(ctx, target).balance]


@mutation
def append(ctx: MutationCtx, by: list[Any], name: str, item: str) -> list[str]:
    """Append to a list; return it."""
    note(ctx, "append", by, name=name, item=item)
    found = ctx.db.query(Log).with_index(Log.by_name, name=name).unique()
    if found is None:
        ctx.db.insert(Log(name=name, items=[item]))
        return [item]
    ctx.db.patch(found.id, items=[*found.items, item])
    return [*found.items, item]


@mutation
def write(ctx: MutationCtx, by: list[Any], board: str, text: str) -> int:
    """Put a note on a board; return how many there are."""
    note(ctx, "write", by, board=board, text=text)
    ctx.db.insert(Note(board=board, text=text))
    return len(ctx.db.query(Note).with_index(Note.by_board, board=board).collect())


@mutation
def wipe(ctx: MutationCtx, by: list[Any], board: str) -> int:
    """Remove the first notes of a board; return how many there were on it."""
    note(ctx, "wipe", by, board=board)
    notes = ctx.db.query(Note).with_index(Note.by_board, board=board).collect()
    for each in notes[:3]:
        ctx.db.delete(each.id)
    return len(notes)


@mutation
def blind(ctx: MutationCtx, by: list[Any], board: str, text: str) -> None:
    """Put a note on a board without a look at it."""
    note(ctx, "blind", by, board=board, text=text)
    ctx.db.insert(Note(board=board, text=text))


@internal_mutation
def write_and_fail(ctx: MutationCtx, board: str, text: str) -> int:
    ctx.db.insert(Note(board=board, text=text + " undone"))
    raise AppError(len(ctx.db.query(Note).with_index(Note.by_board, board=board).collect()))


@mutation
def nested(ctx: MutationCtx, by: list[Any], board: str, text: str) -> int:
    """Put a note on a board, and another one that is undone; return how many there are."""
    note(ctx, "nested", by, board=board, text=text)
    ctx.db.insert(Note(board=board, text=text))
    try:
        ctx.run_mutation(write_and_fail, board, text)
    except AppError as error:
        return int(error.data) - 1
    return -1


@internal_mutation
def post(ctx: MutationCtx, by: list[Any], board: str, text: str) -> None:
    """Put a note on a board, as was planned."""
    note(ctx, "post", by, board=board, text=text)
    plan = ctx.db.query(Plan).with_index(Plan.by_board, board=board, text=text).unique()
    assert plan is not None, f"{text} is posted, and was not planned"
    ctx.db.delete(plan.id)
    ctx.db.insert(Note(board=board, text=text))


@mutation
def later(ctx: MutationCtx, by: list[Any], board: str, text: str, delay: float) -> int:
    """Plan a note, and another one that is undone; return how many are planned."""
    note(ctx, "later", by, board=board, text=text, delay=delay)
    client, request = by
    job = ctx.scheduler.run_after(delay, post, [f"{client}, later", request], board, text)
    ctx.db.insert(Plan(board=board, text=text, job=job))
    try:
        ctx.run_mutation(plan_and_fail, board, text)
    except AppError:
        return len(ctx.db.query(Plan).with_index(Plan.by_board, board=board).collect())
    return -1


@internal_mutation
def plan_and_fail(ctx: MutationCtx, board: str, text: str) -> None:
    ctx.scheduler.run_after(0, post, ["nobody", 0], board, f"{text} undone")
    raise AppError("undone")


@mutation
def call_off(ctx: MutationCtx, by: list[Any], board: str) -> str | None:
    """Cancel the first note that is planned for a board; return its text."""
    note(ctx, "call_off", by, board=board)
    plan = ctx.db.query(Plan).with_index(Plan.by_board, board=board).first()
    if plan is None:
        return None
    ctx.scheduler.cancel(plan.job)
    ctx.db.delete(plan.id)
    return plan.text


@mutation
def fail(ctx: MutationCtx, by: list[Any], board: str) -> None:
    """Write, and fail."""
    note(ctx, "fail", by, board=board)
    ctx.db.insert(Note(board=board, text="never"))
    raise AppError({"code": "asked for"})


@query
def balance(ctx: QueryCtx, name: str) -> int | None:
    found = ctx.db.query(Account).with_index(Account.by_name, name=name).unique()
    return None if found is None else found.balance


@query
def total(ctx: QueryCtx) -> list[int]:
    """How many accounts there are, and what they hold together."""
    accounts = ctx.db.query(Account).collect()
    return [len(accounts), sum(each.balance for each in accounts)]


@query
def items(ctx: QueryCtx, name: str) -> list[str]:
    found = ctx.db.query(Log).with_index(Log.by_name, name=name).unique()
    return [] if found is None else found.items


@query
def board(ctx: QueryCtx, name: str) -> list[str]:
    return [
        each.text for each in ctx.db.query(Note).with_index(Note.by_board, board=name).collect()
    ]


@query
def texts(ctx: QueryCtx) -> list[str]:
    """All notes: by an index that half of the releases have."""
    by_text = getattr(Note, "by_text", None)
    if by_text is None:
        return sorted(each.text for each in ctx.db.query(Note).collect())
    return [each.text for each in ctx.db.query(Note).with_index(by_text).collect()]


@query
def planned(ctx: QueryCtx, name: str) -> list[str]:
    return [
        each.text for each in ctx.db.query(Plan).with_index(Plan.by_board, board=name).collect()
    ]


@query
def pending(ctx: QueryCtx) -> int:
    """How many scheduled functions have not run, as the system says."""
    found = ctx.db.system.query(ScheduledFunction).collect()
    return sum(each.state.kind == "pending" for each in found)


@query
def page(ctx: QueryCtx, name: str, opts: PaginationOpts) -> Page[str]:
    notes = ctx.db.query(Note).with_index(Note.by_board, board=name).paginate(opts)
    return notes.map(lambda each: each.text)


@query
def first(ctx: QueryCtx, name: str, count: int) -> list[str]:
    """The first few notes of a board."""
    notes = ctx.db.query(Note).with_index(Note.by_board, board=name)
    return [each.text for each in notes.take(count)]


@mutation
def upload_url(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()


@mutation
def remove_file(ctx: MutationCtx, id: Id[StoredFile]) -> None:
    ctx.storage.delete(id)
