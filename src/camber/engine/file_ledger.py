"""What is kept of files beside their content, written and read within transactions.

Each blob has an entry in `_file_ledger` from before its first byte is written until after its last
one is removed, so that there is none that nobody knows of, whatever is killed when. The entry says
under which key the blob lies, by which URL it is served and whose it is. What applications see of a
file is its `_storage` document, which is there exactly while the entry's state is STORED; the ids of
both are made of the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Final, cast

from camber.engine import system_tables
from camber.engine.catalog import ID_FIELD, TableEntry
from camber.engine.transaction import Transaction
from camber.errors import DeveloperError, ErrorKind, RequestError
from camber.occ.interval import Interval, Order
from camber.storage.store import Snapshot
from camber.values.ids import decode_id, encode_id
from camber.values.keys import encode_key
from camber.values.packed import unpack
from camber.values.value import Value


class BlobState(Enum):
    """What has become of a blob."""

    #: It is being written; whoever does that is gone when the server is.
    ARRIVING = "arriving"
    #: There is a file.
    STORED = "stored"
    #: There is no file any more, or never was, and the blob waits to be removed.
    LEAVING = "leaving"
    #: There is no blob any more; kept so that the URL by which it came cannot be used again.
    SPENT = "spent"


_THERE: Final = frozenset({BlobState.STORED, BlobState.LEAVING})


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One blob. `ticket_ms` is until when a right to upload would be good for it, or 0.

    `was_stored` says whether that right has been used.
    """

    internal: bytes
    state: BlobState
    key: str
    url: str
    component: str
    ticket_ms: float = 0.0
    was_stored: bool = False
    #: Bytes of the blob, once it was stored.
    size: int = 0

    @property
    def id(self) -> str:
        """Return the id of the entry."""
        return encode_id(system_tables.FILE_LEDGER_NUMBER, self.internal)

    @property
    def file(self) -> str:
        """Return the id of the file."""
        return file_id(self.internal)

    def is_over(self, transaction: Transaction) -> bool:
        """Return whether the right to upload is good for nothing any more.

        Timestamps say so, which nobody sets back: once it is forgotten that a right was used, it is over
        for every later transaction, whatever its clock says.
        """
        return self.ticket_ms <= transaction.begin_ts / 1e6

    @property
    def bytes_there(self) -> int:
        """Return how many bytes the blob takes; none while it is on its way."""
        return self.size if self.state in _THERE else 0

    @property
    def fields(self) -> dict[str, Value]:
        """Return the fields of the entry's document."""
        return {
            "state": self.state.value,
            "key": self.key,
            "url": self.url,
            "component": self.component,
            "ticketExpires": self.ticket_ms,
            "wasStored": self.was_stored,
            "size": float(self.size),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is known of a file's content: SHA-256 in base64, bytes, and its media type if given."""

    sha256: str
    size: int
    content_type: str | None


def file_id(internal: bytes) -> str:
    """Return the id of a file, as applications know it."""
    return encode_id(system_tables.STORAGE_NUMBER, internal)


def internal_of(file: str) -> bytes:
    """Return what the id of a file is made of.

    Raises:
        InvalidId: it is no id.
    """
    return decode_id(file).internal


def entry_of(transaction: Transaction, internal: bytes) -> LedgerEntry | None:
    """Return the entry that is made of these bytes, or None; either way it is read."""
    packed = transaction.get(encode_id(system_tables.FILE_LEDGER_NUMBER, internal))
    return None if packed is None else unpacked_entry(packed)


def stored_entry(transaction: Transaction, file: str, component: str) -> LedgerEntry | None:
    """Return the entry of a file of a component, or None if there is no such file.

    Raises:
        DeveloperError: the file is another component's (code StorageIdOfAnotherComponent).
    """
    entry = entry_of(transaction, decode_id(file).internal)
    if entry is None or entry.state is not BlobState.STORED:
        return None
    if entry.component != component:
        owner = f"component '{entry.component}'" if entry.component else "the application"
        reader = f"component '{component}'" if component else "the application"
        msg = (
            f"{file} is a file of {owner}, and {reader} has files of its own: have {owner} offer a "
            "function that does with it what is to be done"
        )
        raise DeveloperError(msg, code="StorageIdOfAnotherComponent")
    return entry


def entry_at(transaction: Transaction, url: str) -> LedgerEntry | None:
    """Return the entry of the file that is served by a URL, or None if there is no such file."""
    for entry in _found(transaction, "by_url", url):
        if entry.state is BlobState.STORED:
            return entry
    return None


def entry_in(snapshot: Snapshot, file: str) -> LedgerEntry | None:
    """Return the entry of a file at a snapshot; that it was read is not recorded."""
    id_ = encode_id(system_tables.FILE_LEDGER_NUMBER, decode_id(file).internal)
    packed = snapshot.get(system_tables.FILE_LEDGER_NUMBER, id_)
    return None if packed is None else unpacked_entry(packed)


def entries_in(
    transaction: Transaction, state: BlobState, limit: int | None = None
) -> list[LedgerEntry]:
    """Return the oldest entries in a state; all of them without a limit."""
    return list(islice(_found(transaction, "by_state", state.value), limit))


def facts_of(transaction: Transaction, file: str) -> FileFacts | None:
    """Return what is known of a file, or None if it is not there."""
    packed = transaction.get(file)
    if packed is None:
        return None
    document = cast("dict[str, object]", unpack(packed))
    content_type = document.get("contentType")
    size = document["size"]
    assert isinstance(size, int)
    return FileFacts(
        sha256=str(document["sha256"]),
        size=size,
        content_type=None if content_type is None else str(content_type),
    )


def bytes_there(transaction: Transaction) -> int:
    """Return how many bytes all blobs have that are not on their way."""
    return sum(
        entry.bytes_there
        for state in _THERE
        for entry in _found(transaction, "by_state", state.value)
    )


def arriving(transaction: Transaction, entry: LedgerEntry) -> None:
    """Enter a blob that will be written; one of the same file has been removed, if there was one."""
    assert entry.state is BlobState.ARRIVING
    if entry_of(transaction, entry.internal) is None:
        transaction.insert(system_tables.FILE_LEDGER, entry.fields, id=entry.id)
    else:
        transaction.replace(entry.id, entry.fields)


def stored(
    transaction: Transaction,
    entry: LedgerEntry,
    facts: FileFacts,
    *,
    creation_time: float | None = None,
) -> None:
    """Make a file of a blob that has been written whole.

    Raises:
        RequestError: it has been given up meanwhile (code UploadAbandoned).
    """
    current = entry_of(transaction, entry.internal)
    if current is None or current.key != entry.key or current.state is not BlobState.ARRIVING:
        raise abandoned()
    fields: dict[str, Value] = {"sha256": facts.sha256, "size": float(facts.size)}
    if facts.content_type is not None:
        fields["contentType"] = facts.content_type
    if entry.component:
        fields[system_tables.COMPONENT_FIELD] = entry.component
    transaction.insert(system_tables.STORAGE, fields, id=entry.file, creation_time=creation_time)
    entry = replace(entry, state=BlobState.STORED, was_stored=True, size=facts.size)
    _put(transaction, entry)


def abandoned() -> RequestError:
    """Return what is told of a blob that is to be no file any more."""
    msg = "the upload was ended before all of it was there; send it again"
    return RequestError(msg, code="UploadAbandoned", kind=ErrorKind.CONFLICT)


def leaving(transaction: Transaction, entry: LedgerEntry) -> None:
    """End a file, or what would have become one; its blob is removed once that is committed."""
    if entry.state is BlobState.STORED:
        transaction.delete(entry.file)
    _put(transaction, replace(entry, state=BlobState.LEAVING))


def removed(transaction: Transaction, entry: LedgerEntry) -> None:
    """Forget a blob that has been removed, but not that a right to upload has been used."""
    current = entry_of(transaction, entry.internal)
    if current is None or current.key != entry.key:
        return
    assert current.state in {BlobState.LEAVING, BlobState.SPENT}, f"{entry.id} is {current.state}"
    if current.was_stored and not current.is_over(transaction):
        _put(transaction, replace(current, state=BlobState.SPENT))
    else:
        transaction.delete(current.id)


def _put(transaction: Transaction, entry: LedgerEntry) -> None:
    # Whoever writes a document has read it.
    assert transaction.get(entry.id) is not None, f"{entry.id} has no entry"
    transaction.replace(entry.id, entry.fields)


def _found(transaction: Transaction, index: str, value: str) -> Iterator[LedgerEntry]:
    table = _table(transaction)
    prefix = encode_key([value])
    rows = transaction.scan(
        table, table.indexes[index], Interval.prefix(prefix), Order.ASC, prefix=prefix
    )
    with closing(rows):
        for row in rows:
            yield unpacked_entry(row.packed)


def _table(transaction: Transaction) -> TableEntry:
    table = transaction.catalog.by_name(system_tables.FILE_LEDGER)
    assert table is not None
    return table


def unpacked_entry(packed: bytes) -> LedgerEntry:
    """Return the entry of a packed document of the ledger."""
    document = cast("dict[str, object]", unpack(packed))
    ticket_ms = document["ticketExpires"]
    assert isinstance(ticket_ms, int | float)
    return LedgerEntry(
        internal=decode_id(str(document[ID_FIELD])).internal,
        state=BlobState(document["state"]),
        key=str(document["key"]),
        url=str(document["url"]),
        component=str(document["component"]),
        ticket_ms=ticket_ms,
        was_stored=document["wasStored"] is True,
        size=int(cast("float", document["size"])),
    )
