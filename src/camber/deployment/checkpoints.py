"""Checkpoints beside commits: what the log holds goes into the file on a thread of its own.

The log begins anew only where all of it is in the file and nobody reads from it. Under load more
has been appended by the time a checkpoint ends, so the writer puts in that rest itself, between
two groups, which is quick.
"""

from __future__ import annotations

import logging
from contextlib import closing

from camber.engine.engine import Engine
from camber.errors import StorageFailed

_log = logging.getLogger("camber.checkpoints")

#: Between two looks at how much the log holds.
_PAUSE_S = 0.05


async def checkpoint_again_and_again(engine: Engine) -> None:
    """Go on until cancelled."""
    store = engine.store
    seen = None
    with closing(engine.host.worker("camber-checkpoints")) as worker:
        while True:
            await engine.host.sleep(_PAUSE_S)
            if engine.newest_ts == seen:
                continue
            seen = engine.newest_ts
            try:
                if await worker.run(store.checkpoint):
                    await engine.on_writer(store.finish_checkpoint)
            except StorageFailed as failure:
                _log.warning("the log of writes grows: %s", failure)
