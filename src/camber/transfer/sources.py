"""Reading what is imported: CSV, JSON lines, a JSON array, or the ZIP of a snapshot (protocol 8.7).

Blocking, and never more than a line in memory, but for a JSON array. Nothing that a file says is
believed: sizes are counted as they are read, and names in a ZIP never become paths.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any, Final, Protocol
from uuid import UUID

from camber import limits
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD, full_name
from camber.errors import BadRequest
from camber.transfer.snapshot_writer import (
    COMPONENTS_FOLDER,
    DOCUMENTS_FILE,
    SCHEMA_FILE,
    STORAGE_FOLDER,
    TABLES_FOLDER,
    UNIFORM,
)
from camber.values.ids import InvalidId, decode_id
from camber.values.paths import is_component_path, is_identifier
from camber.values.size import nesting, value_size
from camber.values.value import InvalidValue, Value, canonical_float, shown
from camber.values.wire import BadJson, decode_json, from_export, from_wire, to_wire

_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)\Z", re.IGNORECASE
)
_BOM: Final = b"\xef\xbb\xbf"
#: The end of a ZIP: its last record with the longest comment, and before it what ZIP64 adds.
_END_BYTES_MAX: Final = 22 + 65_535 + 20


class ImportRefused(BadRequest):
    """Data that cannot be imported; says which file, line and field. Nothing was changed."""

    code = "InvalidImport"


class ImportFormat(Enum):
    """What a file to import holds, under the names that the protocol has."""

    CSV = "csv"
    JSON_LINES = "jsonLines"
    JSON_ARRAY = "jsonArray"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document to import, where it was found, and its size in bytes."""

    place: str
    fields: dict[str, Value]
    size: int

    @property
    def id(self) -> str | None:
        """Return the id that it brings, or None."""
        found = self.fields.get(ID_FIELD)
        assert found is None or isinstance(found, str)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A stored file to import, where it was found, and what is said of it.

    `internal` is what its id is made of, `entry` its content's name in the ZIP.
    """

    place: str
    component: str
    id: str
    internal: bytes
    creation_time: float | None
    sha256: bytes | None
    size: int
    content_type: str | None
    url: str | None
    entry: str


class Source(Protocol):
    """A file to import. Each read of it starts anew."""

    @property
    def numbers(self) -> dict[str, int | None]:
        """Return the tables, with the number that the file gives each."""

    def documents(self, table: str) -> Generator[SourceDocument, None, None]:
        """Yield the documents of a table.

        Raises:
            ImportRefused: something is wrong with the file.
        """

    @property
    def has_files(self) -> bool:
        """Return whether the file says which stored files there are, be it none."""

    def files(self) -> list[SourceFile]:
        """Return the stored files.

        Raises:
            ImportRefused: something is wrong with what is said of them.
        """

    def content(self, file: SourceFile) -> Generator[bytes, None, None]:
        """Yield the content of a stored file piece by piece.

        Raises:
            ImportRefused: it is damaged.
        """

    def close(self) -> None:
        """Close the file."""


def open_source(path: Path, form: ImportFormat, table: str | None) -> Source:
    """Open a file to import; `table` is there unless it is a ZIP.

    Raises:
        ImportRefused: it is no such file.
    """
    if form is ImportFormat.ZIP:
        return SnapshotSource(path)
    assert table is not None
    return TableSource(path, form, table)


class TableSource:
    """A file of one table's documents."""

    def __init__(self, path: Path, form: ImportFormat, table: str) -> None:
        self._path = path
        self._form = form
        self._table = table

    @property
    def numbers(self) -> dict[str, int | None]:
        """Return the one table; its number is that of the ids, if there are any."""
        return {self._table: None}

    def documents(self, table: str) -> Generator[SourceDocument, None, None]:
        """Yield the documents of the file."""
        del table
        with self._path.open("rb") as stream:
            match self._form:
                case ImportFormat.CSV:
                    yield from _csv_documents(stream)
                case ImportFormat.JSON_ARRAY:
                    yield from _array_documents(stream)
                case ImportFormat.JSON_LINES | ImportFormat.ZIP:
                    yield from _line_documents(_Lines(stream), "", from_wire)

    @property
    def has_files(self) -> bool:
        """Return False: it has documents alone."""
        return False

    def files(self) -> list[SourceFile]:
        """Return nothing."""
        return []

    def content(self, file: SourceFile) -> Generator[bytes, None, None]:
        """Yield nothing: there are no files."""
        del file
        yield from ()

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""


@dataclass(slots=True)
class _TableFiles:
    """What a ZIP has of one table."""

    documents: zipfile.ZipInfo | None = None
    schema: zipfile.ZipInfo | None = None


class SnapshotSource:
    """A snapshot's ZIP: of Camber or of Convex, in a folder of its own or not."""

    def __init__(self, path: Path) -> None:
        self._tables: dict[str, _TableFiles] = {}
        self._budget = _Budget(limits.import_bytes_max)
        #: The lists of stored files, by the components whose they are.
        self._listed: dict[str, zipfile.ZipInfo] = {}
        #: The contents of stored files, by component and id.
        self._stored: dict[tuple[str, str], zipfile.ZipInfo] = {}
        try:
            _check_directory(path)
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise ImportRefused(f"the file is no ZIP, or is damaged: {error}") from None
        try:
            numbered = self._find_files()
            self.numbers: dict[str, int | None] = {}
            known = {
                full_name(component, name): number
                for component, entry in numbered.items()
                for name, number in self._table_numbers(entry).items()
            }
            for name in self._tables:
                self.numbers[name] = known.get(name)
        except BaseException:
            self._archive.close()
            raise

    def documents(self, table: str) -> Generator[SourceDocument, None, None]:
        """Yield the documents of a table, read as its schema file says."""
        files = self._tables[table]
        decode = from_wire if files.schema is None else self._decoder(files.schema)
        if files.documents is None:
            return
        with self._opened(files.documents) as stream:
            name = files.documents.filename
            yield from _line_documents(_Lines(stream, self._budget), f"{name} ", decode)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _find_files(self) -> dict[str, zipfile.ZipInfo]:
        """File the entries by table; return those with the tables' numbers, by component."""
        numbered: dict[str, zipfile.ZipInfo] = {}
        for entry in self._archive.infolist():
            parts = _path_parts(entry.filename)
            if entry.is_dir() or len(parts) < 2:
                continue
            component = _component_of(parts)
            folder, name = parts[-2:]
            if folder == TABLES_FOLDER and name == DOCUMENTS_FILE:
                numbered[component] = entry
            elif folder == STORAGE_FOLDER:
                self._find_stored(component, name, entry)
            elif name in {DOCUMENTS_FILE, SCHEMA_FILE} and not folder.startswith("_"):
                check_table_name(folder)
                self._add(full_name(component, folder), name, entry)
        return numbered

    def _add(self, table: str, name: str, entry: zipfile.ZipInfo) -> None:
        files = self._tables.setdefault(table, _TableFiles())
        attribute = "documents" if name == DOCUMENTS_FILE else "schema"
        if getattr(files, attribute) is not None:
            msg = f"the ZIP has {table}/{name} twice, as {entry.filename} and elsewhere"
            raise ImportRefused(msg)
        setattr(files, attribute, entry)

    def _find_stored(self, component: str, name: str, entry: zipfile.ZipInfo) -> None:
        id_ = name.partition(".")[0]
        if name == DOCUMENTS_FILE:
            if component in self._listed:
                raise ImportRefused(f"the ZIP has {STORAGE_FOLDER}/{name} twice")
            self._listed[component] = entry
        elif (component, id_) in self._stored:
            raise ImportRefused(f"the ZIP has the content of the file {id_} twice")
        elif name != SCHEMA_FILE:
            self._stored[component, id_] = entry

    @property
    def has_files(self) -> bool:
        """Return whether the snapshot was made with stored files."""
        return bool(self._listed)

    def files(self) -> list[SourceFile]:
        """Return the stored files, as they are listed."""
        found: dict[str, SourceFile] = {}
        for component, listed in sorted(self._listed.items()):
            for file in self._listed_files(component, listed):
                if file.id in found:
                    raise ImportRefused(f"{file.place} lists the file {file.id} a second time")
                found[file.id] = file
        for (component, id_), entry in self._stored.items():
            if id_ not in found or found[id_].component != component:
                msg = (
                    f"the ZIP has the file {entry.filename}, which {DOCUMENTS_FILE} beside it does "
                    "not list"
                )
                raise ImportRefused(msg)
        return list(found.values())

    def _listed_files(self, component: str, listed: zipfile.ZipInfo) -> Iterator[SourceFile]:
        with self._opened(listed) as stream:
            for at, line in _Lines(stream, self._budget):
                place = f"{listed.filename} line {at}"
                row = _json(line, place)
                id_ = row.get("_id") if isinstance(row, dict) else None
                entry = self._stored.get((component, id_)) if isinstance(id_, str) else None
                if not isinstance(row, dict) or not isinstance(id_, str):
                    raise ImportRefused(f"{place} has no `_id`, which names the file")
                if entry is None:
                    raise ImportRefused(f"{place}: the ZIP has no content of the file {id_}")
                yield _source_file(place, component, id_, row, entry)

    def content(self, file: SourceFile) -> Generator[bytes, None, None]:
        """Yield the content of a stored file piece by piece."""
        with self._opened(self._archive.getinfo(file.entry)) as stream:
            while piece := stream.read(limits.file_piece_bytes):
                self._budget.spend(len(piece))
                yield piece

    def _table_numbers(self, entry: zipfile.ZipInfo) -> dict[str, int]:
        numbers: dict[str, int] = {}
        with self._opened(entry) as stream:
            for at, line in _Lines(stream, self._budget):
                place = f"{entry.filename} line {at}"
                row = _json(line, place)
                name = row.get("name") if isinstance(row, dict) else None
                number = row.get("id") if isinstance(row, dict) else None
                if isinstance(number, float) and number.is_integer():
                    number = int(number)
                if not isinstance(name, str) or type(number) is not int:
                    msg = f'{place} should be like {{"name": "messages", "id": 10001}}'
                    raise ImportRefused(msg)
                if numbers.setdefault(name, number) != number:
                    raise ImportRefused(f"{place} gives table {name!r} a second number")
        return numbers

    def _decoder(self, entry: zipfile.ZipInfo) -> Callable[[object], Value]:
        with self._opened(entry) as stream:
            first = stream.read(len(UNIFORM) + 1).strip()
        if first != UNIFORM.strip():
            msg = (
                f"{entry.filename} is of an old kind of export, with a shape for each table, "
                "which is not supported: make the export anew"
            )
            raise ImportRefused(msg)
        return from_export

    @contextmanager
    def _opened(self, entry: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(entry) as stream:
                yield stream
        # Encrypted entries are RuntimeErrors; unknown ways to compress are NotImplementedErrors.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise ImportRefused(f"{entry.filename} in the ZIP is damaged: {error}") from None


def _source_file(
    place: str, component: str, id_: str, row: dict[str, Any], entry: zipfile.ZipInfo
) -> SourceFile:
    try:
        internal = decode_id(id_).internal
    except InvalidId as error:
        raise ImportRefused(f"{place}: {error.sentence}", code="InvalidId") from None
    sha256, kind, time = row.get("sha256"), row.get("contentType"), row.get(CREATION_TIME_FIELD)
    return SourceFile(
        place=place,
        component=component,
        id=id_,
        internal=internal,
        creation_time=None if time is None else _creation_time(time, place),
        sha256=None if sha256 is None else _digest(sha256, place),
        size=entry.file_size,
        content_type=kind if isinstance(kind, str) else None,
        url=_uuid(row.get("internalId")),
        entry=entry.filename,
    )


def _digest(sha256: object, place: str) -> bytes:
    try:
        digest = base64.b64decode(str(sha256), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ImportRefused(f"{place}: {shown(sha256)} is no SHA-256 in base64")
    return digest


def _uuid(text: object) -> str | None:
    """Return a UUID as it stands in URLs, or None for what is none: it gets another then."""
    try:
        return str(UUID(str(text)))
    except ValueError:
        return None


def _check_directory(path: Path) -> None:
    """Raise if a ZIP lists more files than may be read in one piece: `zipfile` reads them all.

    Raises:
        ImportRefused: it does.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        start = max(0, size - _END_BYTES_MAX)
        stream.seek(start)
        tail = stream.read(_END_BYTES_MAX)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + 16:
            # No ZIP: whoever opens it says so.
            return
        directory = int.from_bytes(tail[at + 12 : at + 16], "little")
        if tail[max(0, at - 20) : at - 16] == b"PK\6\7":
            # What ZIP64 says counts, whatever stands here.
            stream.seek(int.from_bytes(tail[at - 12 : at - 4], "little") + 40)
            directory = int.from_bytes(stream.read(8), "little")
    # The directory lies before its end, whatever is said of it.
    if min(directory, size) > limits.import_zip_directory_bytes_max:
        msg = (
            f"the ZIP lists its files in {directory} bytes; it may take "
            f"{limits.import_zip_directory_bytes_max}"
        )
        raise ImportRefused(msg)


def _path_parts(name: str) -> list[str]:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise ImportRefused(f"the ZIP has a file called {name!r}, which is no path within it")
    return [part for part in parts if part not in {"", "."}]


def _component_of(parts: list[str]) -> str:
    """Return the path of the component that a file of a ZIP is of: `_components/a/_components/b`."""
    if COMPONENTS_FOLDER not in parts[:-1]:
        return ""
    at, names = parts.index(COMPONENTS_FOLDER), list[str]()
    while at + 1 < len(parts) and parts[at] == COMPONENTS_FOLDER:
        names.append(parts[at + 1])
        at += 2
    path = "/".join(names)
    if at != len(parts) - 2 or not is_component_path(path):
        msg = f"the ZIP has {'/'.join(parts)!r}, which is no place of a component's table"
        raise ImportRefused(msg, code="InvalidName")
    return path


def check_table_name(name: str) -> None:
    """Raise unless a table of an application can have this name.

    Raises:
        ImportRefused: it cannot (code InvalidName).
    """
    if not is_identifier(name) or name.startswith("_"):
        msg = (
            f"{shown(name)} cannot name a table: letters, digits and underscores, at most "
            f"{limits.identifier_length_max}, beginning with a letter"
        )
        raise ImportRefused(msg, code="InvalidName")


@dataclass(slots=True)
class _Budget:
    """Bytes that may still be read."""

    left: int

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            msg = f"the data has more than {limits.import_bytes_max} bytes, the most for an import"
            raise ImportRefused(msg)


@dataclass(slots=True)
class _Lines:
    """The lines of a file with their numbers, each of a bounded length; empty ones are left out."""

    stream: IO[bytes]
    budget: _Budget = field(default_factory=lambda: _Budget(limits.import_bytes_max))

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        at = 0
        while line := self.stream.readline(limits.import_line_bytes_max + 1):
            at += 1
            self.budget.spend(len(line))
            if len(line) > limits.import_line_bytes_max:
                msg = f"line {at} is longer than {limits.import_line_bytes_max} bytes"
                raise ImportRefused(msg)
            if at == 1:
                line = line.removeprefix(_BOM)
            if line.strip():
                yield at, line


def _line_documents(
    lines: _Lines, file: str, decode: Callable[[object], Value]
) -> Generator[SourceDocument, None, None]:
    for at, line in lines:
        place = f"{file}line {at}"
        yield _document(_json(line, place), place, decode)


def _array_documents(stream: IO[bytes]) -> Generator[SourceDocument, None, None]:
    text = stream.read(limits.import_json_array_bytes_max + 1)
    if len(text) > limits.import_json_array_bytes_max:
        msg = (
            f"a JSON array may have {limits.import_json_array_bytes_max} bytes; put one document "
            "in each line and import it as jsonLines"
        )
        raise ImportRefused(msg)
    found = _json(text.removeprefix(_BOM), "the file")
    if not isinstance(found, list):
        msg = f"the file holds {_kind(found)}; a JSON array of documents is needed"
        raise ImportRefused(msg)
    for at, item in enumerate(found, start=1):
        place = f"element {at}"
        yield _document(item, place, from_wire)


def _csv_documents(stream: IO[bytes]) -> Generator[SourceDocument, None, None]:
    # A document of the largest size may be one cell.
    csv.field_size_limit(limits.document_bytes_max)
    rows = csv.reader(_text_lines(stream), strict=True)
    header: list[str] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise ImportRefused(f"line {rows.line_num} is not CSV: {error}") from None
        if row is None:
            break
        if header is None:
            header = _csv_header(row)
        elif row:
            place = f"line {rows.line_num}"
            if len(row) != len(header):
                msg = f"{place} has {len(row)} columns, and the first line names {len(header)}"
                raise ImportRefused(msg)
            cells = {name: _cell(text) for name, text in zip(header, row, strict=True)}
            yield _document(cells, place, from_wire)
    if header is None:
        raise ImportRefused("the CSV file is empty: its first line names the fields")


def _text_lines(stream: IO[bytes]) -> Iterator[str]:
    budget = _Budget(limits.import_bytes_max)
    at = 0
    while line := stream.readline(limits.import_line_bytes_max + 1):
        at += 1
        budget.spend(len(line))
        if len(line) > limits.import_line_bytes_max:
            raise ImportRefused(f"line {at} is longer than {limits.import_line_bytes_max} bytes")
        if at == 1:
            line = line.removeprefix(_BOM)
        yield _utf8(line, f"line {at}")


def _csv_header(row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    for name, times in Counter(header).items():
        if times > 1:
            raise ImportRefused(f"the first line names the field {name!r} twice")
        if not name:
            raise ImportRefused("the first line has a column without a name")
    return header


def _cell(text: str) -> Any:
    if _FLOAT.match(text) is None:
        return text
    number = float(text)
    # As JSON would have it: what it cannot write as a number is an object.
    return number if math.isfinite(number) else to_wire(number)


def _json(line: bytes, place: str) -> Any:
    try:
        return decode_json(_utf8(line, place))
    except BadJson as error:
        raise ImportRefused(f"{place} is {error.sentence}") from None


def _utf8(line: bytes, place: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        msg = f"{place} is not UTF-8: byte {error.start + 1} of it is {line[error.start]:#04x}"
        raise ImportRefused(msg) from None


def _kind(found: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    return names.get(type(found), f"{found!r}")


def _document(json: object, place: str, decode: Callable[[object], Value]) -> SourceDocument:
    """Return a document that can be stored.

    Raises:
        ImportRefused: it cannot be.
    """
    if not isinstance(json, dict):
        raise ImportRefused(f"{place} holds {_kind(json)}; a document is an object")
    try:
        fields = decode(json)
    except InvalidValue as error:
        raise ImportRefused(f"{place}: {error.sentence}") from None
    if not isinstance(fields, dict):
        raise ImportRefused(f"{place} holds {shown(fields)}; a document is an object")
    _read_system_fields(fields, place)
    size = value_size(fields)
    if size > limits.document_bytes_max:
        msg = f"{place}: the document has {size} bytes; it may have {limits.document_bytes_max}"
        raise ImportRefused(msg)
    if nesting(fields) > limits.document_nesting_max:
        msg = (
            f"{place}: the document is nested {nesting(fields)} deep; it may be "
            f"{limits.document_nesting_max} deep"
        )
        raise ImportRefused(msg)
    return SourceDocument(place, fields, size)


def _read_system_fields(fields: dict[str, Value], place: str) -> None:
    for name, value in list(fields.items()):
        if not name.startswith("_"):
            continue
        if name == ID_FIELD:
            try:
                decode_id(value if isinstance(value, str) else shown(value))
            except InvalidId as error:
                raise ImportRefused(f"{place}: {error.sentence}", code="InvalidId") from None
        elif name == CREATION_TIME_FIELD:
            fields[name] = _creation_time(value, place)
        else:
            msg = f"{place}: the field {name!r} begins with '_'; such names are the server's own"
            raise ImportRefused(msg)


def _creation_time(value: Value, place: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):  # type: ignore[arg-type]
        msg = f"{place}: _creationTime is a number of milliseconds, not {shown(value)}"
        raise ImportRefused(msg)
    # An int64 too: whoever wrote it by hand may have left out the decimal point.
    return canonical_float(float(value))  # type: ignore[arg-type]
