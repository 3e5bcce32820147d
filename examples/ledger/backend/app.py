from camber import App, Component

app = App()

#: What customers have paid in, and what they may spend beyond it: the same component, other data.
cash = app.use(Component("ledger", path="ledger"), name="cash", env={"CURRENCY": "EUR"})
credit = app.use(
    Component("ledger", path="ledger"),
    name="credit",
    env={"CURRENCY": "EUR", "OVERDRAFT": "5000"},
)
