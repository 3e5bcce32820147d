"""A process that runs actions: many at once, on one event loop.

Calls that actions make go to the server, which answers them. A thread beside the loop tells the
server, over a socket of its own, how long the loop has stood still and in which function: a
function that blocks it cannot.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from camber import limits
from camber.engine.catalog import Catalog
from camber.engine.reading import ReadingEngine
from camber.engine.variables import Variables
from camber.errors import DeveloperError, RequestError
from camber.functions.application import Application
from camber.functions.definition import FunctionKind
from camber.functions.file_requests import FileAnswer, FileRequest
from camber.functions.logs import LogLine
from camber.host import Host, Threads
from camber.runtime import frames
from camber.runtime.actions import THREADS_MAX, ActionRunner
from camber.runtime.exchanges import ActionEnd
from camber.runtime.executor import FunctionCall
from camber.runtime.failures import FailureTexts
from camber.runtime.frames import FrameBuffer, FromExecutor, LoopStatus, ToExecutor
from camber.runtime.handles import Handles
from camber.runtime.http_actions import HttpRunner
from camber.runtime.lifespans import Lifespans
from camber.runtime.results import Failure
from camber.values.timestamp import Timestamp

_log = logging.getLogger("camber.executor")

#: The stack of a plain function's thread.
_STACK_BYTES: Final = 1024 * 1024
#: Between two reports on the loop.
_REPORT_S: Final = 0.5
#: What lifespans of mounted applications have to end in, beyond the grace of actions, in seconds.
_LAST_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a call, as every finished function has it."""

    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]


class ActionWorker(asyncio.Protocol):
    """Answers the server until it is told to stop, or the server is gone."""

    def __init__(
        self,
        *,
        engine: ReadingEngine,
        application: Application,
        texts: FailureTexts,
        handles: Handles,
        variables: Variables,
        host: Host,
    ) -> None:
        self._engine = engine
        self._variables = variables
        self._application = application
        # Stacks count as memory that is taken: hundreds of the usual ones would be all of it.
        threading.stack_size(_STACK_BYTES)
        self._threads = Threads("camber-action", THREADS_MAX)
        self._runner = ActionRunner(
            host=host,
            reading=self,
            texts=texts,
            handles=handles,
            runner=self,
            threads=self._threads,
        )
        self._http = HttpRunner(actions=self._runner, lifespans=Lifespans(host))
        #: The requests that are being answered.
        self._ends: dict[int, ActionEnd] = {}
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls: dict[int, asyncio.Future[_Answer]] = {}
        self._asked: dict[int, asyncio.Future[FileAnswer]] = {}
        self._ids = itertools.count(1)
        self._catalog_since: Timestamp = 0
        self._ended = asyncio.Event()

    async def serve(self, connection: socket.socket) -> None:
        """Run what comes, until there is nothing more to come."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        connection.setblocking(False)  # noqa: FBT003  # its own signature
        await self._loop.create_connection(lambda: self, sock=connection)
        self._http.start_lifespans(self._application)
        await self._ended.wait()

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in what the server says."""
        for body in self._buffer.feed(data):
            self._received(frames.to_executor.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        """End: without the server nobody waits for what runs."""
        del exc
        self._ended.set()

    def _send(self, message: FromExecutor) -> None:
        assert self._transport is not None
        self._transport.write(frames.frame(message))

    def _received(self, message: ToExecutor) -> None:
        match message:
            case frames.RunAction():
                self._catalog_since = message.catalog_since
                self._start(message.call.path, self._run(message))
            case frames.RunHttpAction():
                self._catalog_since = message.catalog_since
                end = self._ends[message.id] = ActionEnd(message.id, self._send)
                self._start(message.call.path, self._answer(message, end))
            case frames.Heard(id=id_) | frames.Taken(id=id_):
                if id_ in self._ends:
                    self._ends[id_].received(message)
            case frames.Called(id=id_):
                self._catalog_since = message.catalog_since
                waiting = self._calls.pop(id_, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(_Answer(message.value, message.failure, message.log_lines))
            case frames.CallRaised(id=id_):
                self._catalog_since = message.catalog_since
                waiting = self._calls.pop(id_, None)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(frames.request_error(message.error))
            case frames.CallRefused(id=id_):
                self._catalog_since = message.catalog_since
                waiting = self._calls.pop(id_, None)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(DeveloperError(message.sentence, code=message.code))
            case frames.FileAnswered(id=id_):
                asked = self._asked.pop(id_, None)
                if asked is not None and not asked.done():
                    asked.set_result(message.answer)
            case frames.FileRefused(id=id_):
                asked = self._asked.pop(id_, None)
                if asked is not None and not asked.done():
                    asked.set_exception(DeveloperError(message.sentence, code=message.code))
            case frames.Stop():
                self._stopper = asyncio.get_running_loop().create_task(self._stop(message.grace_s))
            case _:
                msg = f"a process for actions was sent {type(message).__name__}"
                raise AssertionError(msg)

    def _start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        # Named by what it runs: a loop that stands still is told by it.
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, message: frames.RunAction) -> None:
        try:
            result = await self._runner.run(
                message.call,
                self._application,
                lambda line: self._progress(message.id, line),
                lambda request: self._ask_file(message.id, request),
            )
            self._send(frames.ActionDone(id=message.id, result=result))
        except RequestError as error:
            self._raised(message.id, error)
        # Our own bug: the server tells whoever asked, and the operator reads it here.
        except Exception:  # noqa: BLE001
            _log.exception("%s met a bug", message.call.path)
            self._raised(message.id, RequestError("the server failed; its output says why"))

    async def _answer(self, message: frames.RunHttpAction, end: ActionEnd) -> None:
        try:
            result = await self._http.run(
                message.call,
                message.request,
                self._application,
                end,
                lambda line: self._progress(message.id, line),
                lambda request: self._ask_file(message.id, request),
            )
            self._send(frames.HttpDone(id=message.id, result=result))
        # As above.
        except Exception:  # noqa: BLE001
            _log.exception("%s met a bug", message.call.path)
            self._raised(message.id, RequestError("the server failed; its output says why"))
        finally:
            del self._ends[message.id]

    def _progress(self, id_: int, line: LogLine) -> None:
        progressed = frames.Progressed(id=id_, line=line)
        if threading.get_ident() == self._thread:
            # At once: what follows on the loop may be the end of the action.
            self._send(progressed)
        else:
            # Plain functions log on threads of their own.
            self._loop.call_soon_threadsafe(self._send, progressed)

    def _raised(self, id_: int, error: RequestError) -> None:
        self._send(frames.Raised(id=id_, error=frames.packed_error(error), leaving=False))

    async def _stop(self, grace_s: float) -> None:
        """Cancel what runs and end when it has ended, or when its time is up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        await self._http.lifespans.close(min(limits.lifespan_end_s_max, grace_s + _LAST_S))
        assert self._transport is not None
        # Written out before it is closed.
        self._transport.close()

    # What actions ask for.

    async def run(self, call: FunctionCall, kind: FunctionKind) -> _Answer:
        """Have the server run a function."""
        id_ = next(self._ids)
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._calls[id_] = answer
        try:
            self._send(frames.Call(id=id_, call=call, kind=kind))
            return await answer
        finally:
            self._calls.pop(id_, None)

    async def _ask_file(self, job: int, request: FileRequest) -> FileAnswer:
        id_ = next(self._ids)
        answer: asyncio.Future[FileAnswer] = asyncio.get_running_loop().create_future()
        self._asked[id_] = answer
        try:
            self._send(frames.AskFile(id=id_, job=job, request=request))
            return await answer
        finally:
            self._asked.pop(id_, None)

    @property
    def catalog(self) -> Catalog:
        """Return the tables that there are now."""
        return self._engine.catalog(self._catalog_since)

    def variable(self, name: str) -> str | None:
        """Return a deployment variable as it is now."""
        with self._engine.latest("ctx.env") as transaction:
            return self._variables.get(transaction, name)


class LoopWatch:
    """Reports how long an event loop stands still, from a thread of its own."""

    def __init__(
        self, *, host: Host, connection: socket.socket, root: Path, lost: Callable[[], None]
    ) -> None:
        self._host = host
        self._socket = connection
        self._root = str(root)
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._asked = self._host.monotonic()
        self._is_answered = True
        threading.Thread(target=self._report, name="camber-loop-watch", daemon=True).start()

    def _report(self) -> None:
        self._socket.settimeout(_REPORT_S)
        while True:
            if self._is_answered:
                self._is_answered = False
                self._asked = self._host.monotonic()
                with suppress(RuntimeError):  # the loop has ended, and the process does
                    self._loop.call_soon_threadsafe(self._answer)
            try:
                # Nothing is ever sent to us: what comes is the end of the server.
                if not self._socket.recv(1):
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            try:
                self._socket.sendall(frames.frame(self._status()))
            except OSError:
                break
        self._lost()

    def _answer(self) -> None:
        self._is_answered = True

    def _status(self) -> LoopStatus:
        still_s = 0.0 if self._is_answered else self._host.monotonic() - self._asked
        if still_s < limits.action_loop_blocked_s:
            return LoopStatus(still_s=still_s, path=None, where=None)
        task = asyncio.current_task(self._loop)
        # One that an application has started itself has a number for a name.
        name = None if task is None else task.get_name()
        path = None if name is None or name.startswith("Task-") else name
        return LoopStatus(still_s=still_s, path=path, where=self._where())

    def _where(self) -> str | None:
        """Return the line of the application's own that the loop stands in."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # documented
        for summary in reversed(traceback.extract_stack(frame)):
            if summary.filename.startswith(self._root):
                path = Path(summary.filename).relative_to(self._root).as_posix()
                return f"{path}:{summary.lineno} in {summary.name}"
        return None
