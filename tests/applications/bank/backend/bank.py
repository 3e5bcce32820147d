from __future__ import annotations

from camber import MutationCtx, QueryCtx, mutation, query

from .schema import Account, Transfer


@mutation
def open_accounts(ctx: MutationCtx, names: list[str], balance: int) -> int:
    """Open accounts unless there are some; return how many there are."""
    there = ctx.db.query(Account).collect()
    if there:
        return len(there)
    for name in names:
        ctx.db.insert(Account(name=name, balance=balance))
    return len(names)


@mutation
def transfer(
    ctx: MutationCtx, client: str, number: int, source: str, target: str, amount: int
) -> int:
    payer = _account(ctx, source)
    payee = _account(ctx, target)
    ctx.db.patch(payer.id, balance=payer.balance - amount)
    ctx.db.patch(payee.id, balance=payee.balance + amount)
    ctx.db.insert(
        Transfer(client=client, number=number, source=source, target=target, amount=amount)
    )
    return number


@query
def total(ctx: QueryCtx) -> int:
    return sum(account.balance for account in ctx.db.query(Account).collect())


def _account(ctx: MutationCtx, name: str) -> Account:
    found = ctx.db.query(Account).with_index(Account.by_name, name=name).unique()
    assert found is not None, f"no account {name}"
    return found
