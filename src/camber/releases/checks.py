"""Checking stored documents against a release while commits go on.

Every document is looked at once, in batches, each at the newest snapshot of its moment. What
commits change meanwhile is noted, and looked at again until little is left; the rest is for when
nobody commits. A document that does not fit ends the push, whenever it was written.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from camber import limits
from camber.engine.catalog import IndexEntry, TableEntry
from camber.engine.engine import Engine
from camber.occ.interval import ALL, Interval, Order
from camber.releases.failures import PushFailed
from camber.releases.plan import TablePlan
from camber.runtime.release import LoadedRelease
from camber.storage.store import Commit, Row, Store
from camber.values.packed import unpack
from camber.values.value import Value


class Checks:
    """What one push has looked at, and what it has to look at again. Lives on the event loop."""

    def __init__(
        self, *, engine: Engine, release: LoadedRelease, told: Callable[[int], None]
    ) -> None:
        self._engine = engine
        self._release = release
        self._told = told
        #: Tables whose changes matter, by number, and what has changed in them.
        self._watched: dict[int, TablePlan] = {}
        self._changed: dict[int, set[str]] = {}
        self._validated: set[str] = set()
        self._verified: set[int] = set()
        self._lacking: dict[str, Counter[str]] = {}

    def published(self, commits: Sequence[Commit]) -> None:
        """Note what commits have changed; called as they are published."""
        for commit in commits:
            for change in commit.changes:
                changed = self._changed.get(change.table)
                if changed is not None:
                    changed.add(change.id)

    @property
    def changed_count(self) -> int:
        """Return how many documents have changed since they were looked at."""
        return sum(len(ids) for ids in self._changed.values())

    def is_done(self, plan: TablePlan) -> bool:
        """Return whether everything was looked at once that `plan` asks for."""
        verified = all(index.id in self._verified for index in plan.to_verify)
        return verified and (plan.name in self._validated or not plan.validate)

    def watch(self, plans: Iterable[TablePlan]) -> None:
        """Note changes in tables from now on; what to check there is what their plans say."""
        for plan in plans:
            if plan.entry is not None and plan.is_watched:
                self._watched[plan.entry.number] = plan
                self._changed.setdefault(plan.entry.number, set())

    async def look_at(self, plan: TablePlan) -> None:
        """Check what `plan` asks for and was not looked at yet.

        Raises:
            PushFailed: a document does not fit, or two are equal where they may not be.
        """
        table = plan.entry
        if table is None:
            return
        if plan.validate and plan.name not in self._validated:
            async for packed in self._batches(table):
                lacking = await self._check(plan.name, packed)
                self._lacking.setdefault(plan.name, Counter()).update(lacking)
                self._told(len(packed))
            self._validated.add(plan.name)
        for index in plan.to_verify:
            if index.id not in self._verified:
                await self._verify(table, index)
                self._verified.add(index.id)

    async def look_again(self) -> None:
        """Check what has changed since; more may have changed when it ends."""
        for number, ids in list(self._changed.items()):
            if ids:
                self._changed[number] = set()
                await self._look_again_at(self._watched[number], sorted(ids))

    async def settle(self) -> None:
        """Look again until little is left, or for as long as a push should."""
        for _ in range(limits.push_rounds_max):
            if self.changed_count <= limits.push_remainder_documents:
                return
            await self.look_again()

    def notes(self, plan: TablePlan) -> list[str]:
        """Return what the author should know of a table's documents."""
        indexes = () if plan.declared is None else plan.declared.indexes
        defaulted = {path: index.name for index in indexes for path in index.defaulted}
        return [
            f"index {plan.name}.{defaulted[path]}: {count} stored documents lack {path!r}; they "
            "are read with its default, and indexed as missing until they are written again"
            for path, count in self._lacking.get(plan.name, {}).items()
        ]

    async def find_equal(self, plan: TablePlan) -> None:
        """Check unique indexes that are not built, by the documents alone (dry runs).

        Raises:
            PushFailed: two documents are equal where they may not be.
        """
        assert plan.declared is not None
        if plan.entry is None:
            return
        named = {index.name for index in plan.build} | {index.name for index in plan.enable}
        indexes = [
            IndexEntry(id=0, name=index.name, fields=index.fields, unique=True)
            for index in plan.declared.indexes
            if index.unique and index.name in named
        ]
        if not indexes:
            return
        seen: dict[tuple[str, bytes], str] = {}
        async for packed in self._batches(plan.entry):
            for document in map(_document, packed):
                for index in indexes:
                    key = index.unique_key(document)
                    if key is None:
                        continue
                    other = seen.setdefault((index.name, key), str(document["_id"]))
                    if other != document["_id"]:
                        raise _not_unique(plan.entry, index, other, document)

    async def _look_again_at(self, plan: TablePlan, ids: Sequence[str]) -> None:
        table = plan.entry
        assert table is not None
        for start in range(0, len(ids), limits.push_batch_documents):
            some = ids[start : start + limits.push_batch_documents]
            packed, equal = await asyncio.to_thread(
                _read_again, self._engine.store, table, some, plan.to_verify
            )
            if plan.validate:
                await self._check(plan.name, packed)
            if equal is not None:
                index, other, document = equal
                raise _not_unique(table, index, other, document)

    async def _check(self, table: str, packed: Sequence[bytes]) -> Mapping[str, int]:
        numbers = {entry.name: entry.number for entry in self._engine.catalog.tables()}
        check = await self._release.check(table, packed, numbers)
        if check.misfit is not None:
            raise PushFailed(
                f"the stored document {check.misfit.id} of table {table!r} does not fit the new "
                f"schema: {check.misfit.reason}\nChange the schema so that it fits (a default "
                "makes a field optional), or change the document first."
            )
        return check.lacking

    async def _verify(self, table: TableEntry, index: IndexEntry) -> None:
        """Walk through a unique index: documents with equal fields stand side by side."""
        before: tuple[bytes, str] | None = None
        rest: Interval | None = ALL
        while rest is not None:
            rows, rest = await asyncio.to_thread(_rows, self._engine.store, table, index, rest)
            for document in map(_document, (row.packed for row in rows)):
                key = index.unique_key(document)
                if key is None:
                    continue
                if before is not None and before[0] == key and before[1] != document["_id"]:
                    raise _not_unique(table, index, before[1], document)
                before = key, str(document["_id"])

    async def _batches(self, table: TableEntry) -> AsyncIterator[list[bytes]]:
        by_id = table.indexes["by_id"]
        rest: Interval | None = ALL
        while rest is not None:
            rows, rest = await asyncio.to_thread(_rows, self._engine.store, table, by_id, rest)
            yield [row.packed for row in rows]


def _rows(
    store: Store, table: TableEntry, index: IndexEntry, rest: Interval
) -> tuple[list[Row], Interval | None]:
    """Return the next documents of an index as they are now, and what is left."""
    most = limits.push_batch_documents
    with store.snapshot() as snapshot:
        rows = snapshot.scan(table.number, index.id, rest, Order.ASC, most)
    return rows, None if len(rows) < most else Interval(rows[-1].key + b"\0", None)


#: A unique index, a document in it, and another with equal fields.
_Equal = tuple[IndexEntry, str, dict[str, Value]]


def _read_again(
    store: Store, table: TableEntry, ids: Sequence[str], unique: Sequence[IndexEntry]
) -> tuple[list[bytes], _Equal | None]:
    """Return documents as they are now, and the first that stands in another's place."""
    found: list[bytes] = []
    with store.snapshot() as snapshot:
        for id_ in ids:
            packed = snapshot.get(table.number, id_)
            if packed is None:
                continue
            found.append(packed)
            document = _document(packed)
            for index in unique:
                key = index.unique_key(document)
                if key is None:
                    continue
                place = Interval.prefix(key)
                for row in snapshot.scan(table.number, index.id, place, Order.ASC, 2):
                    other = str(_document(row.packed)["_id"])
                    if other != id_:
                        return found, (index, other, document)
    return found, None


def _not_unique(
    table: TableEntry, index: IndexEntry, other: str, document: dict[str, Value]
) -> PushFailed:
    return PushFailed(
        f"index {table.name}.{index.name} is unique, but the stored documents {other} and "
        f"{document['_id']!s} have equal fields ({', '.join(index.fields)}). Change or delete one "
        "of them first."
    )


def _document(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document
