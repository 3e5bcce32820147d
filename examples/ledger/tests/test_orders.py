import pytest
from backend import orders

from camber import AppError, PaginationOpts
from camber.testing import TestApp


def test_orders_are_paid_in_cash_then_on_credit(camber_app: TestApp) -> None:
    camber_app.mutation(orders.deposit, customer="ada", amount=1000)
    camber_app.mutation(orders.place, customer="ada", price=800)
    assert camber_app.query(orders.balances, customer="ada") == {"cash": 200, "credit": 0}
    camber_app.mutation(orders.place, customer="ada", price=300)
    assert camber_app.query(orders.balances, customer="ada") == {"cash": 200, "credit": -300}


def test_an_order_that_nobody_pays_leaves_nothing_behind(camber_app: TestApp) -> None:
    camber_app.mutation(orders.watch)
    with pytest.raises(AppError) as raised:
        camber_app.mutation(orders.place, customer="ada", price=5001)
    assert raised.value.data == {"code": "OVERDRAWN", "account": "ada", "missing": 5001}
    assert camber_app.query(orders.balances, customer="ada") == {"cash": 0, "credit": 0}
    assert camber_app.query(orders.notices) == []


def test_a_refusal_that_is_caught_takes_its_writes_along(camber_app: TestApp) -> None:
    camber_app.mutation(orders.watch)
    camber_app.mutation(orders.place, customer="ada", price=10)
    # The ledger of cash had told us too, before it refused.
    assert camber_app.query(orders.notices) == ["ada: -10"]


def test_a_statement_is_read_by_pages(camber_app: TestApp) -> None:
    for amount in (1, 2, 3):
        camber_app.mutation(orders.deposit, customer="ada", amount=amount)
    first = camber_app.query(
        orders.statement, customer="ada", opts=PaginationOpts(num_items=2, cursor=None)
    )
    rest = camber_app.query(
        orders.statement,
        customer="ada",
        opts=PaginationOpts(num_items=2, cursor=first.continue_cursor),
    )
    assert [line["amount"] for line in first.page] == [3, 2]
    assert [line["amount"] for line in rest.page] == [1]
    assert rest.is_done


def test_balances_are_watched_across_ledgers(camber_app: TestApp) -> None:
    watched = camber_app.subscribe(orders.balances, customer="ada")
    assert watched.value == {"cash": 0, "credit": 0}
    camber_app.mutation(orders.deposit, customer="bob", amount=5)
    assert not watched.is_stale
    camber_app.mutation(orders.deposit, customer="ada", amount=5)
    assert watched.value == {"cash": 5, "credit": 0}


def test_an_internal_function_is_run_by_whom_it_was_handed_to(camber_app: TestApp) -> None:
    camber_app.mutation(orders.deposit, customer="ada", amount=5)
    assert camber_app.mutation(orders.close_account, customer="ada") == 1
    assert camber_app.query(orders.balances, customer="ada") == {"cash": 0, "credit": 0}
