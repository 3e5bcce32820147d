"""Where the timestamp of its commit goes in what a mutation changes.

A transaction finds the places, once and where it runs. The committer puts the timestamp in, on the
event loop, and unpacks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from camber.engine.catalog import IndexEntry, TableEntry
from camber.occ.interval import IndexId
from camber.search.texts import filter_digest, with_digest
from camber.storage.store import DocumentChange, EntryChange
from camber.values.packed import unpack
from camber.values.pending import Places, known, places_in, places_in_key, stamped, stamped_key
from camber.values.timestamp import Timestamp
from camber.values.value import Value


class DigestStamp(msgspec.Struct, frozen=True, array_like=True):
    """A filter field in the key of a text or vector, which has a digest of it: what is digested."""

    field: int
    part: bytes
    places: Places


class KeyStamp(msgspec.Struct, frozen=True, array_like=True):
    """Where the timestamp goes in the new key of one entry of a change."""

    entry: int
    places: Places = ()
    digests: tuple[DigestStamp, ...] = ()

    def put(self, key: bytes, ts: Timestamp) -> bytes:
        """Return the key with the timestamp in it."""
        key = stamped_key(key, self.places, ts)
        for digest in self.digests:
            part = stamped_key(digest.part, digest.places, ts)
            key = with_digest(key, digest.field, filter_digest(part))
        return key


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Where the timestamp goes in one change: in the document, and in its new keys."""

    change: int
    document: Places
    keys: tuple[KeyStamp, ...] = ()

    def put(self, change: DocumentChange, ts: Timestamp) -> DocumentChange:
        """Return the change with the timestamp in it."""
        assert change.after is not None
        entries = list(change.entries)
        for key in self.keys:
            entry = entries[key.entry]
            assert entry.added is not None
            entries[key.entry] = EntryChange(
                index=entry.index, removed=entry.removed, added=key.put(entry.added, ts)
            )
        return DocumentChange(
            table=change.table,
            id=change.id,
            before=change.before,
            after=stamped(change.after, self.document, ts),
            entries=tuple(entries),
        )


def stamp_of(
    change: int, table: TableEntry, packed: bytes, keys: Mapping[IndexId, bytes]
) -> Stamp | None:
    """Return where it goes in a changed document and its keys; None if it goes nowhere."""
    places = places_in(packed)
    if not places:
        return None
    return Stamp(change, places, tuple(_key_stamps(table, packed, keys)))


def has_its_place(table: TableEntry, index: IndexEntry, packed: bytes, key: bytes) -> bool:
    """Return whether a document stays where it stands in an index, whenever it commits."""
    return not places_in(packed) or table.keys(_document(known(packed)))[index.id] == key


def _key_stamps(
    table: TableEntry, packed: bytes, keys: Mapping[IndexId, bytes]
) -> Iterator[KeyStamp]:
    document = _document(known(packed))
    others = table.keys(document)
    for entry, index in enumerate(table.stored):
        # What is no text or vector has no key where those are searched.
        key = keys.get(index.id)
        if key is None or key == others[index.id]:
            continue
        if index.is_ordered:
            yield KeyStamp(entry, places_in_key(key, others[index.id]))
        else:
            yield KeyStamp(entry, digests=tuple(_digest_stamps(index, packed, document)))


def _digest_stamps(
    index: IndexEntry, packed: bytes, document: dict[str, Value]
) -> Iterator[DigestStamp]:
    parts = index.filter_parts(_document(unpack(packed)))
    for field, (part, other) in enumerate(zip(parts, index.filter_parts(document), strict=True)):
        if part != other:
            yield DigestStamp(field, part, places_in_key(part, other))


def _document(value: Value) -> dict[str, Value]:
    assert isinstance(value, dict)
    return value
