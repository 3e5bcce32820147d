"""The context of the action that runs: for code that is handed none, such as a mounted application.

A context variable knows it, which tasks and threads that a framework starts for a request inherit.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from camber.errors import DeveloperError
from camber.functions.contexts import ActionCtx, SyncActionCtx


class NoContext(DeveloperError):
    """`camber.current()` where no action runs."""

    code = "NoContext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """One action's context, for its event loop and for threads."""

    awaiting: ActionCtx
    blocking: SyncActionCtx


_current: contextvars.ContextVar[Contexts] = contextvars.ContextVar("camber_context")


def current() -> ActionCtx:
    """Return the context of the action or HTTP request that runs, whose methods are awaited.

    Raises:
        NoContext: none does: at import, in a lifespan, on a thread that inherits no context.
    """
    return _contexts().awaiting


def current_sync() -> SyncActionCtx:
    """Return the same for code on a thread, such as a plain `def` endpoint: its methods block.

    Raises:
        NoContext: no action runs here.
    """
    return _contexts().blocking


def _contexts() -> Contexts:
    try:
        return _current.get()
    except LookupError:
        msg = (
            "no action runs here: camber.current() is for code that a request or an action has "
            "called, not for import, a lifespan, or a thread that was started without its context"
        )
        raise NoContext(msg) from None


@contextmanager
def running(contexts: Contexts) -> Iterator[None]:
    """Make `contexts` the current ones within the block."""
    token = _current.set(contexts)
    try:
        yield
    finally:
        _current.reset(token)
