"""A process that runs queries and mutations: one at a time, in the order in which they come."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

from camber.engine import system_tables
from camber.engine.reading import ReadingEngine
from camber.engine.transaction import Transaction
from camber.errors import Interrupted, OutOfMemory, RequestError
from camber.functions.application import Application
from camber.runtime import frames
from camber.runtime.budget import Budget, MemoryCeiling
from camber.runtime.executor import FunctionCall, MutationExecuted, QueryExecuted
from camber.runtime.frames import FrameBuffer, FromExecutor, Moment, ToExecutor
from camber.runtime.release import InProcessRelease, check_documents
from camber.runtime.transactions import TransactionRunner

_log = logging.getLogger("camber.executor")

_READ_BYTES: Final = 1024 * 1024
#: Between two looks at the socket while there is something to run, in seconds.
_LOOK_S: Final = 0.001
#: For how long waiting transactions share a snapshot of the store, which keeps its log from being
#: cleared, in seconds.
_SHARE_S: Final = 0.005
#: Requests between two looks at how much memory is taken.
_LOOK_REQUESTS: Final = 64


class SharedSnapshots(Protocol):
    """A store whose snapshots share what there is to share, until that is ended."""

    def end(self, *, older_than_s: float = 0.0) -> None:
        """End what snapshots share, if it is older and none of them is open."""


class Channel:
    """The socket to the server, which is waited at."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(True)  # noqa: FBT003  # its own signature
        self._buffer = FrameBuffer()
        self._looked_s = 0.0

    def receive(self) -> list[ToExecutor] | None:
        """Wait for what comes and return it; None if the server is gone."""
        found: list[ToExecutor] | None = []
        while found is not None and not found:
            found = self._read(0)
        return found

    def poll(self) -> list[ToExecutor] | None:
        """Return what has come, without waiting; it is looked at once a millisecond at most."""
        if perf_counter() - self._looked_s < _LOOK_S:
            return []
        return self._read(socket.MSG_DONTWAIT)

    def _read(self, flags: int) -> list[ToExecutor] | None:
        try:
            data = self._socket.recv(_READ_BYTES, flags)
        except BlockingIOError:
            data = None
        except ConnectionError:
            return None
        self._looked_s = perf_counter()
        if data is None:
            return []
        if not data:
            return None
        return [frames.to_executor.decode(body) for body in self._buffer.feed(data)]

    def send(self, data: bytes) -> None:
        """Send a frame.

        Raises:
            ConnectionError: the server is gone.
        """
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
        snapshots: SharedSnapshots,
        runner: TransactionRunner,
        loaded: LoadedApplication,
        budget: Budget,
        memory: MemoryCeiling,
        describe: Callable[[str, Application], object],
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._snapshots = snapshots
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
        if self._waiting:
            messages = self._channel.poll()
            self._snapshots.end(older_than_s=_SHARE_S)
        else:
            self._rest()
            messages = self._channel.receive()
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

    def _rest(self) -> None:
        self._budget.rest()
        self._snapshots.end()

    def _forget(self, ids: frozenset[int]) -> None:
        self._waiting = deque(m for m in self._waiting if getattr(m, "id", None) not in ids)

    def _answer(self, message: ToExecutor) -> bool:
        """Run a request and answer it; return whether the process has to end."""
        match message:
            case frames.RunQuery() | frames.RunMutation():
                answer = self._transaction(message)
            case frames.RunExplanation():
                answer = self._explanation(message)
            case frames.RunCheck(id=id_):
                self._rest()
                check = check_documents(
                    self._loaded.application, message.table, message.documents, message.numbers
                )
                answer = frames.CheckDone(id=id_, check=check)
            case frames.RunDescription(id=id_):
                self._rest()
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
                try:
                    with self._budget:
                        executed = self._run(message, transaction)
                finally:
                    transaction.close()
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
        executed = self._runner.noted(executed)
        if isinstance(executed, QueryExecuted):
            return frames.query_done(message.id, executed, leaving=self._is_leaving())
        return frames.mutation_done(message.id, executed, leaving=self._is_leaving())

    def _explanation(self, message: frames.RunExplanation) -> FromExecutor:
        call = message.call
        try:
            with closing(self._begin(call, message.moment, is_ahead=False)) as transaction:
                with self._budget:
                    looked_at = self._runner.look(call, message.kind, transaction)
                explained = looked_at.explained()
        except Interrupted as error:
            # Outside user code, where the runner catches it.
            return self._raised(message.id, RequestError(error.sentence, code=error.code))
        except (OutOfMemory, MemoryError):
            return frames.Exhausted(id=message.id)
        except RequestError as error:
            return self._raised(message.id, error)
        except Exception:  # noqa: BLE001  # as of a transaction
            _log.exception("the explanation of %s met a bug", call.path)
            return self._raised(message.id, RequestError("the server failed; its output says why"))
        return frames.ExplanationDone(
            id=message.id, explained=explained, leaving=self._is_leaving()
        )

    def _raised(self, id_: int, error: RequestError) -> frames.Raised:
        return frames.Raised(id=id_, error=frames.packed_error(error), leaving=self._is_leaving())

    def _run(
        self, message: frames.RunQuery | frames.RunMutation, transaction: Transaction
    ) -> QueryExecuted | MutationExecuted:
        if isinstance(message, frames.RunQuery):
            return self._runner.query(message.call, transaction)
        return self._runner.mutation(message.call, message.record_id, transaction)

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
