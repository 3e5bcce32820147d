"""Writing a snapshot as a ZIP (protocol 8.6), a batch of documents at a time.

Blocking; belongs on a thread of its own, since deflating keeps a core busy. The file has its name
only once it is whole.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from camber import limits
from camber.engine.catalog import TableEntry
from camber.occ.interval import ALL, Interval, Order
from camber.storage.store import Store
from camber.values.timestamp import Timestamp
from camber.values.wire import Format, encode_json, encode_packed

#: What the files of a table are called.
DOCUMENTS_FILE: Final = "documents.jsonl"
SCHEMA_FILE: Final = "generated_schema.jsonl"
#: In `generated_schema.jsonl`: every value is written alike, so no hints are needed.
UNIFORM: Final = b'"uniform"\n'
#: The file of names and numbers, and the folder of stored files.
TABLES_FOLDER: Final = "_tables"
STORAGE_FOLDER: Final = "_storage"

PARTIAL_SUFFIX: Final = ".partial"

_README = """\
A snapshot of a Camber deployment at the timestamp {ts} (nanoseconds since the Unix epoch).

Each folder is a table. `documents.jsonl` has a document in every line: numbers with a decimal
point or an exponent are float64, numbers without are int64. `_tables` has the names and numbers
of the tables.

`camber import --replace-all FILE` makes a deployment hold exactly this.
"""


class SnapshotWriter:
    """Writes the snapshot at `ts` of some tables to `path`.

    `step` writes the next batch until it returns False; then `finish`, or at any time `abandon`.
    """

    def __init__(
        self, *, store: Store, ts: Timestamp, tables: Sequence[TableEntry], path: Path
    ) -> None:
        self._store = store
        self._ts = ts
        self._waiting = list(tables)
        self._path = path
        self._partial = path.with_suffix(PARTIAL_SUFFIX)
        self._archive: zipfile.ZipFile | None = None
        self._table: TableEntry | None = None
        self._rest = ALL
        self._documents: IO[bytes] | None = None
        self.written = 0

    @property
    def table(self) -> str | None:
        """Return the table that is being written."""
        return None if self._table is None else self._table.name

    def begin(self, *, folders: Sequence[str] = ()) -> None:
        """Make the file, with what stands before the tables. `folders` are tables without rows.

        Raises:
            OSError: the file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        archive = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        self._archive = archive
        archive.writestr("README.md", _README.format(ts=self._ts))
        names = b"".join(
            encode_json({"name": table.name, "id": table.number}) + b"\n" for table in self._waiting
        )
        archive.writestr(f"{TABLES_FOLDER}/{DOCUMENTS_FILE}", names)
        for folder in folders:
            archive.writestr(f"{folder}/{DOCUMENTS_FILE}", b"")

    def step(self) -> bool:
        """Write some documents; return whether there may be more.

        Raises:
            OutOfRetention: the snapshot is gone.
            OSError: the file cannot be written.
        """
        if self._documents is None and not self._open_next():
            return False
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
        self._archive.writestr(f"{self._table.name}/{SCHEMA_FILE}", UNIFORM)
        entry = zipfile.ZipInfo(f"{self._table.name}/{DOCUMENTS_FILE}")
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._documents = self._archive.open(entry, "w", force_zip64=True)
        return True

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
        if self._documents is not None:
            self._documents.close()
            self._documents = None
        if self._archive is not None:
            self._archive.close()
            self._archive = None
        self._partial.unlink(missing_ok=True)


def document_line(packed: bytes) -> bytes:
    """Return a stored document as a line of JSON that loses nothing."""
    return encode_packed(packed, Format.EXPORT) + b"\n"
