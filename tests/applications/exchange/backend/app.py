"""What the application mounts: one component twice, which mounts another."""

from __future__ import annotations

from camber import App, Component

app = App()
left = app.use(Component("shelf", path="shelf"), name="left")
right = app.use(Component("shelf", path="shelf"), name="right")
