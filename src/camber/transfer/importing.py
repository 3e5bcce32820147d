"""One import: survey the file, load it aside, let it in by one commit.

While documents are loaded nobody sees them, and commits go on. What they are checked against must
not change meanwhile, so pushes wait. The commit itself moves rows within the store; the tables that
change their numbers, and the document of the import, change with it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import islice
from typing import Any, Final, Protocol, TypeVar, cast

from camber import limits
from camber.engine import file_ledger, system_tables
from camber.engine.catalog import (
    CREATION_TIME_FIELD,
    ID_FIELD,
    Catalog,
    IndexEntry,
    TableEntry,
    table_entry,
)
from camber.engine.component_data import being_deleted, has_documents
from camber.engine.engine import Engine, Hold
from camber.engine.file_ledger import BlobState
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.errors import FeatureUnavailable
from camber.host import Host, Worker
from camber.occ.interval import ALL, IndexId, Interval, Order
from camber.occ.read_set import ReadSet
from camber.releases.indexes import free_index_numbers, index_id
from camber.releases.releases import RELEASE_ID, Releases
from camber.runtime.files import Files
from camber.runtime.release import LoadedRelease
from camber.storage.index_ids import by_id_index
from camber.storage.store import (
    DocumentChange,
    Placement,
    Snapshot,
    StagedRow,
    StagedTable,
    StagedTwice,
    id_of_key,
)
from camber.transfer.numbering import number_tables
from camber.transfer.sources import ImportRefused, Source, SourceDocument
from camber.transfer.stored_files import IncomingFiles, renamed
from camber.values.ids import decode_id, encode_id, id_length, new_internal_id
from camber.values.keys import encode_key
from camber.values.packed import pack, unpack
from camber.values.value import Value

R = TypeVar("R")

SOURCE: Final = "import"
#: What must differ within a unique index is staged under this much above the index's own id, and
#: never let in.
_UNIQUE: Final = 2**50
#: Keys compared at once, and documents checked again at once: each may have a MiB.
_ROWS: Final = 64


class Progress(Protocol):
    """Told what is being done, in words for people."""

    async def now(self, text: str) -> None:
        """Hear what is being done at the moment."""

    def done(self, text: str) -> None:
        """Hear of a part that is done; told with the next word of what is being done."""


class ImportMode(Enum):
    """What becomes of the documents that are there, under the names that the protocol has."""

    #: The tables of the import must have none.
    REQUIRE_EMPTY = "requireEmpty"
    #: They stay.
    APPEND = "append"
    #: Those in tables of the import go.
    REPLACE = "replace"
    #: All go.
    REPLACE_ALL = "replaceAll"


@dataclass(slots=True)
class SurveyedTable:
    """What the file has of a table: how many documents, and the number that their ids carry."""

    name: str
    number: int | None
    documents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a file has: its tables, in the order of their names, and stored files by component.

    `files` are what ids of files are made of; it is None where the file says nothing of them.
    """

    tables: list[SurveyedTable]
    files: Mapping[str, frozenset[bytes]] | None


async def survey(source: Source, host: Host, worker: Worker, progress: Progress) -> Survey:
    """Read all of a file once.

    Raises:
        ImportRefused: something in it cannot be imported.
    """
    tables = []
    for name, number in sorted(source.numbers.items()):
        table = SurveyedTable(name, number)
        async with aclosing(_batches(source, name, host, worker)) as batches:
            async for batch in batches:
                await worker.run(_survey_batch, table, batch)
                await progress.now(f"Parsing {name} ({table.documents} documents)")
        tables.append(table)
    # Read in any case, so that what is wrong with stored files is said before anybody confirms.
    files = await worker.run(_files_by_component, source)
    return Survey(tables=tables, files=files if source.has_files else None)


def _files_by_component(source: Source) -> dict[str, frozenset[bytes]]:
    found: dict[str, set[bytes]] = {}
    for file in source.files():
        found.setdefault(file.component, set()).add(file.internal)
    return {component: frozenset(files) for component, files in found.items()}


async def _batches(
    source: Source, table: str, host: Host, worker: Worker
) -> AsyncGenerator[list[SourceDocument], None]:
    """Yield the documents of a table, some at a time, read on the worker's thread."""
    documents = source.documents(table)
    try:
        while batch := await worker.run(_next_batch, documents):
            yield batch
    finally:
        # On that thread too: it may be reading still.
        await _to_its_end(host, _on(worker, documents.close))


def _next_batch(documents: Iterator[SourceDocument]) -> list[SourceDocument]:
    """Return the next documents; none at the end."""
    batch: list[SourceDocument] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += document.size
        if len(batch) >= limits.import_batch_documents_max or size >= limits.import_batch_bytes_max:
            break
    return batch


async def _on(worker: Worker, function: Callable[[], R]) -> R:
    return await worker.run(function)


def _survey_batch(table: SurveyedTable, batch: list[SourceDocument]) -> None:
    table.documents += len(batch)
    for document in batch:
        if document.id is None:
            continue
        number = decode_id(document.id).table_number
        if table.number is None:
            table.number = number
        if number != table.number:
            msg = (
                f"{document.place}: the id {document.id} is of table number {number}, and other "
                f"documents of {table.name!r} are of {table.number}"
            )
            raise ImportRefused(msg, code="InvalidId")


def documents_there(engine: Engine) -> dict[str, int]:
    """Return how many documents each table of the application has. Blocking."""
    with closing(engine.begin(SOURCE)) as transaction:
        return {
            table.name: transaction.snapshot.count(table.indexes["by_creation_time"].id)
            for table in transaction.user_tables()
        }


def files_there(engine: Engine) -> dict[str, set[bytes]]:
    """Return the stored files of each component, as what their ids are made of. Blocking."""
    found: dict[str, set[bytes]] = {}
    with closing(engine.begin(SOURCE)) as transaction:
        for entry in file_ledger.entries_in(transaction, BlobState.STORED):
            found.setdefault(entry.component, set()).add(entry.internal)
    return found


def _rows(snapshot: Snapshot, table: TableEntry) -> Iterator[bytes]:
    """Yield the packed documents of a table."""
    rest = ALL
    while True:
        rows = snapshot.scan(table.number, by_id_index(table.number), rest, Order.ASC, _ROWS)
        for row in rows:
            yield row.packed
        if len(rows) < _ROWS:
            return
        rest = Interval(rows[-1].key + b"\0", None)


@dataclass(slots=True)
class _Target:
    """A table as it will be, and as it was."""

    entry: TableEntry
    previous: TableEntry | None
    documents: int = 0


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What the import does to the tables."""

    #: The number of every table afterwards, those of the system included.
    numbers: dict[str, int]
    #: By name, the tables that get documents, and those that only make room for a number.
    targets: dict[str, _Target] = field(default_factory=dict)
    moved: dict[str, _Target] = field(default_factory=dict)
    #: Tables as they were whose documents go.
    cleared: list[TableEntry] = field(default_factory=list)

    @property
    def renumbered(self) -> set[str]:
        """Return the tables that are there and get another number."""
        return {
            name
            for name, target in (self.targets | self.moved).items()
            if target.previous is not None and target.previous.number != target.entry.number
        }

    @property
    def structural(self) -> list[_Target]:
        """Return the tables that are new or get another number."""
        return [
            target
            for target in (self.targets | self.moved).values()
            if target.previous is None or target.previous.number != target.entry.number
        ]


class Import:
    """One import of a file that has been surveyed. Used once."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: Releases,
        files: Files,
        worker: Worker,
        source: Source,
        tables: Sequence[SurveyedTable],
        mode: ImportMode,
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._releases = releases
        self._worker = worker
        self._source = source
        self._tables = tables
        self._mode = mode
        self._progress = progress
        self._creation_time = 0.0
        self._incoming = IncomingFiles(files=files, source=source, worker=worker)
        self._new_ids: dict[str, str] = {}

    async def run(self, completed: Callable[[Transaction, int], None]) -> int:
        """Load everything and let it in; return how many documents came.

        `completed` adds to the commit what says that it has happened. A caller who is cancelled
        learns from there whether it has.

        Raises:
            ImportRefused: something stands in the way; nothing was changed.
        """
        engine = self._engine
        async with engine.structure:
            await engine.on_writer(engine.store.unstage)
            try:
                await self._incoming.list()
                self._new_ids = self._incoming.new_ids
                plan = self._plan(engine.catalog)
                release = self._serving()
                self._creation_time = max(engine.newest_ts + 1, engine.host.now_ns()) / 1e6
                for name, target in plan.targets.items():
                    await self._load(name, target, plan, release)
                    self._progress.done(f"Loaded {target.documents} documents for {name}")
                    await engine.on_writer(self._check_unique, target.entry)
                await self._progress.now("Importing stored files")
                await self._incoming.load()
                await self._progress.now("Making the new contents visible")
                await _to_its_end(engine.host, self._let_in(plan, release, completed))
            finally:
                await _to_its_end(engine.host, self._incoming.close())
                await _to_its_end(engine.host, _unstage(engine))
        return sum(target.documents for target in plan.targets.values())

    def _serving(self) -> LoadedRelease | None:
        with closing(self._engine.begin(SOURCE)) as transaction:
            try:
                return self._releases.serving(transaction)
            except FeatureUnavailable:
                return None

    # Planning.

    def _refuse_unknown_components(self, existing: Iterable[TableEntry]) -> None:
        release = self._serving()
        known = {table.component for table in existing} | {""}
        known |= set() if release is None else release.analysis.components.keys()
        of_tables = {table.name.rpartition("/")[0] for table in self._tables}
        for component in sorted((of_tables | self._incoming.components) - known):
            msg = (
                f"the file has data of the component {component!r}, which this deployment does "
                "not have. Push a release that mounts it first, or remove its folder to import the "
                "rest"
            )
            raise ImportRefused(msg, code="ComponentNotFound")
        with closing(self._engine.begin(SOURCE)) as transaction:
            deleted = being_deleted(transaction, of_tables | self._incoming.components)
        for component in sorted(deleted):
            msg = (
                f"the file has data of the component {component!r}, whose data is being deleted; try again "
                "when that is done"
            )
            raise ImportRefused(msg, code="ComponentBeingDeleted")

    def _plan(self, catalog: Catalog) -> _Plan:
        """Decide what becomes of each table, by what they hold now.

        Raises:
            ImportRefused: they must be empty and are not, or numbers clash.
        """
        existing = {table.name: table for table in catalog.tables() if not table.is_system}
        with closing(self._engine.begin(SOURCE)) as transaction:
            filled = {
                name
                for name, table in existing.items()
                if has_documents(transaction.snapshot, table)
            }
            free_numbers = free_index_numbers(transaction)
        imported = {table.name: table.number for table in self._tables}
        self._refuse_unknown_components(existing.values())
        self._refuse_filled(filled & imported.keys())
        numbers = number_tables(
            existing={name: table.number for name, table in existing.items()},
            keeping=self._keeping(filled, imported),
            imported=imported,
        )
        plan = _Plan(numbers={table.name: table.number for table in catalog.tables()} | numbers)
        for name, number in numbers.items():
            previous = existing.get(name)
            entry = _as_it_will_be(name, number, previous, free_numbers)
            target = _Target(entry, previous)
            if name in imported:
                plan.targets[name] = target
            elif previous is not None and previous.number != number:
                plan.moved[name] = target
            goes = self._mode is ImportMode.REPLACE_ALL or (
                self._mode is ImportMode.REPLACE and name in imported
            )
            if goes and previous is not None and name in filled:
                plan.cleared.append(previous)
        return plan

    def _refuse_filled(self, filled: Collection[str]) -> None:
        if self._mode is ImportMode.REQUIRE_EMPTY and filled:
            names = ", ".join(repr(name) for name in sorted(filled))
            msg = (
                f"these tables have documents already: {names}. Import with append to keep them, "
                "or with replace or replaceAll to remove them"
            )
            raise ImportRefused(msg, code="TableNotEmpty")

    def _keeping(self, filled: Collection[str], imported: Collection[str]) -> list[str]:
        match self._mode:
            case ImportMode.APPEND:
                return sorted(filled)
            case ImportMode.REPLACE_ALL:
                return []
            case ImportMode.REQUIRE_EMPTY | ImportMode.REPLACE:
                return sorted(set(filled) - set(imported))

    # Loading.

    async def _load(
        self, name: str, target: _Target, plan: _Plan, release: LoadedRelease | None
    ) -> None:
        engine = self._engine
        async with aclosing(_batches(self._source, name, engine.host, self._worker)) as batches:
            async for batch in batches:
                rows = await self._worker.run(self._staged_rows, target.entry, batch)
                if release is not None and name in release.analysis.all_tables():
                    check = await release.check(name, [row.packed for row in rows], plan.numbers)
                    if check.misfit is not None:
                        place = _place_of(check.misfit.id, rows, batch)
                        msg = f"table {name!r}, {place}: {_one_line(check.misfit.reason)}"
                        raise ImportRefused(msg, code="SchemaMismatch")
                try:
                    await engine.on_writer(engine.store.stage, target.entry.number, rows)
                except StagedTwice as error:
                    at = _twice(error.key, rows)
                    msg = f"{batch[at].place}: another document has the same _id, {batch[at].id}"
                    raise ImportRefused(msg, code="DuplicateId") from None
                target.documents += len(rows)
                await self._progress.now(f"Importing {name} ({target.documents} documents)")

    def _staged_rows(self, table: TableEntry, batch: list[SourceDocument]) -> list[StagedRow]:
        return [self._staged_row(table, document.fields) for document in batch]

    def _staged_row(self, table: TableEntry, fields: dict[str, Value]) -> StagedRow:
        host = self._engine.host
        if self._new_ids:
            fields = cast("dict[str, Value]", renamed(fields, self._new_ids))
        if ID_FIELD not in fields:
            internal = new_internal_id(host.random_bytes(10), host.now_ns())
            fields[ID_FIELD] = encode_id(table.number, internal)
        if CREATION_TIME_FIELD not in fields:
            fields[CREATION_TIME_FIELD] = self._creation_time
            self._creation_time = math.nextafter(self._creation_time, math.inf)
        key = encode_key([fields[ID_FIELD]])
        packed = pack(fields)
        # As it will be read: what is packed is canonical.
        document = unpack(packed)
        assert isinstance(document, dict)
        keys = [(index.id, index.key(document)) for index in table.stored]
        entries = [(index, key) for index, key in keys if key is not None]
        for index in table.stored:
            unique = index.unique_key(document) if index.unique else None
            if unique is not None:
                entries.append((index.id + _UNIQUE, unique + key))
        return StagedRow(key, packed, tuple(entries))

    def _check_unique(self, table: TableEntry) -> None:
        """Raise if two staged documents of a table have equal fields in a unique index."""
        for index in table.stored:
            previous = None
            for unique, key in self._unique_keys(table, index):
                if unique == previous:
                    raise _not_unique(table, index, key)
                previous = unique

    def _unique_keys(self, table: TableEntry, index: IndexEntry) -> Iterator[tuple[bytes, bytes]]:
        """Yield what must differ, and the key of its document's id, in order."""
        if not index.unique:
            return
        id_bytes = id_length(table.number) + 2
        after = b""
        while keys := self._engine.store.staged_keys(index.id + _UNIQUE, after, _ROWS):
            for key in keys:
                yield key[:-id_bytes], key[-id_bytes:]
            after = keys[-1]

    # Letting it in.

    async def _let_in(
        self,
        plan: _Plan,
        release: LoadedRelease | None,
        completed: Callable[[Transaction, int], None],
    ) -> None:
        engine = self._engine
        async with engine.hold() as hold:
            # Tables may have been made and filled since.
            now = self._plan(engine.catalog)
            if any(now.numbers.get(name) != number for name, number in plan.numbers.items()) or any(
                _shape(now.targets[name].entry) != _shape(target.entry)
                for name, target in plan.targets.items()
            ):
                msg = "a table was made meanwhile, with a number that this import needs; try again"
                raise ImportRefused(msg, code="TablesChanged")
            for name, target in plan.targets.items():
                now.targets[name].documents = target.documents
            await engine.on_writer(self._check_against_kept, now)
            await self._check_references(now, release)
            await self._commit(hold, now, completed)

    def _check_against_kept(self, plan: _Plan) -> None:
        """Raise if what is appended has ids or unique fields of what is there already."""
        if self._mode is not ImportMode.APPEND:
            return
        with closing(self._engine.begin(SOURCE)) as transaction:
            for target in plan.targets.values():
                table = target.entry
                there = self._engine.store.staged_and_there(table.number)
                if there is not None:
                    msg = f"table {table.name!r} has a document with the _id {id_of_key(there)} already"
                    raise ImportRefused(msg, code="DuplicateId")
                for index in table.stored:
                    for unique, key in self._unique_keys(table, index):
                        rows = transaction.snapshot.scan(
                            table.number, index.id, Interval.prefix(unique), Order.ASC, 1
                        )
                        if rows:
                            raise _not_unique(table, index, key)

    async def _check_references(self, plan: _Plan, release: LoadedRelease | None) -> None:
        """Raise if a table that stays refers to one whose ids are of another number from now on."""
        renumbered = plan.renumbered
        if release is None or not renumbered:
            return
        gone = {table.name for table in plan.cleared}
        for name, declared in release.analysis.all_tables().items():
            stays = self._engine.catalog.by_name(name)
            if stays is None or name in gone or not _refers(declared.validator, renumbered):
                continue
            if name in plan.targets and self._mode is not ImportMode.APPEND:
                continue
            with closing(self._engine.begin(SOURCE)) as transaction:
                rows = _rows(transaction.snapshot, stays)
                while batch := await self._worker.run(list, islice(rows, _ROWS)):
                    check = await release.check(name, batch, plan.numbers)
                    if check.misfit is not None:
                        msg = (
                            f"the document {check.misfit.id} of table {name!r} would not fit its "
                            f"schema any more, since the import gives other tables other numbers: "
                            f"{_one_line(check.misfit.reason)}"
                        )
                        raise ImportRefused(msg, code="InvalidId")

    async def _commit(
        self, hold: Hold, plan: _Plan, completed: Callable[[Transaction, int], None]
    ) -> None:
        with closing(self._engine.begin(SOURCE)) as transaction:
            structural = plan.structural
            for target in structural:
                _write_structure(transaction, target)
            self._incoming.enter(transaction)
            if self._mode is ImportMode.REPLACE_ALL:
                self._incoming.remove_others(transaction)
            completed(transaction, sum(target.documents for target in plan.targets.values()))
            touched = (_touched_release(transaction),) if structural else ()
            finished = transaction.finish()
        changes = tuple(change for change in (*finished.changes, *touched) if change is not None)
        await hold.commit(
            FinishedTransaction(
                begin_ts=finished.begin_ts,
                # Nobody else commits: there is nothing to conflict with.
                reads=ReadSet(),
                changes=changes,
                stamps=finished.stamps,
                source=SOURCE,
                staged=self._staged_tables(plan),
            )
        )
        self._incoming.entered()

    def _staged_tables(self, plan: _Plan) -> tuple[StagedTable, ...]:
        placement = Placement.ADD if self._mode is ImportMode.APPEND else Placement.REPLACE
        documents = {t.entry.number: t.documents for t in plan.targets.values()}
        indexes: dict[int, set[int]] = {}
        # A number may pass from one table to another: whose rows go and whose come, together.
        for table in (*plan.cleared, *(target.entry for target in plan.targets.values())):
            ids = indexes.setdefault(table.number, set())
            ids.update(index.id for index in table.stored)
        return tuple(
            StagedTable(
                table=number,
                indexes=tuple(sorted(ids)),
                placement=placement,
                documents=documents.get(number, 0),
            )
            for number, ids in sorted(indexes.items())
        )


def _as_it_will_be(
    name: str, number: int, previous: TableEntry | None, free_numbers: Iterator[int]
) -> TableEntry:
    """Return a table under its number.

    With a new one its indexes get new ids: no key of an old one must be taken for a new one's.
    """
    if previous is None:
        return table_entry(number, name, ())
    if previous.number == number:
        return previous
    indexes = [
        index
        if index in previous.dropped
        else replace(index, id=index_id(next(free_numbers), index), since=0)
        for index in previous.declared
    ]
    return table_entry(number, name, indexes)


def _shape(table: TableEntry) -> list[tuple[IndexId, tuple[str, ...], bool]]:
    """Return what staged rows depend on; an index may be completed meanwhile."""
    return [(index.id, index.fields, index.unique) for index in table.stored]


def _write_structure(transaction: Transaction, target: _Target) -> None:
    """Write the documents of a table and its indexes under its new number."""
    entry, previous = target.entry, target.previous
    document = system_tables.table_document(entry.number, entry.name)
    if previous is None:
        transaction.insert(system_tables.TABLES, document)
        return
    transaction.replace(transaction.table_document_id(entry.name), document)
    for index, moved in zip(previous.declared, entry.declared, strict=True):
        before = system_tables.index_document_id(index.id)
        # Read, so that it conflicts with whoever changes the same index.
        assert transaction.get(before) is not None, f"index {entry.name}.{index.name} is not there"
        document = system_tables.index_document(entry, moved)
        if index.id == moved.id:
            transaction.replace(before, document)
        else:
            transaction.delete(before)
            after = system_tables.index_document_id(moved.id)
            transaction.insert(system_tables.INDEXES, document, id=after)


def _touched_release(transaction: Transaction) -> DocumentChange | None:
    """Return a change that changes nothing, of what every function reads.

    What an id or a table's name means is not recorded by whoever reads it, so when that changes
    everything runs again.
    """
    packed = transaction.get(RELEASE_ID)
    if packed is None:
        return None
    return DocumentChange(
        table=system_tables.RELEASES_NUMBER,
        id=RELEASE_ID,
        before=packed,
        after=packed,
        entries=(),
    )


def _refers(validator: Any, tables: Collection[str]) -> bool:
    """Return whether a validator (protocol 8.3) has ids of one of the tables."""
    if isinstance(validator, Mapping):
        if validator.get("type") == "id":
            return validator.get("tableName") in tables
        return any(_refers(part, tables) for part in validator.values())
    if isinstance(validator, list):
        return any(_refers(part, tables) for part in validator)
    return False


def _place_of(id_: str, rows: list[StagedRow], batch: list[SourceDocument]) -> str:
    key = encode_key([id_])
    return next(
        (document.place for row, document in zip(rows, batch, strict=True) if row.key == key), id_
    )


def _one_line(reason: str) -> str:
    return "; ".join(line.strip() for line in reason.splitlines() if line.strip())


def _twice(key: bytes, rows: list[StagedRow]) -> int:
    """Return where in a batch the later row of a key stands."""
    return max(at for at, row in enumerate(rows) if row.key == key)


def _not_unique(table: TableEntry, index: IndexEntry, key: bytes) -> ImportRefused:
    msg = (
        f"index {table.name}.{index.name} is unique, and the document {id_of_key(key)} has the same "
        f"fields as another ({', '.join(index.fields)})"
    )
    return ImportRefused(msg, code="UniqueIndexViolation")


async def _unstage(engine: Engine) -> None:
    await engine.on_writer(engine.store.unstage)


async def _to_its_end(host: Host, coroutine: Coroutine[Any, Any, R]) -> R:
    """Await something that must not be cut short; who is cancelled meanwhile is so afterwards."""
    task = host.spawn("end of an import", coroutine)
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
