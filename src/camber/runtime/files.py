"""Files: arriving, read, and their content removed once nobody has them any more.

A file's content goes to its place in pieces, on threads that may wait; its record is made by one
commit when all of it is there and durable. What a mutation deletes is committed first, and then
removed: whatever is killed in between, the ledger (`engine.file_ledger`) says what is left to do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

from camber import limits
from camber.engine import file_ledger, system_tables
from camber.engine.engine import Engine
from camber.engine.file_ledger import BlobState, FileFacts, LedgerEntry
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import (
    AuthenticationFailed,
    BadRequest,
    ErrorKind,
    Overloaded,
    RequestError,
    StorageFailed,
    StorageFull,
)
from camber.files.blobs import BlobReader, BlobStore, BlobWriter
from camber.files.capabilities import Capabilities, UploadTicket, ticket_expired
from camber.host import Worker
from camber.storage.store import Commit, DocumentChange
from camber.values.paths import is_within

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("camber.files")

_SOURCE: Final = "files"
#: Threads that wait for disks and buckets.
_THREADS: Final = 4
#: Between two looks for what is left to remove, in seconds, if nothing is heard of before.
_LOOK_S: Final = 60.0
#: Between two attempts at what could not be removed.
_AGAIN_S: Final = 10.0
#: A media type (RFC 9110 8.3.1), and parameters in what letters a header may have.
_CONTENT_TYPE: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*;[\t\x20-\x7e]*)?"
)


class FileTooLarge(RequestError):
    """A file that is larger than files may be."""

    code = "FileTooLarge"
    kind = ErrorKind.PAYLOAD_TOO_LARGE


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How large a file may be, and all of them together; None for no bound, in bytes."""

    file_bytes_max: int = limits.file_bytes_max
    all_bytes_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What somebody says of a file before it comes. `size` is in bytes."""

    content_type: str | None = None
    sha256: bytes | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtFile:
    """What an import says of a file beside its content.

    What its id is made of, whose it is, and its URL's UUID.
    """

    internal: bytes
    component: str
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledFile:
    """A blob that is whole and durable, and waits for the commit that makes it a file."""

    entry: LedgerEntry
    facts: FileFacts
    creation_time: float | None

    def enter(self, transaction: Transaction) -> None:
        """Make it a file by that commit."""
        file_ledger.stored(transaction, self.entry, self.facts, creation_time=self.creation_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFile:
    """A file that can be read."""

    id: str
    component: str
    key: str
    facts: FileFacts


def _claim(transaction: Transaction, entry: LedgerEntry) -> None:
    """Enter a blob that is going to be written, unless its ticket has been used."""
    there = file_ledger.entry_of(transaction, entry.internal)
    if there is None:
        if entry.ticket_ms and entry.is_over(transaction):
            # It may have been used, and that be forgotten.
            raise ticket_expired()
        file_ledger.arriving(transaction, entry)
    elif there.was_stored:
        msg = "the upload URL has been used: it is good for one file. Ask for a new one"
        raise AuthenticationFailed(msg, code="StorageTokenUsed")
    else:
        msg = "another upload to this URL is on its way; it is good for one file"
        raise RequestError(msg, code="StorageTokenInUse", kind=ErrorKind.CONFLICT)


def _claim_for_import(transaction: Transaction, entry: LedgerEntry) -> None:
    """Enter a blob of a file that was here before, perhaps, and has been removed."""
    there = file_ledger.entry_of(transaction, entry.internal)
    if there is not None and there.state is not BlobState.SPENT:
        msg = f"the file {entry.file} is on its way or is being removed; try again"
        raise RequestError(msg, code="FileBusy", kind=ErrorKind.CONFLICT)
    file_ledger.arriving(transaction, entry)


class Files:
    """The files of one deployment. Lives on the event loop; `open` it once, then close it."""

    def __init__(
        self,
        *,
        engine: Engine,
        blobs: BlobStore,
        capabilities: Capabilities,
        bounds: FileLimits | None = None,
    ) -> None:
        self._engine = engine
        self._host = engine.host
        self._blobs = blobs
        self.capabilities = capabilities
        self._bounds = bounds or FileLimits()
        self._threads = _Threads(
            [_Thread(self._host.worker(f"camber-files-{number}")) for number in range(_THREADS)]
        )
        #: What arrives, by the key of its blob.
        self._arrivals: dict[str, Arrival] = {}
        #: Bytes of blobs that are whole, and wait for the commit of an import; by key.
        self._settled: dict[str, int] = {}
        #: Bytes of blobs that are there, if there is a bound on them.
        self._there = 0
        #: Those who need the content of files that may be deleted meanwhile.
        self._keepers = 0
        self._stirred = asyncio.Event()
        self._removing: asyncio.Task[None] | None = None
        self._abandoning: set[asyncio.Task[str | None]] = set()
        self._unhear = engine.on_publish(self._published)

    async def open(self) -> None:
        """Begin to remove what is left over: what was arriving in the last process, too."""
        if self._bounds.all_bytes_max is not None:
            with closing(self._engine.begin(_SOURCE)) as transaction:
                counted = self._there
                there = await asyncio.to_thread(file_ledger.bytes_there, transaction)
            # What has been committed meanwhile is counted already.
            self._there += there - counted
        self._removing = self._host.spawn("files removed", self._remove_again_and_again())

    async def try_place(self) -> None:
        """Ask the place for blobs something, and say in the output what is wrong with it.

        Otherwise the first to hear of a bucket that is misspelt would be whoever uploads a file.
        """
        key = self._host.random_bytes(16).hex()
        try:
            with self._threads.pick() as thread:
                await thread.run(self._blobs.remove, key)
        except StorageFailed:
            _log.error("no files can be stored or read before that is mended")

    async def close(self) -> None:
        """End what arrives, and the threads."""
        self._unhear()
        for arrival in list(self._arrivals.values()):
            self.abandon_soon(arrival)
        await asyncio.gather(*self._abandoning, return_exceptions=True)
        if self._removing is not None:
            self._removing.cancel()
            await asyncio.gather(self._removing, return_exceptions=True)
        await asyncio.to_thread(self._threads.close)

    # Arriving.

    async def arrive(self, ticket: UploadTicket, expected: Expected) -> Arrival:
        """Begin to take a file in by a right to upload, which is good for one.

        Raises:
            RequestError: the right has been used (StorageTokenUsed) or is being used
                (StorageTokenInUse), or what is expected cannot be.
        """
        return await self._arrive(
            ticket.internal, ticket.component, float(ticket.expires_ms), expected
        )

    async def arrive_from_action(self, component: str, expected: Expected) -> Arrival:
        """Begin to take in a file of an action.

        Raises:
            RequestError: what is expected cannot be.
        """
        with closing(self._engine.begin(_SOURCE)) as transaction:
            internal = transaction.new_internal_id()
        return await self._arrive(internal, component, 0.0, expected)

    async def arrive_from_import(self, brought: BroughtFile, expected: Expected) -> Arrival | None:
        """Begin to take in a file of an import, or return None if the same one is there already.

        Raises:
            RequestError: another file has its id (FileIdTaken), or its content is being removed.
        """
        with closing(self._engine.begin(_SOURCE)) as transaction:
            there = file_ledger.entry_of(transaction, brought.internal)
            if there is not None and there.state is BlobState.STORED:
                facts = file_ledger.facts_of(transaction, there.file)
                assert facts is not None
                is_same = expected.sha256 is None or facts.sha256 == _base64(expected.sha256)
                if is_same and there.component == brought.component:
                    return None
                msg = f"there is another file with the id {there.file}: delete it first"
                raise BadRequest(msg, code="FileIdTaken")
            of_url = None if brought.url is None else file_ledger.entry_at(transaction, brought.url)
            is_free = brought.url is not None and of_url is None
        return await self._arrive(
            brought.internal,
            brought.component,
            0.0 if there is None else there.ticket_ms,
            expected,
            url=brought.url if is_free else None,
            claim=_claim_for_import,
        )

    async def _arrive(
        self,
        internal: bytes,
        component: str,
        ticket_ms: float,
        expected: Expected,
        *,
        url: str | None = None,
        claim: Callable[[Transaction, LedgerEntry], None] = _claim,
    ) -> Arrival:
        check_content_type(expected.content_type)
        self.check_size(expected.size or 0)
        self.check_room(expected.size or 0)
        if len(self._arrivals) >= limits.uploads_in_flight_max:
            msg = (
                f"{len(self._arrivals)} files are on their way already, the most at once; try again"
            )
            raise Overloaded(msg, code="TooManyUploads")
        entry = LedgerEntry(
            internal=internal,
            state=BlobState.ARRIVING,
            key=self._host.random_bytes(16).hex(),
            url=url or str(UUID(bytes=self._host.random_bytes(16), version=4)),
            component=component,
            ticket_ms=ticket_ms,
        )
        arrival = Arrival(self, entry, expected, self._threads.pick())
        self._arrivals[arrival.key] = arrival
        try:
            await write(self._engine, _SOURCE, lambda transaction: claim(transaction, entry))
        except BaseException:
            # Whoever is cancelled meanwhile may have claimed it.
            self.abandon_soon(arrival)
            raise
        return arrival

    def check_size(self, size: int) -> None:
        """Raise if a file of this size cannot be stored.

        Raises:
            FileTooLarge: it is too large.
        """
        if size > self._bounds.file_bytes_max:
            msg = (
                f"the file has more than {self._bounds.file_bytes_max} bytes, the most for one "
                "file of this deployment (--file-mib)"
            )
            raise FileTooLarge(msg)

    def check_room(self, more: int) -> None:
        """Raise if there is no room for so many bytes beside those that are there and on their way.

        Raises:
            StorageFull: there is not (code FileQuotaExceeded).
        """
        most = self._bounds.all_bytes_max
        if most is not None and self._there + self.arriving_bytes + more > most:
            msg = (
                f"all files of this deployment together may have {most} bytes (--files-mib), and "
                "there is no room for this one: delete others first"
            )
            raise StorageFull(msg, code="FileQuotaExceeded")

    @property
    def arriving_bytes(self) -> int:
        """Return how many bytes are on their way and counted among no files yet."""
        arriving = sum(arrival.bytes_beside for arrival in self._arrivals.values())
        return arriving + sum(self._settled.values())

    def begin_blob(self, entry: LedgerEntry) -> BlobWriter:
        """Begin the blob of an entry. Blocking."""
        return self._blobs.write(entry.key)

    def remove_blob(self, entry: LedgerEntry) -> None:
        """Remove the blob of an entry. Blocking."""
        self._blobs.remove(entry.key)

    async def store(self, entry: LedgerEntry, facts: FileFacts) -> None:
        """Make a file of a blob that is whole."""
        await write(
            self._engine,
            _SOURCE,
            lambda transaction: file_ledger.stored(transaction, entry, facts),
        )

    async def forget(self, entry: LedgerEntry) -> None:
        """Forget a blob of which nothing is left; its ticket is good for another attempt."""
        await write(
            self._engine, _SOURCE, lambda transaction: file_ledger.removed(transaction, entry)
        )

    async def give_up(self, entry: LedgerEntry) -> bool:
        """Have it that a blob on its way will be no file; False if it is one by now."""

        def change(transaction: Transaction) -> bool:
            current = file_ledger.entry_of(transaction, entry.internal)
            if current is None or current.key != entry.key:
                # Never claimed: the ticket is somebody else's.
                return True
            if current.state is BlobState.ARRIVING:
                file_ledger.leaving(transaction, current)
            return current.state is not BlobState.STORED

        self._settled.pop(entry.key, None)
        return await write(self._engine, _SOURCE, change)

    def settle(self, entry: LedgerEntry, facts: FileFacts) -> None:
        """Note that a blob waits for the commit of an import."""
        self._settled[entry.key] = facts.size

    def entered(self, settled: Iterable[SettledFile]) -> None:
        """Note that a commit has made files of settled blobs."""
        for file in settled:
            self._settled.pop(file.entry.key, None)

    def blob(self, entry: LedgerEntry, size: int) -> BlobReader:
        """Return the content of a file, to be read by whoever waits for it. Blocking."""
        return self._blobs.read(entry.key, 0, size)

    def arrived(self, arrival: Arrival) -> None:
        """Forget an arrival that has ended."""
        self._arrivals.pop(arrival.key, None)

    def abandon_soon(self, arrival: Arrival) -> None:
        """Abandon an arrival for who cannot wait for it."""
        task = self._host.spawn("abandon an upload", arrival.abandon())
        self._abandoning.add(task)
        task.add_done_callback(self._abandoned)

    def _abandoned(self, task: asyncio.Task[str | None]) -> None:
        self._abandoning.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The ledger has it: what is left is removed later.
            _log.warning("an upload that broke off is not cleared up yet: %s", error)

    async def abandon_below(self, component: str) -> None:
        """Abandon all that arrives for a component, or for what was mounted in it."""
        for arrival in list(self._arrivals.values()):
            if is_within(arrival.component, component):
                await arrival.abandon()

    # Reading.

    def find(self, url: str) -> ServedFile | None:
        """Return the file that is served by a URL's UUID, or None."""
        with closing(self._engine.begin(_SOURCE)) as transaction:
            return _served(transaction, file_ledger.entry_at(transaction, url))

    def find_by_id(self, file: str) -> ServedFile | None:
        """Return the file with this id, whose it ever is, or None."""
        with closing(self._engine.begin(_SOURCE)) as transaction:
            entry = file_ledger.entry_of(transaction, file_ledger.internal_of(file))
            return _served(transaction, entry)

    async def read(self, file: ServedFile, start: int, end: int) -> Reading:
        """Begin to read bytes `start` up to `end`, which the file has.

        Raises:
            StorageFailed: its content is not there, or cannot be read.
        """
        thread = self._threads.pick()
        try:
            reader = await thread.run(self._blobs.read, file.key, start, end)
        except BaseException:
            thread.let_go()
            raise
        return Reading(reader, thread)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Remove no content within the block: a snapshot may speak of files that are deleted."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            self._stirred.set()

    # Removing.

    def _published(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for change in commit.changes:
                if change.table == system_tables.FILE_LEDGER_NUMBER:
                    self._stirred.set()
                    if self._bounds.all_bytes_max is not None:
                        self._count(change)

    def _count(self, change: DocumentChange) -> None:
        """Count the bytes of a blob that a commit has made part of a file, or has seen removed.

        Here, and by nobody who commits: whoever does may be cancelled, and never hear of it.
        """
        before, after = (
            None if packed is None else file_ledger.unpacked_entry(packed)
            for packed in (change.before, change.after)
        )
        self._there += (0 if after is None else after.bytes_there) - (
            0 if before is None else before.bytes_there
        )
        if after is not None and after.bytes_there:
            arrival = self._arrivals.get(after.key)
            if arrival is not None:
                arrival.bytes_beside = 0
            self._settled.pop(after.key, None)

    async def _remove_again_and_again(self) -> None:
        while True:
            self._stirred.clear()
            try:
                while not self._keepers and await self._remove_some():
                    pass
            # A bucket that is away today is no reason to keep everything tomorrow.
            except RequestError as error:
                _log.warning(
                    "content of deleted files is not removed yet, and is tried again: %s", error
                )
                await self._host.sleep(_AGAIN_S)
                continue
            except Exception:  # noqa: BLE001  # told in the log
                _log.exception("content of deleted files could not be removed; it is tried again")
                await self._host.sleep(_AGAIN_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._stirred.wait()

    async def _remove_some(self) -> bool:
        """Remove some content that nobody has any more; return whether there was anything to do."""
        most = limits.files_removed_at_once
        with closing(self._engine.begin(_SOURCE)) as transaction:
            gone = file_ledger.entries_in(transaction, BlobState.LEAVING, most)
            spent = file_ledger.entries_in(transaction, BlobState.SPENT, most)
            arriving = file_ledger.entries_in(transaction, BlobState.ARRIVING)
            over = [entry for entry in spent if entry.is_over(transaction)]
        # Of another process, or of one here that could not say that it broke off.
        known = self._settled.keys() | self._arrivals.keys()
        broken = [entry for entry in arriving if entry.key not in known]
        for entry in broken[:most]:
            await self.give_up(entry)
        if broken:
            return True
        removed: list[LedgerEntry] = []
        failure: StorageFailed | None = None
        with self._threads.pick() as thread:
            for entry in gone:
                try:
                    await thread.run(self._blobs.remove, entry.key)
                # It keeps no other from being removed.
                except StorageFailed as error:
                    failure = error
                else:
                    removed.append(entry)

        def change(transaction: Transaction) -> None:
            for entry in (*removed, *over):
                file_ledger.removed(transaction, entry)

        await write(self._engine, _SOURCE, change)
        if failure is not None:
            raise failure
        return bool(removed or over)


class Arrival:
    """A file on its way in. Ended by `finish` or by `abandon`; used by one task at a time.

    But for `abandon`, which may come at any time: whatever runs then fails, unless the file is there.
    """

    def __init__(
        self, files: Files, entry: LedgerEntry, expected: Expected, thread: _Thread
    ) -> None:
        self._files = files
        self._entry = entry
        self._expected = expected
        self._thread = thread
        self._writer: BlobWriter | None = None
        self._hash = hashlib.sha256()
        #: What has come and is not written yet, up to a piece of it.
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._has_ended = False
        #: Bytes that have come, and those of them that are counted among no files yet.
        self.size = 0
        self.bytes_beside = 0

    @property
    def key(self) -> str:
        """Return the key of its blob."""
        return self._entry.key

    @property
    def component(self) -> str:
        """Return whose file it will be."""
        return self._entry.component

    async def write(self, data: bytes) -> None:
        """Take bytes in.

        Raises:
            RequestError: they are too many, or there is no room for them.
        """
        self._check_going_on()
        self._files.check_size(self.size + len(data))
        self._files.check_room(len(data))
        self.size += len(data)
        self.bytes_beside += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= limits.file_piece_bytes:
            await self._flush()

    async def finish(self) -> str:
        """Make a file of what has come, and return its id.

        Raises:
            RequestError: it is not what was expected (Sha256Mismatch, BodyIncomplete), cannot be
                stored, or was abandoned (UploadAbandoned). It still has to be abandoned.
        """
        await self._files.store(self._entry, await self._whole())
        self._end()
        return self._entry.file

    async def settle(self, creation_time: float | None) -> SettledFile:
        """Make what has come durable, for a commit of somebody else's to make a file of it.

        Raises:
            RequestError: as `finish` does.
        """
        facts = await self._whole()
        self._files.settle(self._entry, facts)
        self._end()
        return SettledFile(entry=self._entry, facts=facts, creation_time=creation_time)

    async def _whole(self) -> FileFacts:
        """Make the blob durable, if it is what was expected."""
        await self._flush()
        expected = self._expected
        if expected.size is not None and self.size != expected.size:
            msg = f"the body has {self.size} bytes, and its Content-Length says {expected.size}"
            raise BadRequest(msg, code="BodyIncomplete")
        digest = self._hash.digest()
        if expected.sha256 is not None and not hmac.compare_digest(digest, expected.sha256):
            msg = (
                f"the content has the SHA-256 {_base64(digest)}, and {_base64(expected.sha256)} "
                "was expected: it was damaged on its way, or another file was sent"
            )
            raise BadRequest(msg, code="Sha256Mismatch")
        self._check_going_on()
        assert self._writer is not None
        await self._thread.run(self._writer.finish)
        return FileFacts(sha256=_base64(digest), size=self.size, content_type=expected.content_type)

    async def abandon(self) -> str | None:
        """Leave nothing of it, and return None; or its id, if it is a file nevertheless.

        It is if whoever stored it was cancelled meanwhile, or told that the disk fails when it had
        not. Does nothing for one that has ended.

        Raises:
            RequestError: what is left could not be noted; it is removed later.
        """
        if self._has_ended:
            return None
        self._end()
        if not await self._files.give_up(self._entry):
            return self._entry.file
        # What cannot be removed now is removed later, like what a deleted file leaves.
        with suppress(StorageFailed):
            await self._thread.run(self._drop)
            await self._files.forget(self._entry)
        return None

    async def _flush(self) -> None:
        self._check_going_on()
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        await self._thread.run(self._put, data)

    def _put(self, data: bytes) -> None:
        if self._writer is None:
            self._writer = self._files.begin_blob(self._entry)
        self._hash.update(data)
        self._writer.write(data)

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self._files.remove_blob(self._entry)

    def _check_going_on(self) -> None:
        """Raise if it has been abandoned meanwhile: what was there of it is being removed."""
        if self._has_ended:
            raise file_ledger.abandoned()

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._thread.let_go()
            self._files.arrived(self)


class Reading:
    """Part of a file's content, in order. Closed by whoever asked for it."""

    def __init__(self, reader: BlobReader, thread: _Thread) -> None:
        self._reader: BlobReader | None = reader
        self._thread = thread

    async def piece(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            StorageFailed: they cannot be read.
        """
        assert self._reader is not None
        return await self._thread.run(self._reader.read)

    async def close(self) -> None:
        """Let go of it; closing twice does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self._thread.let_go()
            # After what runs there: a piece may be on its way still.
            await self._thread.run(reader.close)


class _Thread:
    """A thread that waits for disks and buckets, and how many count on it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.users = 0

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Run a blocking function on the thread, after what was asked of it before."""
        return self._worker.run(function, *args, **kwargs)

    def let_go(self) -> None:
        """Count on it no more."""
        self.users -= 1

    def close(self) -> None:
        """Let what was accepted finish, then end the thread."""
        self._worker.close()

    def __enter__(self) -> _Thread:
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()


class _Threads:
    def __init__(self, threads: Sequence[_Thread]) -> None:
        self._threads = threads

    def pick(self) -> _Thread:
        """Return the thread on which the fewest count."""
        thread = min(self._threads, key=lambda thread: thread.users)
        thread.users += 1
        return thread

    def close(self) -> None:
        for thread in self._threads:
            thread.close()


def check_content_type(content_type: str | None) -> None:
    """Raise unless a content type is a media type.

    Raises:
        BadRequest: it is none (code BadHeader).
    """
    if content_type is None:
        return
    if len(content_type) > limits.content_type_length_max or not _CONTENT_TYPE.fullmatch(
        content_type
    ):
        msg = f"the Content-Type {content_type[:80]!r} is no media type, such as image/png"
        raise BadRequest(msg, code="BadHeader")


def _served(transaction: Transaction, entry: LedgerEntry | None) -> ServedFile | None:
    if entry is None or entry.state is not BlobState.STORED:
        return None
    facts = file_ledger.facts_of(transaction, entry.file)
    assert facts is not None, f"{entry.id} is stored, and {entry.file} is not there"
    return ServedFile(id=entry.file, component=entry.component, key=entry.key, facts=facts)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
