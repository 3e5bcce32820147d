"""Everything that one deployment does about data that comes and goes."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from camber.engine.engine import Engine
from camber.releases.releases import Releases
from camber.runtime.files import Files
from camber.transfer.exports import Exports
from camber.transfer.imports import Imports

_log = logging.getLogger("camber.transfer")

#: Between two looks at what has expired.
_PAUSE_S: Final = 60.0


class Transfers:
    """Exports and imports of one deployment. `open` it once on the event loop, then close it."""

    def __init__(self, *, engine: Engine, releases: Releases, files: Files, folder: Path) -> None:
        self._engine = engine
        self.exports = Exports(engine=engine, files=files, folder=folder / "exports")
        self.imports = Imports(
            engine=engine, releases=releases, files=files, folder=folder / "imports"
        )
        self._expiry: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Clear up what the last process left, and begin to remove what expires."""
        await self.exports.recover()
        await self.imports.recover()
        self._expiry = self._engine.host.spawn("expiry of exports and imports", self._expire())

    async def close(self) -> None:
        """End what runs."""
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await self.exports.close()
        await self.imports.close()

    async def _expire(self) -> None:
        while True:
            await self._engine.host.sleep(_PAUSE_S)
            try:
                await self.exports.expire()
                await self.imports.expire()
            # A full disk today is no reason to keep everything tomorrow.
            except Exception:  # noqa: BLE001  # told in the log
                _log.exception("exports and imports could not expire; it is tried again")
