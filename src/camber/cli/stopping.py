"""SIGINT and SIGTERM: the first asks a server to end in good order, the second ends it at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedEarly(Exception):
    """The server was told to end before it was ready."""


class Stop:
    """The wish that the process end."""

    def __init__(self) -> None:
        """Heed the signals from now on; called on the running loop."""
        self.wanted = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._first)

    def _first(self) -> None:
        self.wanted.set()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            # The system's own way to end a process: nothing that was acknowledged is lost by it.
            signal.signal(number, signal.SIG_DFL)

    async def unless_wanted(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; it is cancelled when the process is to end.

        Raises:
            StoppedEarly: it was.
        """
        working = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(self.wanted.wait())
        try:
            await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            working.cancel()
            await asyncio.wait([working])
            raise StoppedEarly
        finally:
            waiting.cancel()
