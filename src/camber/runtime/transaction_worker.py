"""A process that runs queries and mutations: one at a time, in the order in which they come."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from camber.engine import system_tables
from camber.engine.reading import ReadingEngine
from camber.engine.transaction import Transaction
from camber.errors import Interrupted, OutOfMemory, RequestError
from camber.functions.loading import Application
from camber.runtime import frames
from camber.runtime.budget import Budget, MemoryCeiling
from camber.runtime.executor import FunctionCall, MutationExecuted, QueryExecuted
from camber.runtime.frames import FrameBuffer, FromExecutor, Moment, ToExecutor
from camber.runtime.release import InProcessRelease, check_documents
from camber.runtime.transactions import TransactionRunner

_log = logging.getLogger("camber.executor")

_READ_BYTES: Final = 1024 * 1024
#: Requests between two looks at how much memory is taken.
_LOOK_REQUESTS: Final = 64


class Channel:
    """The socket to the server, which is waited at."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = FrameBuffer()

    def receive(self, *, timeout_s: float | None = None) -> list[ToExecutor] | None:
        """Return what has come, waiting for it as long as may be; None if the server is gone."""
        while True:
            self._socket.settimeout(timeout_s)
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, TimeoutError):
                return []
            except ConnectionError:
                return None
            if not data:
                return None
            bodies = self._buffer.feed(data)
            if bodies or timeout_s is not None:
                return [frames.to_executor.decode(body) for body in bodies]

    def send(self, data: bytes) -> None:
        """Send a frame.

        Raises:
            ConnectionError: the server is gone.
        """
        self._socket.settimeout(None)
        self._socket.sendall(data)


@dataclass(frozen=True, slots=True)
class LoadedApplication:
    """The one release that a process serves."""

    release: InProcessRelease

    def serving(self, transaction: Transaction) -> InProcessRelease:
        """Return the release; which one serves is recorded as read, though the server chose it."""
        transaction.depend_on_document(system_tables.RELEASES_NUMBER, system_tables.RELEASE_ID)
        return self.release

    @property
    def application(self) -> Application:
        """Return the application itself."""
        return self.release.application


class TransactionWorker:
    """Answers the server until it is told to stop, or the server is gone."""

    def __init__(
        self,
        *,
        channel: Channel,
        engine: ReadingEngine,
        runner: TransactionRunner,
        loaded: LoadedApplication,
        budget: Budget,
        memory: MemoryCeiling,
        describe: Callable[[str, Application], object],
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._runner = runner
        self._loaded = loaded
        self._budget = budget
        self._memory = memory
        self._describe = describe
        self._waiting: deque[ToExecutor] = deque()
        self._answered = 0

    def serve(self) -> None:
        """Run what comes."""
        while self._take_in():
            if self._waiting and self._answer(self._waiting.popleft()):
                return

    def _take_in(self) -> bool:
        """Take in what has come; wait for it when there is nothing to do. False: that was all."""
        messages = self._channel.receive(timeout_s=0 if self._waiting else None)
        if messages is None:
            return False
        for message in messages:
            match message:
                case frames.Stop():
                    return False
                case frames.Forget(ids=ids):
                    self._forget(frozenset(ids))
                case frames.RunMutation(ahead=news) if news is not None:
                    # Now, since the message may be taken back and those after it count on it.
                    self._engine.learn(news.epoch, news.published, news.commits)
                    self._waiting.append(message)
                case _:
                    self._waiting.append(message)
        return True

    def _forget(self, ids: frozenset[int]) -> None:
        self._waiting = deque(m for m in self._waiting if getattr(m, "id", None) not in ids)

    def _answer(self, message: ToExecutor) -> bool:
        """Run a request and answer it; return whether the process has to end."""
        match message:
            case frames.RunQuery() | frames.RunMutation():
                answer = self._transaction(message)
            case frames.RunCheck(id=id_):
                check = check_documents(
                    self._loaded.application, message.table, message.documents, message.numbers
                )
                answer = frames.CheckDone(id=id_, check=check)
            case frames.RunDescription(id=id_):
                described = self._describe(message.function, self._loaded.application)
                answer = frames.DescriptionDone(id=id_, value=described)
            case _:
                msg = f"a process for transactions was sent {type(message).__name__}"
                raise AssertionError(msg)
        try:
            data = frames.frame(answer)
        except MemoryError:
            data = frames.frame(answer := frames.Exhausted(id=message.id))
        except RequestError as error:
            data = frames.frame(answer := self._raised(message.id, error))
        self._channel.send(data)
        return isinstance(answer, frames.Exhausted) or getattr(answer, "leaving", False)

    def _transaction(self, message: frames.RunQuery | frames.RunMutation) -> FromExecutor:
        try:
            is_ahead = isinstance(message, frames.RunMutation) and message.ahead is not None
            transaction = self._begin(message.call, message.moment, is_ahead=is_ahead)
            try:
                with closing(transaction), self._budget.one_transaction():
                    executed = self._run(message, transaction)
            except Interrupted as error:
                # Outside user code, where the runner catches it: while its result was packed.
                executed = self._runner.interrupted(message.call, transaction, error)
        except (OutOfMemory, MemoryError):
            return frames.Exhausted(id=message.id)
        except RequestError as error:
            return self._raised(message.id, error)
        # Our own bug: the server tells whoever asked, and the operator reads it here.
        except Exception:  # noqa: BLE001
            _log.exception("%s met a bug", message.call.path)
            return self._raised(message.id, RequestError("the server failed; its output says why"))
        if isinstance(executed, QueryExecuted):
            return frames.query_done(message.id, executed, leaving=self._is_leaving())
        return frames.mutation_done(message.id, executed, leaving=self._is_leaving())

    def _raised(self, id_: int, error: RequestError) -> frames.Raised:
        return frames.Raised(id=id_, error=frames.packed_error(error), leaving=self._is_leaving())

    def _run(
        self, message: frames.RunQuery | frames.RunMutation, transaction: Transaction
    ) -> QueryExecuted | MutationExecuted:
        if isinstance(message, frames.RunQuery):
            return self._runner.query(message.call, transaction)
        return self._runner.mutation(message.call, message.session, transaction)

    def _begin(self, call: FunctionCall, moment: Moment, *, is_ahead: bool) -> Transaction:
        return self._engine.begin(
            call.path,
            ts=moment.ts,
            catalog_since=moment.catalog_since,
            now_ns=moment.now_ns,
            is_ahead=is_ahead,
        )

    def _is_leaving(self) -> bool:
        # After an interruption anything may have been left half done, our own books included.
        if self._budget.is_spent:
            return True
        self._answered += 1
        return self._answered % _LOOK_REQUESTS == 0 and self._memory.is_near
