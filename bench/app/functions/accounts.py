"""Accounts that money moves between."""

from camber import AppError, MutationCtx, PaginationOpts, QueryCtx, mutation, query

from .schema import Account


@mutation
def seed(ctx: MutationCtx, first: int, count: int, balance: float) -> None:
    for number in range(first, first + count):
        ctx.db.insert(Account(name=f"a{number}", balance=balance))


@mutation
def transfer(ctx: MutationCtx, source: str, target: str, amount: float) -> None:
    giver = ctx.db.query(Account).with_index(Account.by_name, name=source).unique()
    taker = ctx.db.query(Account).with_index(Account.by_name, name=target).unique()
    if giver is None or taker is None:
        raise AppError("there is no such account")
    if giver.balance < amount:
        raise AppError(f"{source} has {giver.balance}")
    ctx.db.patch(giver.id, balance=giver.balance - amount)
    ctx.db.patch(taker.id, balance=taker.balance + amount)


@query
def total(ctx: QueryCtx, opts: PaginationOpts) -> dict[str, float | str | bool]:
    """What the accounts of a page hold, and where the next begins."""
    page = ctx.db.query(Account).paginate(opts)
    held = sum(account.balance for account in page.page)
    return {"sum": held, "done": page.is_done, "cursor": page.continue_cursor}
