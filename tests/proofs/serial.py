"""Programs run at once on an engine, interleaved step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

from camber import Int64
from camber.engine.catalog import IndexState, tables_of
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.errors import OutOfRetention, RequestError
from camber.functions.analysis import AnalysedIndex
from camber.functions.application import Application
from camber.functions.database import DatabaseAccess, DatabaseReader, DatabaseWriter
from camber.functions.loading import load_application
from camber.functions.pagination import PaginationState
from camber.occ.cursors import CursorCipher, cursor_key
from camber.occ.write_log import Conflict
from camber.releases.indexes import add_index
from camber.schema.table import StoredDocuments
from camber.storage.store import Commit, Store
from tests.applications.proving.backend import steps as real
from tests.proofs.judging import Attempt, Events, Program
from tests.proofs.model import INDEXES, SEARCH_INDEX, UNIQUE, VECTOR_INDEX, Tables
from tests.proofs.places import PLACES, full_name, project
from tests.proofs.plain import plain
from tests.proofs.stepping import SteppedHost, settled

_ATTEMPTS = 3
_CIPHER = CursorCipher(cursor_key(b"proofs"))


@cache
def application() -> Application:
    return load_application(project(), "backend")


class Failing:
    """A store whose appends may fail, before they have landed or after."""

    def __init__(self, store: Store, fates: Sequence[str]) -> None:
        self._store = store
        self.fates = iter(fates)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, commits: Sequence[Commit]) -> None:
        fate = next(self.fates, "lands")
        if fate == "is lost":
            raise OSError("disk full")
        self._store.append(commits)
        if fate == "lands and complains":
            raise OSError("the disk says no, and means yes")


class Driver:
    """Runs programs at once on an engine, interleaved as it is told."""

    def __init__(self, engine: Engine, host: SteppedHost) -> None:
        self.engine = engine
        self.events = Events()
        self._host = host
        self._open: list[_Client] = []
        self._floor = 0
        self._programs = 0
        self.timestamps = [engine.newest_ts]
        self.ids: list[str] = []
        self.pages: list[Any] = []
        engine.on_publish(self._published)

    def _published(self, commits: Sequence[Commit]) -> None:
        # Visible to whoever begins now, and not before.
        assert self.engine.newest_ts == commits[-1].ts
        for commit in commits:
            self.events.log.append(commit)
            self.timestamps.append(commit.ts)
            attempt = self.events.attempts[commit.source]
            self.learn(attempt)

    def learn(self, attempt: Attempt) -> None:
        """Ids and pages that others may name from now on."""
        self.ids += [id_ for id_ in attempt.ids_known if id_ not in self.ids]
        self.pages += [page for page in attempt.pages_known if page not in self.pages]

    async def run(self, programs: Sequence[Program], *, trims: bool = False) -> None:
        waiting = [
            _Client(self, f"program {self._programs + at}", each)
            for at, each in enumerate(programs)
        ]
        self._programs += len(programs)
        self._open = list(waiting)
        trims_left = 2 if trims else 0
        while self._open:
            possible: list[Callable[[], None]] = [
                client.step for client in self._open if not client.is_waiting
            ]
            if self._host.writer.waiting:
                possible.append(self._host.writer.step)
            elif trims_left and len(self.timestamps) > 2:
                possible.append(self._trim)
            chosen = self._host.choose(possible)
            if chosen == self._trim:
                trims_left -= 1
            chosen()
            await settled()
            self._open = [client for client in self._open if not client.is_done]
        while self._host.writer.waiting:
            self._host.writer.step()
            await settled()

    @property
    def kept_timestamps(self) -> list[int]:
        """Return the timestamps that can still be looked at."""
        return [ts for ts in self.timestamps if ts >= self._floor]

    def begin(self, source: str, program: Program) -> Transaction | None:
        """Begin where the program wants to look; None if that is rightly gone."""
        if program.ahead:
            return self.engine.begin(source, ahead=self.engine.committer.ahead())
        if program.writes or not program.age:
            return self.engine.begin(source)
        ts = self.timestamps[max(0, len(self.timestamps) - 1 - program.age)]
        try:
            transaction = self.engine.begin(source, ts=ts)
        except OutOfRetention:
            assert ts < self._floor, f"{ts} is gone, but history begins at {self._floor}"
            return None
        assert transaction.begin_ts == ts >= self._floor
        return transaction

    def _trim(self) -> None:
        snapshots = [client.needs_ts for client in self._open if client.needs_ts is not None]
        before = min([self.timestamps[-2], *snapshots])
        self._floor = max([self._floor, *(ts for ts in self.timestamps if ts <= before)])
        self.engine.store.trim(before=before, commits_max=1000)


class _Client:
    """One program on its way: begun, stepped, committed, begun again."""

    def __init__(self, driver: Driver, name: str, program: Program) -> None:
        self._driver = driver
        self._name = name
        self._program = program
        self._tries = 0
        self._transaction: Transaction | None = None
        self._needs_ts = 0
        self._attempt: Attempt | None = None
        self._steps: real.Steps | None = None
        self._commit: asyncio.Task[int] | None = None
        self.is_done = False

    @property
    def is_waiting(self) -> bool:
        return self._commit is not None and not self._commit.done()

    @property
    def needs_ts(self) -> int | None:
        """Return the oldest timestamp of the store that it reads, if it has begun."""
        return None if self._transaction is None else self._needs_ts

    def step(self) -> None:
        if self._commit is not None:
            self._ended(self._commit)
        elif self._steps is None:
            self._begin()
        else:
            try:
                next(self._steps)
            except StopIteration as end:
                self._ran(end.value)

    def _begin(self) -> None:
        self._tries += 1
        driver, source = self._driver, f"{self._name}, try {self._tries}"
        newest_ts = driver.engine.newest_ts
        self._transaction = driver.begin(source, self._program)
        if self._transaction is None:
            self.is_done = True
            return
        # Who is ahead stands on what the store had when it began.
        self._needs_ts = min(newest_ts, self._transaction.begin_ts)
        attempt = Attempt(
            source=source,
            program=self._program,
            begin_ts=self._transaction.begin_ts,
            ids=list(driver.ids),
            pages=list(driver.pages),
            ids_known=list(driver.ids),
            pages_known=list(driver.pages),
        )
        driver.events.attempts[source] = self._attempt = attempt
        self._steps = real.run(running(self._transaction, attempt), self._program.steps)

    def _ran(self, seen: Any) -> None:
        attempt, transaction = self._attempt, self._transaction
        assert attempt is not None
        assert transaction is not None
        attempt.seen = plain(seen)
        self._driver.events.log.append(attempt)
        finished = transaction.finish()
        transaction.close()
        self._transaction = self._steps = None
        if self._program.raises:
            self.is_done = True
            return
        self._commit = asyncio.ensure_future(self._committing(finished))

    async def _committing(self, finished: FinishedTransaction) -> int:
        committer = self._driver.engine.committer
        if not finished.changes and not await committer.settled(finished.begin_ts):
            raise CommitConflict(Conflict(ts=finished.begin_ts, source="a write that failed"))
        return await committer.commit(finished)

    def _ended(self, commit: asyncio.Task[int]) -> None:
        attempt = self._attempt
        assert attempt is not None
        self._commit = None
        try:
            attempt.committed_ts = commit.result()
            self._driver.learn(attempt)
            self.is_done = True
        except CommitConflict as conflict:
            attempt.conflict = conflict
            self.is_done = self._tries == _ATTEMPTS
        except RequestError:
            attempt.is_unknown = True
            self.is_done = True


def running(transaction: Transaction, attempt: Attempt, component: str = "") -> real.Running:
    """Return what a program works with, as the runtime would give it to a component's function."""
    owner = application().components[component]
    names = tables_of(transaction, component)

    def access(journal: str | None = None) -> DatabaseAccess:
        return DatabaseAccess(
            transaction=transaction,
            tables=owner.tables,
            component=component,
            names=names,
            cursors=_CIPHER,
            stored=StoredDocuments(names),
            pagination=PaginationState(journal_in=journal),
        )

    def within(outer: real.Running, place: str | None) -> real.Running:
        there = outer if place is None else running(transaction, attempt, PLACES[place])
        return replace(there, ids=list(outer.ids), pages=list(outer.pages))

    def nested(outer: real.Running, steps: list[Any], fails: bool, place: str | None) -> real.Steps:
        inner = within(outer, place)
        with transaction.sub_transaction():
            seen = yield from real.run(inner, steps)
            if fails:
                raise real.Failed(seen)
        outer.ids[:], outer.pages[:] = inner.ids, inner.pages
        return seen

    def ask(outer: real.Running, steps: list[Any], place: str) -> real.Steps:
        return (yield from real.run(within(outer, place), steps))

    def who() -> str | None:
        if component:
            owner.no_identity()
        return attempt.program.who

    def page(spec: Any, options: Any, journal: str | None) -> Any:
        given = access(journal)
        found = real.read_page(DatabaseReader(given), spec, options)
        return {**found.to_dict(), "journal": given.pagination.journal_out}

    database = DatabaseWriter if attempt.program.writes else DatabaseReader
    return real.Running(
        database(access()), attempt.ids_known, attempt.pages_known, who, nested, ask, page
    )


async def set_up(engine: Engine) -> None:
    """Make the tables and indexes of the application, in one commit."""
    transaction = engine.begin("set up")
    numbers = iter(range(2**33 + 1000, 2**33 + 2000))
    for component, (name, indexes) in product(PLACES.values(), INDEXES.items()):
        table = transaction.create_table(full_name(component, name))
        for index, fields in indexes.items():
            declared = AnalysedIndex(
                name=index, fields=tuple(fields), staged=False, unique=index in UNIQUE
            )
            add_index(transaction, table, declared, IndexState.ENABLED, number=next(numbers))
        if name == SEARCH_INDEX[0]:
            _, search, fields = SEARCH_INDEX
            declared = AnalysedIndex(name=search, fields=tuple(fields), tokenizer="words")
            add_index(transaction, table, declared, IndexState.ENABLED, number=next(numbers))
        if name == VECTOR_INDEX[0]:
            _, near, fields, dimensions = VECTOR_INDEX
            declared = AnalysedIndex(name=near, fields=tuple(fields), dimensions=dimensions)
            add_index(transaction, table, declared, IndexState.ENABLED, number=next(numbers))
    finished = transaction.finish()
    transaction.close()
    await engine.committer.commit(finished)


def _all_of(component: str, tables: Tables) -> list[Any]:
    """Return the steps that find all that a component has."""
    prefix = full_name(component, "")
    own = [name.removeprefix(prefix) for name in tables if name.startswith(prefix)]
    indexes: dict[str, Any] = {**{name: {} for name in own if "/" not in name}, **INDEXES}
    # Timestamps of commits are before this, and what stood for them is after it.
    before = {"where": [["lt", "a", Int64(2**62)]], "order": "asc"}
    return [
        *(
            {"op": "collect", "table": table, "index": index, "where": [], "order": order}
            for table in indexes
            for index in ("by_creation_time", "by_id", *indexes[table])
            for order in ("asc", "desc")
        ),
        *(
            {
                "op": "search",
                "table": SEARCH_INDEX[0],
                "index": SEARCH_INDEX[1],
                "search": text,
                "where": [],
                "count": None,
            }
            for text in ("a b", "ab")
        ),
        {"op": "nearest", "vector": [2.0, 1.0], "limit": 256, "b": []},
        {"op": "count", "table": "docs", "index": "by_a", **before},
    ]


def everything(engine: Engine, ts: int, tables: Tables) -> Attempt:
    """Look at all that there is at a timestamp, through every index and in both directions."""
    steps: list[Any] = []
    for place, component in PLACES.items():
        steps.append({"op": "ask", "place": place, "steps": _all_of(component, tables)})
    program = Program(steps=steps, writes=False)
    transaction = engine.begin("everything", ts=ts)
    try:
        attempt = Attempt(
            source="everything",
            program=program,
            begin_ts=transaction.begin_ts,
            ids=[],
            pages=[],
            ids_known=[],
            pages_known=[],
        )
        attempt.seen = plain(
            real.to_the_end(real.run(running(transaction, attempt), program.steps))
        )
    finally:
        transaction.close()
    return attempt
