from camber import FunctionHandle, Index, Table


class Entry(Table, table="entries"):
    account: str
    amount: int
    memo: str = ""

    by_account = Index("account")


class Balance(Table, table="balances"):
    """The sum of an account's entries, so that nobody has to add them up."""

    account: str
    amount: int

    by_account = Index("account", unique=True)


class Listener(Table, table="listeners"):
    """A function of whoever uses the ledger, to be told of each entry."""

    handle: FunctionHandle

    by_handle = Index("handle", unique=True)
