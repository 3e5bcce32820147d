"""What is remembered of each release: a document of `_releases`, written by the push itself.

Enough to list the last releases and to go back to one: the digest names its sources, which whoever
pushed them keeps. Going back is a push like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from camber import limits
from camber.engine import system_tables
from camber.engine.transaction import Transaction
from camber.functions.analysis import Analysis
from camber.occ.interval import ALL, Order
from camber.values.ids import encode_id
from camber.values.packed import unpack
from camber.values.value import canonical

#: The first byte of the internal ids of records: other documents of `_releases` have another.
_RECORD: Final = b"\x02"
#: Records that stay beside a new one.
_OLDER_KEPT: Final = limits.releases_kept - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrigin:
    """Where a release comes from.

    `name` says who pushed it (`dev`, `start`, `deploy`, `rollback`), `digest` names its sources,
    and is empty where nobody keeps them; `message` is for people.
    """

    name: str
    digest: str = ""
    message: str = ""


class ReleaseChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How a release differs from the one before it. Indexes are named `table.index`."""

    functions_added: tuple[str, ...] = ()
    functions_removed: tuple[str, ...] = ()
    tables_added: tuple[str, ...] = ()
    tables_removed: tuple[str, ...] = ()
    indexes_added: tuple[str, ...] = ()
    indexes_removed: tuple[str, ...] = ()
    #: Whose tokens are accepted, as `auth_config` has them.
    providers_added: tuple[str, ...] = ()
    providers_removed: tuple[str, ...] = ()


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One release that has served, or serves."""

    number: int
    #: When it was switched to, in milliseconds since the Unix epoch.
    time_ms: float
    digest: str
    #: `dev`, `start`, `deploy` or `rollback`.
    origin: str
    message: str
    #: What it declares: paths of functions, names of tables, `table.index`.
    functions: tuple[str, ...]
    tables: tuple[str, ...]
    indexes: tuple[str, ...]
    changes: ReleaseChanges
    #: Those of releases from before there were any are not known.
    providers: tuple[str, ...] = ()


def history(transaction: Transaction) -> list[ReleaseRecord]:
    """Return the last releases, the serving one first."""
    table = transaction.catalog.by_name(system_tables.RELEASES)
    assert table is not None
    records = []
    for row in transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC):
        document = unpack(row.packed)
        assert isinstance(document, dict)
        if "time_ms" in document:
            records.append(msgspec.convert(document, ReleaseRecord))
    return sorted(records, key=lambda record: record.number, reverse=True)


def changes_of(transaction: Transaction, analysis: Analysis) -> ReleaseChanges:
    """Return how a release would differ from the serving one."""
    previous = next(iter(history(transaction)), None)
    nothing = Analysis(functions={}, tables={})
    before = _declared(nothing) if previous is None else previous
    return _changes(before, _declared(analysis))


def write_record(
    transaction: Transaction,
    *,
    number: int,
    time_ms: float,
    origin: ReleaseOrigin,
    analysis: Analysis,
) -> ReleaseChanges:
    """Remember a release, and forget those beyond the last few. Return what it changes.

    Sources that are pushed again, as at each start of a server, are remembered once, with what
    they changed when they were new.
    """
    changes = changes_of(transaction, analysis)
    before = history(transaction)
    again = bool(before and origin.digest and before[0].digest == origin.digest)
    forgotten = [*before[:1], *before[limits.releases_kept :]] if again else before[_OLDER_KEPT:]
    for old in forgotten:
        transaction.delete(_record_id(old.number))
    declared = _declared(analysis)
    record = ReleaseRecord(
        number=number,
        time_ms=time_ms,
        digest=origin.digest,
        origin=origin.name,
        message=origin.message,
        functions=declared.functions,
        tables=declared.tables,
        indexes=declared.indexes,
        changes=before[0].changes if again else changes,
        providers=declared.providers,
    )
    fields = canonical(msgspec.to_builtins(record))
    assert isinstance(fields, dict)
    transaction.insert(system_tables.RELEASES, fields, id=_record_id(number))
    return changes


class _Declared(Protocol):
    """What two releases are compared by."""

    @property
    def functions(self) -> tuple[str, ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def indexes(self) -> tuple[str, ...]: ...
    @property
    def providers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    functions: tuple[str, ...]
    tables: tuple[str, ...]
    indexes: tuple[str, ...]
    providers: tuple[str, ...]


def _declared(analysis: Analysis) -> _Names:
    tables = analysis.all_tables()
    return _Names(
        functions=tuple(sorted(analysis.all_functions())),
        tables=tuple(sorted(tables)),
        indexes=tuple(
            sorted(
                f"{table.name}.{index.name}" for table in tables.values() for index in table.indexes
            )
        ),
        providers=tuple(provider.name for provider in analysis.providers),
    )


def _changes(before: _Declared, after: _Declared) -> ReleaseChanges:
    def only_in(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(some) - set(others)))

    return ReleaseChanges(
        functions_added=only_in(after.functions, before.functions),
        functions_removed=only_in(before.functions, after.functions),
        tables_added=only_in(after.tables, before.tables),
        tables_removed=only_in(before.tables, after.tables),
        indexes_added=only_in(after.indexes, before.indexes),
        indexes_removed=only_in(before.indexes, after.indexes),
        providers_added=only_in(after.providers, before.providers),
        providers_removed=only_in(before.providers, after.providers),
    )


def _record_id(number: int) -> str:
    return encode_id(system_tables.RELEASES_NUMBER, _RECORD + number.to_bytes(15, "big"))
