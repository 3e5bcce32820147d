from camber import App

app = App(env={"CURRENCY": str, "OVERDRAFT": str | None})
