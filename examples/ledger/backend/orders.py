from typing import TypedDict

from ledger import entries

from camber import (
    AppError,
    Id,
    MutationCtx,
    Page,
    PaginationOpts,
    QueryCtx,
    internal_mutation,
    mutation,
    query,
)

from .app import cash, credit
from .schema import Notice, Order


@mutation
def deposit(ctx: MutationCtx, customer: str, amount: int) -> str:
    return ctx.run_mutation(cash[entries.add], customer, amount, memo="deposit")


@mutation
def place(ctx: MutationCtx, customer: str, price: int) -> Id[Order]:
    """Order something: paid in cash, or else on credit, or not at all.

    A ledger that refuses has entered nothing, and told nobody; the order is of the same transaction.
    """
    try:
        entry = ctx.run_mutation(cash[entries.add], account=customer, amount=-price)
        order = Order(customer=customer, price=price, paid_from="cash", entry=entry)
    except AppError:
        entry = ctx.run_mutation(credit[entries.add], account=customer, amount=-price)
        order = Order(customer=customer, price=price, paid_from="credit", entry=entry)
    return ctx.db.insert(order)


@query
def balances(ctx: QueryCtx, customer: str) -> dict[str, int]:
    return {
        "cash": ctx.run_query(cash[entries.total], account=customer)["amount"],
        "credit": ctx.run_query(credit["entries:total"], account=customer)["amount"],
    }


class Line(TypedDict):
    amount: int
    memo: str


@query
def statement(ctx: QueryCtx, customer: str, opts: PaginationOpts) -> Page[Line]:
    """What became of a customer's cash, a page at a time."""
    page = ctx.run_query(cash[entries.history], account=customer, opts=opts)
    return page.map(lambda entry: Line(amount=entry.amount, memo=entry.memo))


@mutation
def watch(ctx: MutationCtx) -> None:
    """Have both ledgers tell us of each entry."""
    for ledger in (cash, credit):
        ctx.run_mutation(ledger[entries.listen], handle=ctx.function_handle(noted))


@internal_mutation
def noted(ctx: MutationCtx, entry: str, account: str, amount: int) -> None:
    ctx.db.insert(Notice(text=f"{account}: {amount}"))


@query
def notices(ctx: QueryCtx) -> list[str]:
    return [notice.text for notice in ctx.db.query(Notice)]


@mutation
def close_account(ctx: MutationCtx, customer: str) -> int:
    """Delete a customer's cash account with what the ledger has handed out for that."""
    return ctx.run_mutation(ctx.run_query(cash[entries.forgetter]), account=customer)
