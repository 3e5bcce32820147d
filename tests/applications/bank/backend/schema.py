"""Accounts whose sum stays what it is, and what was moved between them."""

from __future__ import annotations

from camber import Index, Table


class Account(Table, table="accounts"):
    name: str
    balance: int

    by_name = Index("name", unique=True)
    by_balance = Index("balance", "name")


class Transfer(Table, table="transfers"):
    client: str
    number: int
    source: str
    target: str
    amount: int

    # Not unique: a transfer that is done twice must be seen, not refused.
    by_client = Index("client", "number")
    by_source = Index("source", "amount")
