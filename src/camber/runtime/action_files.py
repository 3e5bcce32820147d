"""What actions ask of the files, answered where the files are.

What an action has begun, to store or to read, has a number; whatever ends the action ends that too.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Protocol, TypeAlias, assert_never

from camber import limits
from camber.engine import file_ledger
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.variables import CLOUD_URL, Variables
from camber.engine.writing import write
from camber.errors import DeveloperError, RequestError
from camber.functions import file_requests as requests
from camber.functions.file_requests import FileAnswer, FileRequest
from camber.functions.file_storage import FileAccess
from camber.runtime.files import Arrival, Expected, Files, Reading

_log = logging.getLogger("camber.files")

_SOURCE = "ctx.storage"

#: Asks about files for one action.
AskFiles: TypeAlias = Callable[[FileRequest], Awaitable[FileAnswer]]


class FileSession(Protocol):
    """What one action, or one process of actions, has of the files."""

    async def ask(self, request: FileRequest) -> FileAnswer:
        """Answer a request.

        Raises:
            DeveloperError: what was asked cannot be.
        """

    async def close(self) -> None:
        """Let go of what was begun; files that were not finished are not stored."""


class ActionFiles:
    """Makes the sessions of actions. Lives on the server's event loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        files: Files,
        variables: Variables,
        is_mounted: Callable[[str], bool],
    ) -> None:
        self.engine = engine
        self.files = files
        self.variables = variables
        self.is_mounted = is_mounted

    def session(self) -> FileSession:
        """Return a new session."""
        return _Session(self)

    def access(self, transaction: Transaction, component: str) -> FileAccess:
        """Return what the files of a component are reached with in a transaction."""
        origin = self.variables.get(transaction, CLOUD_URL)
        assert origin is not None
        return FileAccess(
            transaction=transaction,
            capabilities=self.files.capabilities,
            component=component,
            origin=lambda: origin,
            # Nobody keeps what an action is answered.
            observe_time=lambda: None,
        )


class _Session:
    def __init__(self, owner: ActionFiles) -> None:
        self._owner = owner
        self._numbers = itertools.count(1)
        self._open: dict[int, Arrival | Reading] = {}
        self._is_closed = False

    async def ask(self, request: FileRequest) -> FileAnswer:
        try:
            return await self._answer(request)
        except RequestError as error:
            # The action is told as it is told of its own mistakes: it may go on without the file.
            raise DeveloperError(error.sentence, code=error.code) from error

    async def close(self) -> None:
        self._is_closed = True
        for number in list(self._open):
            try:
                await self._end(number)
            except RequestError as error:
                # The ledger has it: what is left is removed later.
                _log.warning("a file that an action has left open is not cleared up yet: %s", error)

    async def _answer(self, request: FileRequest) -> FileAnswer:
        match request:
            case requests.NewUploadUrl() | requests.UrlOf() | requests.MetadataOf():
                return self._read(request)
            case requests.DeleteFile():
                await write(
                    self._owner.engine,
                    _SOURCE,
                    lambda transaction: self._access(transaction, request).delete(request.file),
                )
                return requests.Text(None)
            case requests.BeginStore():
                return await self._begin_store(request)
            case requests.StorePiece():
                await self._arrival(request.transfer).write(request.data)
                return requests.Text(None)
            case requests.FinishStore():
                return requests.Text(await self._arrival(request.transfer).finish())
            case requests.BeginRead():
                return await self._begin_read(request)
            case requests.ReadPiece():
                return requests.Data(await self._reading(request.transfer).piece())
            case requests.EndTransfer():
                await self._end(request.transfer)
                return requests.Text(None)
            case _:
                assert_never(request)

    def _read(
        self, request: requests.NewUploadUrl | requests.UrlOf | requests.MetadataOf
    ) -> FileAnswer:
        with closing(self._owner.engine.begin(_SOURCE)) as transaction:
            access = self._access(transaction, request)
            match request:
                case requests.NewUploadUrl():
                    return requests.Text(access.upload_url())
                case requests.UrlOf():
                    return requests.Text(access.url(request.file, request.expires_s))
                case requests.MetadataOf():
                    return requests.Data(access.packed_metadata(request.file))

    def _access(
        self,
        transaction: Transaction,
        request: requests.NewUploadUrl
        | requests.UrlOf
        | requests.MetadataOf
        | requests.DeleteFile
        | requests.BeginRead,
    ) -> FileAccess:
        return self._owner.access(transaction, request.component)

    async def _begin_store(self, request: requests.BeginStore) -> FileAnswer:
        expected = Expected(content_type=request.content_type, sha256=request.sha256)
        self._check_count()
        if not self._owner.is_mounted(request.component):
            msg = (
                f"component '{request.component}' is not mounted any more, and takes no files: this action "
                "began when it was"
            )
            raise DeveloperError(msg, code="UnmountedComponent")
        arrival = await self._owner.files.arrive_from_action(request.component, expected)
        return requests.Opened(await self._enter(arrival), 0, request.content_type)

    async def _begin_read(self, request: requests.BeginRead) -> FileAnswer:
        self._check_count()
        with closing(self._owner.engine.begin(_SOURCE)) as transaction:
            entry = file_ledger.stored_entry(transaction, request.file, request.component)
        found = None if entry is None else self._owner.files.find_by_id(request.file)
        if found is None:
            return requests.Text(None)
        reading = await self._owner.files.read(found, 0, found.facts.size)
        number = await self._enter(reading)
        return requests.Opened(number, found.facts.size, found.facts.content_type)

    def _check_count(self) -> None:
        if len(self._open) >= limits.action_files_open_max:
            msg = (
                f"{len(self._open)} files are open in this action, the most at once; read each to "
                "its end before the next"
            )
            raise DeveloperError(msg, code="TooManyOpenFiles")

    async def _enter(self, begun: Arrival | Reading) -> int:
        number = next(self._numbers)
        self._open[number] = begun
        if self._is_closed:
            # The action has ended while this was begun for it.
            await self._end(number)
            raise _ended()
        return number

    def _arrival(self, number: int) -> Arrival:
        found = self._open.get(number)
        if not isinstance(found, Arrival):
            raise _ended()
        return found

    def _reading(self, number: int) -> Reading:
        found = self._open.get(number)
        if not isinstance(found, Reading):
            raise _ended()
        return found

    async def _end(self, number: int) -> None:
        match self._open.pop(number, None):
            case Arrival() as arrival:
                await arrival.abandon()
            case Reading() as reading:
                await reading.close()
            case None:
                pass


def _ended() -> DeveloperError:
    return DeveloperError("the file is not open any more", code="FileClosed")
