from camber import App, Component

app = App()
ledger = app.use(Component("ledger", path="ledger"), env={"CURRENCY": "EUR"})
