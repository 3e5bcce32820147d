"""Everything that clients of the simulation do. Each mutation notes itself in `done`."""

from __future__ import annotations

import asyncio
from typing import Any

from camber import (
    ActionCtx,
    AppError,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    ScheduledFunction,
    action,
    internal_action,
    internal_mutation,
    mutation,
    query,
)

from .app import left, right
from .schema import Account, Done, Log, Note, Plan

FIRST_BALANCE = 100
MOUNTS = {"left": left, "right": right}


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


@internal_mutation
def deliver(ctx: MutationCtx, by: list[Any], board: str, text: str) -> None:
    """Put a note on a board, as an action was sent to do."""
    note(ctx, "deliver", by, board=board, text=text)
    ctx.db.insert(Note(board=board, text=text))


@internal_action
async def errand(ctx: ActionCtx, by: list[Any], board: str, text: str, pause: float) -> None:
    """Deliver a note, which may happen once or never."""
    await asyncio.sleep(pause)
    await ctx.run_mutation(deliver, by, board, text)
    await asyncio.sleep(pause)


@mutation
def send(
    ctx: MutationCtx, by: list[Any], board: str, text: str, delay: float, pause: float
) -> None:
    """Schedule an action that delivers a note."""
    note(ctx, "send", by, board=board, text=text, delay=delay, pause=pause)
    client, request = by
    ctx.scheduler.run_after(delay, errand, [f"{client}, sent", request], board, text, pause)


@action
async def go(ctx: ActionCtx, by: list[Any], board: str, text: str, pause: float) -> str:
    """Deliver a note by another action; return its text."""
    await ctx.run_action(errand, by, board, text, pause)
    return text


@mutation
def stow(
    ctx: MutationCtx, by: list[Any], board: str, text: str, mount: str, fails: str
) -> list[Any]:
    """Put a note here, one on a shelf and one into its box; return what the shelf saw, and what is left.

    `fails` is who of them fails in the end, and is caught by its caller.
    """
    note(ctx, "stow", by, board=board, text=text, mount=mount, fails=fails)
    ctx.db.insert(Note(board=board, text=text))
    shelf = MOUNTS[mount]
    try:
        seen = ctx.run_mutation(shelf["notes:put"], name=board, text=text, fails=fails)
    except AppError as error:
        seen = error.data
    return [seen, ctx.run_query(shelf["notes:boards"], name=board)]


@mutation
def move(ctx: MutationCtx, by: list[Any], board: str, source: str, target: str) -> str | None:
    """Move the first note of a board from shelf to shelf: the one calls the other by its handle."""
    note(ctx, "move", by, board=board, source=source, target=target)
    handle = ctx.run_query(MOUNTS[target]["notes:receiver"])
    moved: str | None = ctx.run_mutation(MOUNTS[source]["notes:give"], name=board, handle=handle)
    return moved


@internal_mutation
def arrive(ctx: MutationCtx, by: list[Any], board: str, text: str, mount: str) -> None:
    """Note what a component does that was scheduled there."""
    note(ctx, "arrive", by, board=board, text=text, mount=mount)


@mutation
def stow_later(
    ctx: MutationCtx, by: list[Any], board: str, text: str, mount: str, delay: float
) -> None:
    """Have a component schedule a note, and call us then."""
    note(ctx, "stow_later", by, board=board, text=text, mount=mount, delay=delay)
    client, request = by
    told = {"by": [f"{client}, stowed", request], "board": board, "text": text, "mount": mount}
    ctx.run_mutation(
        MOUNTS[mount]["notes:put_later"],
        name=board,
        text=text,
        delay=delay,
        then=ctx.function_handle(arrive),
        arguments=told,
    )


@mutation
def write_found(ctx: MutationCtx, by: list[Any], board: str, text: str) -> list[str]:
    """Put a note on a board; return what is found there that has one of its words."""
    note(ctx, "write_found", by, board=board, text=text)
    ctx.db.insert(Note(board=board, text=text))
    return found_on(ctx, board, text)


@mutation
def wipe_found(ctx: MutationCtx, by: list[Any], board: str, words: str) -> list[str]:
    """Remove some of what is found on a board; return what is found after that."""
    note(ctx, "wipe_found", by, board=board, words=words)
    notes = ctx.db.query(Note).with_search_index(Note.search_text, words, board=board).collect()
    for each in sorted(notes, key=lambda each: each.text)[:3]:
        ctx.db.delete(each.id)
    return found_on(ctx, board, words)


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
    """How many scheduled mutations of its own have not run, as the system says."""
    found = ctx.db.system.query(ScheduledFunction).collect()
    return sum(each.state.kind == "pending" for each in found if not each.name.endswith(":errand"))


@query
def page(ctx: QueryCtx, name: str, opts: PaginationOpts) -> Page[str]:
    notes = ctx.db.query(Note).with_index(Note.by_board, board=name).paginate(opts)
    return notes.map(lambda each: each.text)


@query
def first(ctx: QueryCtx, name: str, count: int) -> list[str]:
    """The first few notes of a board."""
    notes = ctx.db.query(Note).with_index(Note.by_board, board=name)
    return [each.text for each in notes.take(count)]


def found_on(ctx: QueryCtx, board: str, words: str) -> list[str]:
    notes = ctx.db.query(Note).with_search_index(Note.search_text, words, board=board)
    return sorted(each.text for each in notes.collect())


@query
def found(ctx: QueryCtx, name: str, words: str) -> list[str]:
    """What is found on a board, in order of the texts: scores may be of an older moment."""
    return found_on(ctx, name, words)


@query
def found_page(ctx: QueryCtx, name: str, words: str, opts: PaginationOpts) -> Page[str]:
    notes = ctx.db.query(Note).with_search_index(Note.search_text, words, board=name)
    return notes.paginate(opts).map(lambda each: each.text)


@query
def shelf(ctx: QueryCtx, name: str, mount: str) -> list[list[str]]:
    """Of a board the notes on a shelf, and those in its box."""
    boards: list[list[str]] = ctx.run_query(MOUNTS[mount]["notes:boards"], name=name)
    return boards


@query
def shelves(ctx: QueryCtx, name: str) -> list[str]:
    """Of a board the notes on both shelves."""
    return sorted(
        text for each in MOUNTS.values() for text in ctx.run_query(each["notes:board"], name=name)
    )


@query
def shelf_page(ctx: QueryCtx, name: str, mount: str, opts: PaginationOpts) -> Page[str]:
    page: Page[str] = ctx.run_query(MOUNTS[mount]["notes:page"], name=name, opts=opts)
    return page


@mutation
def upload_url(ctx: MutationCtx, mount: str | None) -> str:
    if mount is None:
        return ctx.storage.generate_upload_url()
    url: str = ctx.run_mutation(MOUNTS[mount]["files:upload_url"])
    return url


@mutation
def remove_file(ctx: MutationCtx, mount: str | None, id: str) -> None:
    if mount is None:
        ctx.storage.delete(id)
    else:
        ctx.run_mutation(MOUNTS[mount]["files:remove"], id=id)
