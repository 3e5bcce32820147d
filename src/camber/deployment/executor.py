"""The program that an executor process runs: `python -P -m camber.deployment.executor`.

Its arguments are what it runs and the numbers of the sockets that it inherited. Everything else
comes over the first of them. It reads the store and never writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from camber import limits
from camber.engine.reading import ReadingEngine
from camber.engine.variables import Variables
from camber.files.capabilities import Capabilities
from camber.functions.application import Application
from camber.functions.loading import LoadError, load_application
from camber.functions.logs import install_print
from camber.host import RealHost
from camber.occ.cursors import CursorCipher
from camber.runtime import frames
from camber.runtime.action_worker import ActionWorker, LoopWatch
from camber.runtime.budget import Budget, MemoryCeiling, MeteredSource
from camber.runtime.failures import FailureTexts
from camber.runtime.handles import Handles
from camber.runtime.program import SERVER_PID, Role
from camber.runtime.release import InProcessRelease
from camber.runtime.transaction_worker import Channel, LoadedApplication, TransactionWorker
from camber.runtime.transactions import ScanWatch, TransactionRunner
from camber.storage.sqlite.reading import SharedSnapshots, SqliteReader

#: `prctl`'s option for the signal that a process gets when its parent ends (Linux).
_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Load a release and run it until the server is gone, or says stop."""
    role = Role(arguments[0])
    sockets = [socket.socket(fileno=int(number)) for number in arguments[1:]]
    for each in sockets:
        # Programs that actions start have no business with them.
        each.set_inheritable(False)  # its own signature
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _end_with_the_server()
    install_print()
    channel = Channel(sockets[0])
    first = channel.receive()
    if first is None:
        return
    (start,) = first
    assert isinstance(start, frames.Start)
    try:
        release = InProcessRelease(_load(start))
    except LoadError as error:
        failed = frames.LoadFailed(place=error.place, reason=error.reason, trace=error.trace)
        channel.send(frames.frame(failed))
        return
    process = _Process(start, release, RealHost())
    # What is loaded stays: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    match role:
        case Role.TRANSACTIONS:
            process.run_transactions(channel)
        case Role.ACTIONS:
            process.run_actions(channel, sockets)


def _load(start: frames.Start) -> Application:
    for path in start.search:
        sys.path.append(path)
    return load_application(Path(start.root), start.functions)


@dataclass(frozen=True, slots=True)
class _Process:
    """What both kinds of process are made of."""

    start: frames.Start
    release: InProcessRelease
    host: RealHost

    @property
    def texts(self) -> FailureTexts:
        return FailureTexts(redact=self.start.redact, root=Path(self.start.root))

    @property
    def variables(self) -> Variables:
        return Variables(key=self.start.variables_key, urls=self.start.urls)

    @property
    def loaded(self) -> frames.Loaded:
        return frames.Loaded(analysis=self.release.analysis)

    def run_transactions(self, channel: Channel) -> None:
        """Answer until there is nothing more to answer."""
        budget = Budget()
        reader = SqliteReader(Path(self.start.store), mapped_bytes=limits.store_mapped_bytes_max)
        snapshots = SharedSnapshots(reader)
        loaded = LoadedApplication(self.release)
        worker = TransactionWorker(
            channel=channel,
            engine=ReadingEngine(source=MeteredSource(snapshots, budget), entropy=self.host),
            snapshots=snapshots,
            runner=TransactionRunner(
                host=self.host,
                releases=loaded,
                cursors=CursorCipher(self.start.cursor_key),
                texts=self.texts,
                variables=self.variables,
                capabilities=Capabilities(self.start.capabilities_key),
                handles=Handles(self.start.handles_key),
                test_hooks=self.start.test_hooks,
                watch=ScanWatch() if self.start.warns_of_scans else None,
            ),
            loaded=loaded,
            budget=budget,
            memory=MemoryCeiling(self.start.memory_bytes_max),
            describe=_describe,
        )
        channel.send(frames.frame(self.loaded))
        # The server is gone when it cannot be told: there is nobody to tell.
        with contextlib.suppress(ConnectionError):
            worker.serve()
        _end()

    def run_actions(self, channel: Channel, sockets: list[socket.socket]) -> None:
        """Answer until there is nothing more to answer."""
        connection, reports = sockets
        channel.send(frames.frame(self.loaded))
        MemoryCeiling(self.start.memory_bytes_max)
        asyncio.run(self._serve_actions(connection, reports))
        _end()

    async def _serve_actions(self, connection: socket.socket, reports: socket.socket) -> None:
        worker = ActionWorker(
            host=self.host,
            engine=ReadingEngine(source=SqliteReader(Path(self.start.store)), entropy=self.host),
            application=self.release.application,
            texts=self.texts,
            handles=Handles(self.start.handles_key),
            variables=self.variables,
        )
        LoopWatch(
            host=self.host,
            connection=reports,
            root=Path(self.start.root),
            lost=lambda: os._exit(1),
        )
        await worker.serve(connection)


def _end() -> None:
    """End the process, whatever threads of user code still run: nobody waits for what they do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _describe(name: str, application: Application) -> Any:
    """Apply a function of Camber's own, named `module:function`, to the application."""
    module, _, function = name.partition(":")
    assert module.startswith("camber."), name
    found = getattr(importlib.import_module(module), function)
    return cast("Callable[[Application], Any]", found)(application)


def _end_with_the_server() -> None:
    """Have the system end this process when the server's ends, whatever it is doing then.

    Elsewhere than on Linux it ends by itself when it next looks at its socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before that was asked for. In a container it may be process 1 itself.
    if os.getppid() != int(os.environ[SERVER_PID]):
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
