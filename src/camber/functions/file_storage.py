"""`ctx.storage`: files, by the kind of function (semantics 8).

In queries and mutations a file's record is read and written within the transaction, like any
document. Actions ask the server, which has the bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import msgspec

from camber import limits
from camber.engine import file_ledger, system_tables
from camber.engine.transaction import Transaction
from camber.errors import DeveloperError
from camber.files.capabilities import Capabilities, UploadTicket
from camber.functions import file_requests as requests
from camber.functions.database import DatabaseAccess, DatabaseReader
from camber.functions.file_requests import FileAnswer, FileRequest
from camber.functions.system_documents import SYSTEM_DOCUMENTS, StoredFile
from camber.schema.annotations import Id
from camber.schema.plan import TableNames
from camber.values.ids import InvalidId, decode_id

R = TypeVar("R")

_API: Final = "/api/storage"
_SHA256_BYTES: Final = 32


class FileAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of one component in one transaction are reached with."""

    transaction: Transaction
    capabilities: Capabilities
    component: str
    #: The origin that clients see; asked for when it is needed, since that is a read.
    origin: Callable[[], str]
    #: Called when a result depends on the clock.
    observe_time: Callable[[], object]
    #: What the rules of `_storage` are asked with, where there may be some.
    ruled: DatabaseAccess | None = None

    def url(self, file: str, expires_s: float | None) -> str | None:
        """Return a file's URL, or None if there is no such file."""
        entry = self._entry(file)
        if entry is None:
            return None
        if expires_s is None:
            return f"{self.origin()}{_API}/{entry.url}"
        self.observe_time()
        end_s = _end_s(self.transaction.now_ns // 10**9, expires_s)
        return f"{self.origin()}{_API}/{file}?{self.capabilities.url_query(file, end_s)}"

    def upload_url(self) -> str:
        """Return a URL to which one file may be uploaded."""
        transaction = self.transaction
        # Timestamps are ahead of a clock that was set back, and a right is over by either.
        now_ns = max(transaction.now_ns, transaction.begin_ts)
        ticket = UploadTicket(
            internal=transaction.new_internal_id(),
            component=self.component,
            expires_ms=now_ns // 10**6 + int(limits.upload_url_s * 1000),
        )
        return f"{self.origin()}{_API}/upload?token={self.capabilities.upload_token(ticket)}"

    def packed_metadata(self, file: str) -> bytes | None:
        """Return the packed document of a file, or None if there is no such file."""
        return None if self._entry(file) is None else self.transaction.get(file)

    def delete(self, file: str) -> None:
        """Delete a file.

        Raises:
            DeveloperError: there is no such file (StorageIdNotFound).
            AccessDenied: the rules of `_storage` do not allow it.
        """
        entry = self._entry(file)
        if entry is None:
            msg = f"there is no file {file}: it was deleted, or never uploaded"
            raise DeveloperError(msg, code="StorageIdNotFound")
        if self.ruled is not None and self.ruled.rules is not None:
            everything = DatabaseReader(self.ruled).unrestricted.system
            self.ruled.rules.check_delete(system_tables.STORAGE, lambda: everything.get(file))
        file_ledger.leaving(self.transaction, entry)

    def _entry(self, file: str) -> Any:
        """Return what is kept of a file that may be read, or None if there is none such."""
        entry = file_ledger.stored_entry(self.transaction, checked_id(file), self.component)
        if entry is None or self.ruled is None:
            return entry
        return None if DatabaseReader(self.ruled).system.get(file) is None else entry


class StorageReader:
    """Files; `ctx.storage` of a query."""

    def __init__(self, access: FileAccess) -> None:
        self._access = access

    def get_url(self, id: str, /, *, expires: timedelta | float | None = None) -> str | None:
        """Return the URL at which a file is served, or None if there is no such file.

        It is good for as long as the file is there, for whoever has it. With `expires`, in seconds
        unless it is a `timedelta`, it is another one, good for no longer than that, and for nine
        tenths of that at least: within the rest, equal calls return equal URLs.

        Raises:
            DeveloperError: `id` is not the id of a file, or `expires` no such time.
        """
        return self._access.url(id, seconds_of(expires))

    def get_metadata(self, id: str, /) -> StoredFile | None:
        """Return what is known of a file, or None if there is no such file.

        Raises:
            DeveloperError: `id` is not the id of a file.
        """
        return stored_file(self._access.packed_metadata(id), self._access.transaction)


class StorageWriter(StorageReader):
    """Files; `ctx.storage` of a mutation."""

    def generate_upload_url(self) -> str:
        """Return a URL to which a client may POST one file, once, within an hour."""
        return self._access.upload_url()

    def delete(self, id: str, /) -> None:
        """Delete a file, if this mutation commits.

        Raises:
            DeveloperError: there is no such file (code StorageIdNotFound).
        """
        self._access.delete(id)


class FileCalls(Protocol):
    """Asks the server about files, for an action."""

    @property
    def component(self) -> str:
        """Return whose files they are."""

    @property
    def tables(self) -> TableNames:
        """Return the tables that there are."""

    def ask(self, request: FileRequest, /) -> Awaitable[FileAnswer]:
        """Return what the server answers.

        Raises:
            DeveloperError: what was asked cannot be.
        """

    def block(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Wait for a call on a thread that is not the event loop's."""


class _Transfers:
    """The steps in which an action asks for files."""

    def __init__(self, calls: FileCalls) -> None:
        self.calls = calls

    async def text(self, request: FileRequest) -> str | None:
        answer = await self.calls.ask(request)
        assert isinstance(answer, requests.Text)
        return answer.value

    async def upload_url(self) -> str:
        url = await self.text(requests.NewUploadUrl(component=self.calls.component))
        assert url is not None
        return url

    async def url(self, file: str, expires_s: float | None) -> str | None:
        return await self.text(
            requests.UrlOf(component=self.calls.component, file=file, expires_s=expires_s)
        )

    async def metadata(self, file: str) -> StoredFile | None:
        answer = await self.calls.ask(
            requests.MetadataOf(component=self.calls.component, file=file)
        )
        assert isinstance(answer, requests.Data)
        return stored_file(answer.value, self.calls.tables)

    async def delete(self, file: str) -> None:
        await self.calls.ask(requests.DeleteFile(component=self.calls.component, file=file))

    async def begin_store(self, content_type: str | None, sha256: str | None) -> int:
        opened = await self.calls.ask(
            requests.BeginStore(
                component=self.calls.component,
                content_type=content_type,
                sha256=None if sha256 is None else digest_of(sha256),
            )
        )
        assert isinstance(opened, requests.Opened)
        return opened.transfer

    async def send(self, transfer: int, part: object) -> None:
        for piece in pieces(part):
            await self.calls.ask(requests.StorePiece(transfer=transfer, data=piece))

    async def finish(self, transfer: int) -> Id[StoredFile]:
        file = await self.text(requests.FinishStore(transfer=transfer))
        assert file is not None
        return Id(file)

    async def begin_read(self, file: str) -> requests.Opened | None:
        opened = await self.calls.ask(requests.BeginRead(component=self.calls.component, file=file))
        return opened if isinstance(opened, requests.Opened) else None

    async def piece(self, transfer: int) -> bytes:
        answer = await self.calls.ask(requests.ReadPiece(transfer=transfer))
        assert isinstance(answer, requests.Data)
        assert answer.value is not None
        return answer.value

    async def end(self, transfer: int) -> None:
        await self.calls.ask(requests.EndTransfer(transfer=transfer))


class ActionStorage:
    """Files and their content; `ctx.storage` of an action."""

    def __init__(self, calls: FileCalls) -> None:
        self._transfers = _Transfers(calls)

    async def generate_upload_url(self) -> str:
        """Return a URL to which a client may POST one file, once, within an hour."""
        return await self._transfers.upload_url()

    async def get_url(self, id: str, /, *, expires: timedelta | float | None = None) -> str | None:
        """Return the URL at which a file is served; see `StorageReader.get_url`."""
        return await self._transfers.url(checked_id(id), seconds_of(expires))

    async def get_metadata(self, id: str, /) -> StoredFile | None:
        """Return what is known of a file, or None if there is no such file."""
        return await self._transfers.metadata(checked_id(id))

    async def delete(self, id: str, /) -> None:
        """Delete a file.

        Raises:
            DeveloperError: there is no such file (code StorageIdNotFound).
        """
        await self._transfers.delete(checked_id(id))

    async def store(
        self,
        data: bytes | AsyncIterable[bytes],
        *,
        content_type: str | None = None,
        sha256: str | None = None,
    ) -> Id[StoredFile]:
        """Store a file and return its id; a stream of any length takes little memory.

        `sha256`, in base64 or hex, is what the content must have.

        Raises:
            DeveloperError: it has another (code Sha256Mismatch), is too large (FileTooLarge), or
                there is no room for it (StorageFull).
        """
        transfers = self._transfers
        transfer = await transfers.begin_store(content_type, sha256)
        try:
            if isinstance(data, AsyncIterable):
                async for part in data:
                    await transfers.send(transfer, part)
            else:
                await transfers.send(transfer, data)
            return await transfers.finish(transfer)
        finally:
            await transfers.end(transfer)

    async def get(self, id: str, /) -> StoredBlob | None:
        """Return a file's content, to be read, or None if there is no such file.

        Raises:
            DeveloperError: `id` is not the id of a file.
        """
        opened = await self._transfers.begin_read(checked_id(id))
        return None if opened is None else StoredBlob(self._transfers, opened)


class StoredBlob:
    """The content of a file: `await blob.read()`, or `async for piece in blob`. Read once."""

    def __init__(self, transfers: _Transfers, opened: requests.Opened) -> None:
        self._reading = _Reading(transfers, opened.transfer)
        #: Bytes of the whole.
        self.size = opened.size
        #: Its media type, if one was given.
        self.content_type = opened.content_type

    async def read(self) -> bytes:
        """Return all of it."""
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it piece by piece.

        Raises:
            DeveloperError: it has been read, or cannot be.
        """
        self._reading.begin()
        try:
            while piece := await self._reading.piece():
                yield piece
        finally:
            await self._reading.end()


class _Reading:
    """The reading of one content, once."""

    def __init__(self, transfers: _Transfers, transfer: int) -> None:
        self._transfers = transfers
        self._transfer = transfer
        self._has_begun = False

    def begin(self) -> None:
        if self._has_begun:
            msg = "this content has been read already; get the file again to read it again"
            raise DeveloperError(msg, code="FileAlreadyRead")
        self._has_begun = True

    async def piece(self) -> bytes:
        return await self._transfers.piece(self._transfer)

    async def end(self) -> None:
        await self._transfers.end(self._transfer)


class SyncActionStorage:
    """Files and their content; `ctx.storage` of a plain `def` action, whose thread waits."""

    def __init__(self, calls: FileCalls) -> None:
        self._transfers = _Transfers(calls)
        self._block = calls.block

    def generate_upload_url(self) -> str:
        """Return a URL to which a client may POST one file, once, within an hour."""
        return self._block(self._transfers.upload_url())

    def get_url(self, id: str, /, *, expires: timedelta | float | None = None) -> str | None:
        """Return the URL at which a file is served; see `StorageReader.get_url`."""
        return self._block(self._transfers.url(checked_id(id), seconds_of(expires)))

    def get_metadata(self, id: str, /) -> StoredFile | None:
        """Return what is known of a file, or None if there is no such file."""
        return self._block(self._transfers.metadata(checked_id(id)))

    def delete(self, id: str, /) -> None:
        """Delete a file; see `ActionStorage.delete`."""
        self._block(self._transfers.delete(checked_id(id)))

    def store(
        self,
        data: bytes | Iterable[bytes],
        *,
        content_type: str | None = None,
        sha256: str | None = None,
    ) -> Id[StoredFile]:
        """Store a file and return its id; see `ActionStorage.store`."""
        transfer = self._block(self._transfers.begin_store(content_type, sha256))
        parts = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        try:
            for part in parts:
                self._block(self._transfers.send(transfer, part))
            return self._block(self._transfers.finish(transfer))
        finally:
            self._block(self._transfers.end(transfer))

    def get(self, id: str, /) -> SyncStoredBlob | None:
        """Return a file's content, to be read, or None if there is no such file."""
        opened = self._block(self._transfers.begin_read(checked_id(id)))
        return None if opened is None else SyncStoredBlob(self._transfers, opened)


class SyncStoredBlob:
    """The content of a file: `blob.read()`, or `for piece in blob`. Read once."""

    def __init__(self, transfers: _Transfers, opened: requests.Opened) -> None:
        self._reading = _Reading(transfers, opened.transfer)
        self._block = transfers.calls.block
        self.size = opened.size
        self.content_type = opened.content_type

    def read(self) -> bytes:
        """Return all of it."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        """Yield it piece by piece.

        Raises:
            DeveloperError: it has been read, or cannot be.
        """
        self._reading.begin()
        try:
            while piece := self._block(self._reading.piece()):
                yield piece
        finally:
            self._block(self._reading.end())


def checked_id(id_: object) -> str:
    """Return the id of a file, whether or not there is one.

    Raises:
        DeveloperError: it is no such id.
    """
    if not isinstance(id_, str):
        msg = f"the id of a file is a string, not {type(id_).__name__}"
        raise DeveloperError(msg, code="InvalidArgument")
    try:
        number = decode_id(id_).table_number
    except InvalidId as error:
        raise DeveloperError(error.sentence, code="InvalidArgument") from None
    if number != system_tables.STORAGE_NUMBER:
        msg = f"{id_} is not the id of a file, but one of another table"
        raise DeveloperError(msg, code="InvalidArgument")
    return id_


def seconds_of(expires: timedelta | float | None) -> float | None:
    """Return a time in seconds.

    Raises:
        DeveloperError: it is no time that a URL can be good for.
    """
    if expires is None:
        return None
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        msg = f"expires is in seconds, or a timedelta, not {type(seconds).__name__}"
        raise DeveloperError(msg, code="InvalidArgument")
    if not 1 <= seconds <= limits.file_url_s_max:
        msg = (
            f"expires is {seconds} s; a URL may be good for 1 to {limits.file_url_s_max:.0f} s. "
            "Leave it out for one that stays"
        )
        raise DeveloperError(msg, code="InvalidArgument")
    return float(seconds)


def stored_file(packed: bytes | None, tables: TableNames) -> StoredFile | None:
    """Return the document of a file as user code sees it."""
    if packed is None:
        return None
    found = SYSTEM_DOCUMENTS[system_tables.STORAGE].decode_document(packed, tables)
    assert isinstance(found, StoredFile)
    return found


def digest_of(sha256: str) -> bytes:
    """Return the bytes of a SHA-256 in base64 or hex.

    Raises:
        DeveloperError: it is none.
    """
    try:
        is_hex = len(sha256) == 2 * _SHA256_BYTES
        digest = bytes.fromhex(sha256) if is_hex else base64.b64decode(sha256, validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != _SHA256_BYTES:
        msg = f"{sha256!r} is no SHA-256 in base64 or hex"
        raise DeveloperError(msg, code="InvalidArgument")
    return digest


def pieces(data: object) -> Iterator[bytes]:
    """Yield bytes in pieces of a bounded size.

    Raises:
        DeveloperError: they are no bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        msg = f"a file consists of bytes, not {type(data).__name__}"
        raise DeveloperError(msg, code="InvalidArgument")
    with memoryview(data).cast("B") as view:
        for at in range(0, len(view), limits.file_piece_bytes):
            yield bytes(view[at : at + limits.file_piece_bytes])


def _end_s(now_s: int, expires_s: float) -> int:
    """Return when a URL ends: rounded down, so that equal calls within a while return equal ones."""
    step = max(1, int(expires_s / 10))
    return int(now_s + expires_s) // step * step
