"""What has to change for a release: its tables against those that are stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from camber.engine.catalog import Catalog, IndexEntry, IndexState, TableEntry
from camber.functions.analysis import AnalysedIndex, AnalysedTable, Analysis
from camber.schema.storable import takes_in


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What has to change for one table.

    `entry` is None for a table that the switch creates, `declared` for one that the release does
    not declare: its documents stay, and its indexes go.
    """

    name: str
    entry: TableEntry | None
    declared: AnalysedTable | None
    #: Whether stored documents may not fit, so that each has to be looked at.
    validate: bool
    #: Indexes to build before the switch, and those of them that the catalog has already.
    build: tuple[AnalysedIndex, ...]
    pending: tuple[IndexEntry, ...]
    #: Staged indexes to add, which are built after the switch.
    stage: tuple[AnalysedIndex, ...]
    #: Staged indexes that queries may read from the switch on, and the other way round.
    enable: tuple[IndexEntry, ...]
    disable: tuple[IndexEntry, ...]
    #: Indexes that are not declared any more, or with other fields.
    drop: tuple[IndexEntry, ...]

    @property
    def to_verify(self) -> tuple[IndexEntry, ...]:
        """Return the indexes that are unique from the switch on and have not been so far."""
        return tuple(index for index in (*self.pending, *self.enable) if index.unique)

    @property
    def awaited(self) -> tuple[IndexEntry, ...]:
        """Return the staged indexes that still have to be complete before the switch."""
        return tuple(i for i in self.enable if i.state is IndexState.STAGED_BACKFILLING)

    @property
    def is_watched(self) -> bool:
        """Return whether what is written to the table meanwhile matters to the push."""
        becomes_unique = any(index.unique for index in self.build) or bool(self.to_verify)
        return self.validate or becomes_unique


def plan_tables(
    catalog: Catalog, analysis: Analysis, known: Mapping[str, dict[str, Any]]
) -> tuple[TablePlan, ...]:
    """Return what has to change; `known` describes what stored documents are known to be."""
    stored = {table.name: table for table in catalog.tables() if not table.is_system}
    tables = analysis.all_tables()
    declared = [
        _plan_table(table, stored.get(table.name), known.get(table.name))
        for table in tables.values()
    ]
    # Those of a component that is mounted no more are kept like any other: it may come back.
    abandoned = [_plan_undeclared(entry) for name, entry in stored.items() if name not in tables]
    return (*declared, *abandoned)


def _plan_table(
    declared: AnalysedTable, entry: TableEntry | None, known: dict[str, Any] | None
) -> TablePlan:
    existing = {} if entry is None else _named(entry)
    build: list[AnalysedIndex] = []
    stage: list[AnalysedIndex] = []
    enable: list[IndexEntry] = []
    disable: list[IndexEntry] = []
    kept: set[str] = set()
    for want in declared.indexes:
        index = existing.get(want.name)
        if index is None or not _is_same(index, want):
            (stage if want.staged else build).append(want)
            continue
        kept.add(want.name)
        is_enabled = index.state is IndexState.ENABLED
        if want.staged and is_enabled:
            disable.append(index)
        elif not want.staged and not is_enabled:
            enable.append(index)
    fits = known is not None and takes_in(declared.storable, known)
    # An index on a default says how many documents lack the field: they are counted on the way.
    counts = any(index.defaulted for index in build)
    return TablePlan(
        name=declared.name,
        entry=entry,
        declared=declared,
        validate=entry is not None and (counts or not fits),
        build=tuple(build),
        pending=() if entry is None else _matching(entry.pending, build),
        stage=tuple(stage),
        enable=tuple(enable),
        disable=tuple(disable),
        drop=tuple(index for name, index in existing.items() if name not in kept),
    )


def _plan_undeclared(entry: TableEntry) -> TablePlan:
    return TablePlan(
        name=entry.name,
        entry=entry,
        declared=None,
        validate=False,
        build=(),
        pending=(),
        stage=(),
        enable=(),
        disable=(),
        drop=tuple(_named(entry).values()),
    )


def _named(entry: TableEntry) -> dict[str, IndexEntry]:
    built_in = {"by_id", "by_creation_time"}
    return {name: index for name, index in entry.indexes.items() if name not in built_in}


def _matching(
    pending: Iterable[IndexEntry], wanted: Iterable[AnalysedIndex]
) -> tuple[IndexEntry, ...]:
    by_name = {want.name: want for want in wanted}
    return tuple(i for i in pending if i.name in by_name and _is_same(i, by_name[i.name]))


def _is_same(index: IndexEntry, want: AnalysedIndex) -> bool:
    wanted = (want.fields, want.unique, want.tokenizer, want.dimensions)
    return (index.fields, index.unique, index.tokenizer, index.dimensions) == wanted
