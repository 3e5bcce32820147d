"""A shelf has a box."""

from __future__ import annotations

from camber import App, Component

app = App()
box = app.use(Component("box", path="box"))
