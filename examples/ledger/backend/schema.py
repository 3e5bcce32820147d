from typing import Literal

from camber import Index, Table


class Order(Table, table="orders"):
    customer: str
    price: int
    paid_from: Literal["cash", "credit"]
    #: The id of the ledger's entry: a text here, since only the ledger knows its tables.
    entry: str

    by_customer = Index("customer")


class Notice(Table, table="notices"):
    text: str
