"""Pushing a release: compare with what is stored, build, switch over in one commit.

Nobody else commits while it goes on. A push that fails has changed nothing that a function can
see, and says which table, document and field stood in its way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from camber.engine import system_tables
from camber.engine.catalog import Catalog, IndexEntry, IndexState, TableEntry
from camber.engine.engine import Engine, Hold
from camber.engine.transaction import Transaction
from camber.functions.analysis import AnalysedIndex, AnalysedTable, Analysis
from camber.occ.interval import ALL, Interval, Order
from camber.releases.records import ReleaseChanges, ReleaseOrigin, write_record
from camber.releases.releases import RELEASE_ID, Releases, release_number
from camber.runtime.release import LoadedRelease
from camber.storage.store import Snapshot
from camber.values.ids import encode_id
from camber.values.packed import unpack
from camber.values.value import Value

#: Documents read at once while a table is validated.
_BATCH_ROWS = 512

#: Beside the number: the validators that stored documents are known to satisfy.
_VALIDATORS_ID = encode_id(system_tables.RELEASES_NUMBER, bytes(15) + b"\x01")


class PushFailed(Exception):
    """A release could not take over. Says what stood in the way; the last good one serves on."""


class PushMode(Enum):
    """How far a push goes."""

    #: Validate, build, and serve it.
    SWITCH = "switch"
    #: Validate and say what would be done; change nothing.
    DRY_RUN = "dry run"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What a push did, or would do in a dry run. `release` is the number it serves under."""

    analysis: Analysis
    mode: PushMode
    release: int
    changes: ReleaseChanges
    tables_created: tuple[str, ...]
    indexes_built: tuple[str, ...]
    indexes_dropped: tuple[str, ...]
    #: What the author should know, though it stands in nobody's way.
    notes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What has to change for a release, found out on the writer's thread."""

    transaction: Transaction
    release: int
    mode: PushMode
    changes: ReleaseChanges = field(default_factory=ReleaseChanges)
    tables_created: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    dropped: list[IndexEntry] = field(default_factory=list)
    dropped_names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def push(
    engine: Engine,
    releases: Releases,
    release: LoadedRelease,
    *,
    origin: ReleaseOrigin,
    mode: PushMode = PushMode.SWITCH,
) -> PushReport:
    """Make `release` the serving one.

    Raises:
        PushFailed: a stored document does not fit the new schema, or an index cannot be built.
    """
    async with engine.hold() as hold:
        transaction = engine.begin("push")
        plan = _Plan(transaction=transaction, release=release_number(transaction) + 1, mode=mode)
        try:
            stale = await engine.on_writer(_create_tables, plan, release.analysis)
            for table in stale:
                plan.notes += await _validate_table(transaction, table, release)
            await engine.on_writer(_prepare, engine, plan, release.analysis, origin)
            if mode is PushMode.SWITCH:
                releases.prepare(plan.release, release)
                await _switch(hold, plan)
        except BaseException:
            releases.withdraw(plan.release)
            raise
        finally:
            transaction.close()
        for index in plan.dropped if mode is PushMode.SWITCH else ():
            await engine.drop_index(index.id)
    return PushReport(
        analysis=release.analysis,
        mode=mode,
        release=plan.release,
        changes=plan.changes,
        tables_created=tuple(plan.tables_created),
        indexes_built=tuple(plan.built),
        indexes_dropped=tuple(plan.dropped_names),
        notes=tuple(plan.notes),
    )


async def _switch(hold: Hold, plan: _Plan) -> None:
    await hold.commit(plan.transaction.finish())


def _create_tables(plan: _Plan, analysis: Analysis) -> list[AnalysedTable]:
    """Create the declared tables that are missing; return those to validate."""
    transaction = plan.transaction
    validators = _known_validators(transaction)
    for declared in analysis.tables.values():
        if transaction.catalog.by_name(declared.name) is None:
            transaction.create_table(declared.name)
            plan.tables_created.append(declared.name)
    return [
        declared
        for declared in analysis.tables.values()
        if validators.get(declared.name) != _validator_text(declared)
    ]


def _prepare(engine: Engine, plan: _Plan, analysis: Analysis, origin: ReleaseOrigin) -> None:
    transaction = plan.transaction
    next_index = _next_index_id(transaction.catalog)
    for table in transaction.user_tables():
        declared = analysis.tables.get(table.name)
        next_index = _plan_indexes(engine, plan, table, declared, next_index)
    _write_release(transaction, plan.release, analysis)
    plan.changes = write_record(
        transaction,
        number=plan.release,
        time_ms=engine.host.now_ns() / 1e6,
        origin=origin,
        analysis=analysis,
    )


def _known_validators(transaction: Transaction) -> dict[str, str]:
    packed = transaction.get(_VALIDATORS_ID)
    if packed is None:
        return {}
    document = unpack(packed)
    assert isinstance(document, dict)
    validators = document["validators"]
    assert isinstance(validators, dict)
    return {name: str(text) for name, text in validators.items()}


def _validator_text(declared: AnalysedTable) -> str:
    return json.dumps(declared.validator, sort_keys=True)


def _write_release(transaction: Transaction, number: int, analysis: Analysis) -> None:
    fields: dict[str, Value] = {"number": number}
    validators: dict[str, Value] = {
        table.name: _validator_text(table) for table in analysis.tables.values()
    }
    known: dict[str, Value] = {"validators": validators}
    for id_, document in ((RELEASE_ID, fields), (_VALIDATORS_ID, known)):
        if transaction.get(id_) is None:
            transaction.insert(system_tables.RELEASES, document, id=id_)
        else:
            transaction.replace(id_, document)


async def _validate_table(
    transaction: Transaction, declared: AnalysedTable, release: LoadedRelease
) -> list[str]:
    """Check all stored documents of a table; return what its author should know of them."""
    table = transaction.table(declared.name)
    assert table is not None
    numbers = {entry.name: entry.number for entry in transaction.catalog.tables()}
    numbers |= {entry.name: entry.number for entry in transaction.user_tables()}
    lacking: Counter[str] = Counter()
    for batch in _batches(transaction.snapshot, table):
        check = await release.check(declared.name, batch, numbers)
        if check.misfit is not None:
            msg = (
                f"the stored document {check.misfit.id} of table {declared.name!r} does not fit "
                f"the new schema: {check.misfit.reason}\nChange the schema so that it fits (a "
                "default makes a field optional), or change the document first."
            )
            raise PushFailed(msg)
        lacking.update(check.lacking)
    defaulted = {path: index.name for index in declared.indexes for path in index.defaulted}
    return [
        f"index {declared.name}.{defaulted[path]}: {count} stored documents lack {path!r}; they "
        "are read with its default, and indexed as missing until they are written again"
        for path, count in lacking.items()
    ]


def _plan_indexes(
    engine: Engine,
    plan: _Plan,
    table: TableEntry,
    declared: AnalysedTable | None,
    next_index: int,
) -> int:
    """Build what a table lacks, note what it has too much; return the next free index id."""
    transaction = plan.transaction
    wanted: dict[str, AnalysedIndex] = (
        {} if declared is None else {index.name: index for index in declared.indexes}
    )
    existing = {
        index.name: index
        for index in table.indexes.values()
        if index.name not in {"by_id", "by_creation_time"}
    }
    for name, index in existing.items():
        want = wanted.get(name)
        if want is None or want.fields != index.fields or want.unique != index.unique:
            transaction.delete(_index_document_id(index.id))
            plan.dropped.append(index)
            plan.dropped_names.append(f"{table.name}.{name}")
        else:
            del wanted[name]
    for want in wanted.values():
        index = IndexEntry(
            id=next_index,
            name=want.name,
            fields=want.fields,
            unique=want.unique,
            state=IndexState.STAGED if want.staged else IndexState.ENABLED,
        )
        next_index += 1
        if plan.mode is PushMode.SWITCH:
            _build(engine, transaction, table, index)
        transaction.insert(
            system_tables.INDEXES,
            system_tables.index_document(table, index),
            id=_index_document_id(index.id),
        )
        plan.built.append(f"{table.name}.{index.name}")
    return next_index


def _index_document_id(index: int) -> str:
    return encode_id(system_tables.INDEXES_NUMBER, index.to_bytes(16, "big"))


def _next_index_id(catalog: Catalog) -> int:
    used = [index.id for table in catalog.tables() for index in table.indexes.values()]
    return max(*used, system_tables.USER_INDEX_ID_MIN - 1) + 1


def _build(engine: Engine, transaction: Transaction, table: TableEntry, index: IndexEntry) -> None:
    # A build that was cut short may have left entries under the id that is free again.
    engine.store.drop_index(index.id)
    engine.store.build_index(index.id, _keys(transaction.snapshot, table, index))


def _keys(snapshot: Snapshot, table: TableEntry, index: IndexEntry) -> Iterator[bytes]:
    seen: dict[bytes, Value] = {}
    for document in _documents(snapshot, table):
        if index.unique:
            fields = index.unique_key(document)
            if fields is not None:
                if fields in seen:
                    msg = (
                        f"index {table.name}.{index.name} is unique, but the stored documents "
                        f"{seen[fields]!s} and {document['_id']!s} have equal fields "
                        f"({', '.join(index.fields)}). Change or delete one of them first."
                    )
                    raise PushFailed(msg)
                seen[fields] = document["_id"]
        yield index.key(document)


def _documents(snapshot: Snapshot, table: TableEntry) -> Iterator[dict[str, Value]]:
    for batch in _batches(snapshot, table):
        for packed in batch:
            document = unpack(packed)
            assert isinstance(document, dict)
            yield document


def _batches(snapshot: Snapshot, table: TableEntry) -> Iterator[list[bytes]]:
    rest = ALL
    while True:
        rows = snapshot.scan(table.number, table.indexes["by_id"].id, rest, Order.ASC, _BATCH_ROWS)
        yield [row.packed for row in rows]
        if len(rows) < _BATCH_ROWS:
            return
        rest = Interval(rows[-1].key + b"\0", None)
