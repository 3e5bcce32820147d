from typing import TypedDict

from camber import (
    AppError,
    FunctionHandle,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    internal_mutation,
    mutation,
    query,
)

from .schema import Balance, Entry, Listener


class Total(TypedDict):
    amount: int
    currency: str


@query
def total(ctx: QueryCtx, account: str) -> Total:
    balance = _balance(ctx, account)
    return {"amount": 0 if balance is None else balance.amount, "currency": ctx.env["CURRENCY"]}


@query
def get(ctx: QueryCtx, id: Id[Entry]) -> Entry | None:
    return ctx.db.get(id)


@query
def history(ctx: QueryCtx, account: str, opts: PaginationOpts) -> Page[Entry]:
    """The entries of an account, newest first, a page at a time."""
    entries = ctx.db.query(Entry).with_index(Entry.by_account, account=account)
    return entries.order("desc").paginate(opts)


@mutation
def add(ctx: MutationCtx, account: str, amount: int, memo: str = "") -> Id[Entry]:
    """Enter an amount, and tell who listens. An account that would be overdrawn stays as it is."""
    entry = ctx.db.insert(Entry(account=account, amount=amount, memo=memo))
    balance = _balance(ctx, account)
    if balance is None:
        after = amount
        ctx.db.insert(Balance(account=account, amount=after))
    else:
        after = balance.amount + amount
        ctx.db.patch(balance.id, amount=after)
    for listener in ctx.db.query(Listener):
        ctx.run_mutation(listener.handle, entry=entry, account=account, amount=amount)
    if after < -int(ctx.env.get("OVERDRAFT") or 0):
        raise AppError({"code": "OVERDRAWN", "account": account, "missing": -after})
    return entry


@mutation
def listen(ctx: MutationCtx, handle: FunctionHandle) -> None:
    """Call a function with each entry from now on: the handle that its owner has made of it."""
    if ctx.db.query(Listener).with_index(Listener.by_handle, handle=handle).first() is None:
        ctx.db.insert(Listener(handle=handle))


@internal_mutation
def forget(ctx: MutationCtx, account: str) -> int:
    """Delete an account. Internal: no call from outside reaches it, only whom it is handed to."""
    entries = ctx.db.query(Entry).with_index(Entry.by_account, account=account).take(1000)
    for entry in entries:
        ctx.db.delete(entry.id)
    balance = _balance(ctx, account)
    if balance is not None:
        ctx.db.delete(balance.id)
    return len(entries)


@query
def forgetter(ctx: QueryCtx) -> str:
    """A handle of `forget`, for who may have it."""
    return ctx.function_handle(forget)


def _balance(ctx: QueryCtx, account: str) -> Balance | None:
    return ctx.db.query(Balance).with_index(Balance.by_account, account=account).unique()
