"""Writing a snapshot as a ZIP (protocol 8.6), a batch of documents at a time.

Blocking; belongs on a thread of its own, since deflating keeps a core busy. The file has its name
only once it is whole.
"""

from __future__ import annotations

import mimetypes
import os
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Final, TypeAlias

from camber import limits
from camber.engine import file_ledger, system_tables
from camber.engine.catalog import ID_FIELD, TableEntry
from camber.engine.file_ledger import LedgerEntry
from camber.files.blobs import BlobMissing, BlobReader
from camber.occ.interval import ALL, Interval, Order
from camber.storage.store import Snapshot, Store
from camber.values.packed import pack, unpack
from camber.values.paths import is_within
from camber.values.timestamp import Timestamp
from camber.values.value import Value
from camber.values.wire import Format, encode_json, encode_packed

#: What the files of a table are called.
DOCUMENTS_FILE: Final = "documents.jsonl"
SCHEMA_FILE: Final = "generated_schema.jsonl"
#: In `generated_schema.jsonl`: every value is written alike, so no hints are needed.
UNIFORM: Final = b'"uniform"\n'
#: The folder that has one for each component, the file of names and numbers, and stored files.
COMPONENTS_FOLDER: Final = "_components"
TABLES_FOLDER: Final = "_tables"
STORAGE_FOLDER: Final = "_storage"

#: The ids of files that should be in the archive and are not; there only if there are any.
MISSING_FILE: Final = "MISSING_FILES.txt"

PARTIAL_SUFFIX: Final = ".partial"

#: How types of what is compressed already end.
_DENSE: Final = ("zip", "gzip", "zstd", "compressed", "octet-stream", "document")
_END: Final = object()

#: Opens the content of a file, given its entry and its bytes. Blocking.
Content: TypeAlias = Callable[[LedgerEntry, int], BlobReader]

_README = """\
A snapshot of a Camber deployment at the timestamp {ts} (nanoseconds since the Unix epoch).

Each folder is a table. `documents.jsonl` has a document in every line: numbers with a decimal
point or an exponent are float64, numbers without are int64. `_tables` has the names and numbers
of the tables, `_storage` stored files, if they were asked for. MISSING_FILES.txt, if it is there, names
files whose content was gone when this was made. `_components` has a folder for each
component, with tables and stored files in the same way.

`camber import --replace-all FILE` makes a deployment hold exactly this.
"""


class SnapshotWriter:
    """Writes the snapshot at `ts` of some tables to `path`.

    With `content` it has stored files too: those of `component` and of what is mounted in it.
    `step` writes the next batch until it returns False; then `finish`, or at any time `abandon`.
    """

    def __init__(
        self,
        *,
        store: Store,
        ts: Timestamp,
        tables: Sequence[TableEntry],
        component: str,
        path: Path,
        content: Content | None,
    ) -> None:
        self._store = store
        self._ts = ts
        self._waiting = list(tables)
        self._component = component
        self._path = path
        self._partial = path.with_suffix(PARTIAL_SUFFIX)
        self._archive: zipfile.ZipFile | None = None
        self._table: TableEntry | None = None
        self._rest = ALL
        self._documents: IO[bytes] | None = None
        self._content = content
        self._files: Generator[None, None, None] | None = None
        self.written = 0
        #: Ids of files that it lacks, since their content is gone.
        self.missing: list[str] = []

    @property
    def table(self) -> str | None:
        """Return the table that is being written."""
        if self._files is not None:
            return STORAGE_FOLDER
        return None if self._table is None else self._table.name

    def begin(self) -> None:
        """Make the file, with what stands before the tables.

        Raises:
            OSError: the file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        archive = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        self._archive = archive
        archive.writestr("README.md", _README.format(ts=self._ts))
        for component in sorted({"", *(table.component for table in self._waiting)}):
            names = b"".join(
                encode_json({"name": table.own_name, "id": table.number}) + b"\n"
                for table in self._waiting
                if table.component == component
            )
            place = f"{component_folder(component)}{TABLES_FOLDER}/{DOCUMENTS_FILE}"
            archive.writestr(place, names)

    def step(self) -> bool:
        """Write some documents; return whether there may be more.

        Raises:
            OutOfRetention: the snapshot is gone.
            OSError: the file cannot be written.
        """
        if self._documents is None and not self._open_next():
            return self._step_through_files()
        assert self._table is not None
        assert self._documents is not None
        table, count = self._table, limits.export_batch_documents_max
        # A snapshot for each batch: one that stays open keeps SQLite's log from being checkpointed.
        with self._store.snapshot(self._ts) as snapshot:
            rows = snapshot.scan(
                table.number, table.indexes["by_id"].id, self._rest, Order.ASC, count
            )
        self._documents.write(b"".join(document_line(row.packed) for row in rows))
        self.written += len(rows)
        if len(rows) < count:
            self._documents.close()
            self._documents = None
        else:
            self._rest = Interval(rows[-1].key + b"\0", None)
        return True

    def _open_next(self) -> bool:
        if not self._waiting:
            return False
        assert self._archive is not None
        self._table = self._waiting.pop(0)
        self._rest = ALL
        folder = component_folder(self._table.component) + self._table.own_name
        self._archive.writestr(f"{folder}/{SCHEMA_FILE}", UNIFORM)
        entry = zipfile.ZipInfo(f"{folder}/{DOCUMENTS_FILE}")
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._documents = self._archive.open(entry, "w", force_zip64=True)
        return True

    def _step_through_files(self) -> bool:
        if self._content is None:
            return False
        if self._files is None:
            self._files = self._write_files(self._content)
            self.written = 0
        return next(self._files, _END) is not _END

    def _write_files(self, content: Content) -> Generator[None, None, None]:
        """Write each stored file, then what is known of them; stop after each part of it.

        One whose content is gone is left out, and told of in a file of its own.
        """
        assert self._archive is not None
        for file in self._stored_files():
            # Opened before it has a place in the archive: what stands there cannot be taken back.
            try:
                reader = content(file.entry, file.size)
            except BlobMissing:
                self.missing.append(file.entry.file)
                yield
                continue
            entry = zipfile.ZipInfo(_storage_folder(file.entry.component) + file.name)
            entry.compress_type = (
                zipfile.ZIP_DEFLATED if file.is_compressible else zipfile.ZIP_STORED
            )
            with closing(reader), self._archive.open(entry, "w", force_zip64=True) as stream:
                while piece := reader.read():
                    stream.write(piece)
                    yield
            self.written += 1
        yield from self._write_lists(self._archive)

    def _write_lists(self, archive: zipfile.ZipFile) -> Generator[None, None, None]:
        """Write for each component that has files which; stop after each of them."""
        listed, missing = set(), set(self.missing)
        for component, files in groupby(self._stored_files(), lambda file: file.entry.component):
            listed.add(component)
            entry = zipfile.ZipInfo(_storage_folder(component) + DOCUMENTS_FILE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as stream:
                for file in files:
                    if file.entry.file not in missing:
                        stream.write(encode_packed(pack(file.line), Format.EXPORT) + b"\n")
                    yield
        if self._component not in listed:
            # That files were asked for is said where there are none, too.
            archive.writestr(_storage_folder(self._component) + DOCUMENTS_FILE, b"")
        if self.missing:
            archive.writestr(MISSING_FILE, "".join(f"{file}\n" for file in self.missing))

    def _stored_files(self) -> Iterator[_StoredFile]:
        """Yield the files as they were at the snapshot, those of each component in a row."""
        rest = ALL
        while True:
            with self._store.snapshot(self._ts) as snapshot:
                rows = snapshot.scan(
                    system_tables.STORAGE_NUMBER,
                    system_tables.STORAGE_BY_COMPONENT,
                    rest,
                    Order.ASC,
                    limits.export_batch_documents_max,
                )
                found = [_stored_file(snapshot, row.packed) for row in rows]
            yield from (file for file in found if is_within(file.entry.component, self._component))
            if len(rows) < limits.export_batch_documents_max:
                return
            rest = Interval(rows[-1].key + b"\0", None)

    def finish(self) -> int:
        """Make the file durable under its name, and return its size in bytes.

        Raises:
            OSError: the file cannot be written.
        """
        assert self._archive is not None
        self._archive.close()
        self._archive = None
        with self._partial.open("rb") as stream:
            os.fsync(stream.fileno())
        self._partial.replace(self._path)
        return self._path.stat().st_size

    def abandon(self) -> None:
        """Remove what was written."""
        if self._files is not None:
            self._files.close()
            self._files = None
        if self._documents is not None:
            self._documents.close()
            self._documents = None
        if self._archive is not None:
            self._archive.close()
            self._archive = None
        self._partial.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredFile:
    """A file: the line that tells of it, and where its content is."""

    entry: LedgerEntry
    line: dict[str, Value]

    @property
    def size(self) -> int:
        size = self.line["size"]
        assert isinstance(size, int | float)
        return int(size)

    @property
    def _kind(self) -> str:
        kind = self.line["contentType"]
        return kind.partition(";")[0].strip().lower() if isinstance(kind, str) else ""

    @property
    def name(self) -> str:
        """Return its name in the archive: its id, and what its type is usually called."""
        return f"{self.entry.file}{mimetypes.guess_extension(self._kind) or ''}"

    @property
    def is_compressible(self) -> bool:
        """Return whether deflating may be worth it: pictures, films and archives are small already."""
        kind, _, form = self._kind.partition("/")
        return kind in {"", "text", "application"} and not form.endswith(_DENSE)


def _stored_file(snapshot: Snapshot, packed: bytes) -> _StoredFile:
    document = unpack(packed)
    assert isinstance(document, dict)
    file = str(document[ID_FIELD])
    entry = file_ledger.entry_in(snapshot, file)
    assert entry is not None, f"{file} has no entry in the ledger"
    # Whose it is, is said by the folder that it is in.
    document.pop(system_tables.COMPONENT_FIELD, None)
    line = {**document, "contentType": document.get("contentType"), "internalId": entry.url}
    return _StoredFile(entry=entry, line=line)


def document_line(packed: bytes) -> bytes:
    """Return a stored document as a line of JSON that loses nothing."""
    return encode_packed(packed, Format.EXPORT) + b"\n"


def component_folder(component: str) -> str:
    """Return where a ZIP has the tables of a component (protocol 8.6), with `/` at its end."""
    names = component.split("/") if component else []
    return "".join(f"{COMPONENTS_FOLDER}/{name}/" for name in names)


def _storage_folder(component: str) -> str:
    return f"{component_folder(component)}{STORAGE_FOLDER}/"
