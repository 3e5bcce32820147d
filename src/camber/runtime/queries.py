"""The query cache: which results hold, and at which timestamps.

A result holds over [ts, valid_until). While `valid_until` is None it holds at the newest
timestamp too, since it is watched: its read set is in `occ.subscriptions`, and the commit that
touches it sets `valid_until`. All results are watched that way, those that clients look at and
those that are only kept, so one overlap test serves subscriptions and cache alike.

A result whose function has read the clock holds like any other for those who watch it; after a
while it is not given to new requests any more (semantics 4.8).

Equal requests are run once, however many ask (single flight). Whoever joined a run takes its
result only if it holds at the timestamp that they need, and if the run did not read the identity
or both identities are equal; else they run it themselves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from camber import limits
from camber.engine.engine import Engine
from camber.functions.definition import FunctionKind
from camber.identity.identity import identity_key
from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.runtime.executor import Executor, FunctionCall, QueryExecuted
from camber.runtime.function_log import FunctionLog
from camber.runtime.results import QueryResult, Watcher
from camber.storage.store import Commit
from camber.values.timestamp import Timestamp

#: Cached results that are looked at for each new one while the cache is too large.
_EVICTION_STEPS = 64


@dataclass(frozen=True, slots=True)
class _Request:
    """What makes two query runs the same but for who asks."""

    path: str
    arguments: bytes
    journal: str | None
    caller: str
    component: str


#: The request, and who asked if the run read that.
_Key = tuple[_Request, str | None]


class Queries:
    """Runs queries through the cache. Lives on the event loop."""

    def __init__(self, *, engine: Engine, executor: Executor, log: FunctionLog) -> None:
        self._engine = engine
        self._executor = executor
        self._log = log
        self._cache: OrderedDict[_Key, QueryResult] = OrderedDict()
        self._cached_bytes = 0
        self._flights: dict[_Key, asyncio.Task[_Landed]] = {}
        #: Paths that have read the identity: their flights are not shared across identities.
        self._personal: set[str] = set()
        self._subscriptions: Subscriptions[QueryResult] = Subscriptions()
        self._keys: dict[QueryResult, set[_Key]] = {}
        engine.on_publish(self._published)

    async def run(self, call: FunctionCall, ts: Timestamp) -> QueryResult:
        """Return a result that holds at `ts`.

        A query that fails has a result too, which is shared with those who wait for the same run
        and kept only while somebody watches it.
        """
        request = _Request(
            call.path, call.arguments, call.journal, call.caller.value, call.component_path
        )
        who = identity_key(call.identity)
        while True:
            cached = self._lookup(request, who, ts)
            if cached is not None:
                self._log.hit(call, cached)
                return cached
            flight_key: _Key = (request, who if call.path in self._personal else None)
            flight = self._flights.get(flight_key)
            # One that has landed is not joined: waiting for it would not let the loop take it away.
            if flight is None or flight.done():
                flight = self._take_off(flight_key, request, call, ts)
                landed = await asyncio.shield(flight)
                # A run asked for here is for this caller, at this timestamp: always taken.
                return landed.result
            joined_s = self._engine.host.monotonic()
            landed = await asyncio.shield(flight)
            mine = not landed.read_identity or landed.who == who
            if mine and landed.result.holds_at(ts):
                self._log.hit(call, landed.result, self._engine.host.monotonic() - joined_s)
                return landed.result

    @property
    def cached_bytes(self) -> int:
        """Return about how much memory cached results take."""
        return self._cached_bytes

    @property
    def results_watched(self) -> int:
        """Return how many results hold, each watched for commits that touch it."""
        return len(self._subscriptions)

    def watch(self, result: QueryResult, watcher: Watcher) -> None:
        """Tell `watcher` when `result` stops to hold at the newest timestamp."""
        result.watchers.add(watcher)

    def unwatch(self, result: QueryResult, watcher: Watcher) -> None:
        """Take a watcher back. A result that nobody watches may leave the cache."""
        result.watchers.discard(watcher)
        # A newer one may have taken its place while it was watched.
        is_cached = bool(self._keys.get(result))
        if not result.watchers and (result.failure is not None or not is_cached):
            self._forget(result)

    def _lookup(self, request: _Request, who: str, ts: Timestamp) -> QueryResult | None:
        for key in ((request, who), (request, None)):
            result = self._cache.get(key)
            # A failure is watched by those who saw it, never given to those who ask anew.
            if result is None or result.failure is not None or not result.holds_at(ts):
                continue
            if self._is_recent(result):
                self._cache.move_to_end(key)
                return result
        return None

    def _is_recent(self, result: QueryResult) -> bool:
        """Return whether what the function saw of the clock is still good enough."""
        if result.observed_ns is None:
            return True
        age_ns = self._engine.host.now_ns() - result.observed_ns
        # A clock that was set back makes it too old as well.
        return 0 <= age_ns < limits.observed_time_s_max * 1e9

    def _take_off(
        self, key: _Key, request: _Request, call: FunctionCall, ts: Timestamp
    ) -> asyncio.Task[_Landed]:
        flight = self._engine.host.spawn(f"query {call.path}", self._fly(request, call, ts))
        self._flights[key] = flight

        def landed(done: asyncio.Task[_Landed]) -> None:
            if self._flights.get(key) is done:
                del self._flights[key]
            # Read even when nobody waits any more, or asyncio warns about it.
            if not done.cancelled():
                done.exception()

        flight.add_done_callback(landed)
        return flight

    async def _fly(self, request: _Request, call: FunctionCall, ts: Timestamp) -> _Landed:
        asked_ns = self._engine.host.now_ns()
        executed = await self._executed(call, ts)
        who = identity_key(call.identity)
        result = executed.result
        if executed.observed_time:
            result.observed_ns = asked_ns
        if executed.read_identity:
            self._personal.add(call.path)
        self._keep(result, executed.reads, request, who if executed.read_identity else None)
        return _Landed(result, executed.read_identity, who)

    async def _executed(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        execution = self._log.begin(call, FunctionKind.QUERY)
        try:
            executed = await self._executor.query(execution.call, ts)
        except Exception as error:
            execution.raised(error)
            raise
        result = executed.result
        execution.ended(executed.run, result.failure, len(result.packed or b""))
        return executed

    def _keep(
        self, result: QueryResult, reads: ReadSet, request: _Request, who: str | None
    ) -> None:
        """Put a new result under watch, unless a commit has touched it since its snapshot."""
        write_log = self._engine.committer.write_log
        if not write_log.holds_since(result.ts):
            result.valid_until = result.ts + 1
            return
        conflict = write_log.conflict(reads, since=result.ts)
        if conflict is not None:
            result.valid_until = conflict.ts
            return
        self._subscriptions.add(result, reads)
        self._keys[result] = set()
        self._cached_bytes += result.size_bytes
        self._store((request, who), result)
        if result.journal is not None and result.journal != request.journal:
            # Running again with its own journal gives the same result (semantics 3.7).
            pinned = _Request(
                request.path,
                request.arguments,
                result.journal,
                request.caller,
                request.component,
            )
            self._store((pinned, who), result)
        self._evict(result)

    def _store(self, key: _Key, result: QueryResult) -> None:
        previous = self._cache.pop(key, None)
        if previous is not None and previous is not result:
            self._keys[previous].discard(key)
            if not self._keys[previous] and not previous.watchers:
                self._forget(previous)
        self._cache[key] = result
        self._keys[result].add(key)

    def _evict(self, newest: QueryResult) -> None:
        """Drop what was not asked for longest and nobody watches; never the newest result.

        Whoever has just asked for that one is about to watch it.

        A few steps for each new result, so that none pays for a sweep of all: what is watched
        moves to the end, out of the way of the next steps.
        """
        for _ in range(_EVICTION_STEPS):
            if self._cached_bytes <= limits.query_cache_bytes_max or not self._cache:
                return
            key, result = next(iter(self._cache.items()))
            if result.watchers or result is newest:
                self._cache.move_to_end(key)
            else:
                self._forget(result)

    def _forget(self, result: QueryResult) -> None:
        if result.valid_until is None:
            # Somebody may hold it without watching it yet; they will see that it ended.
            self._expire(result, self._engine.newest_ts + 1)

    def _expire(self, result: QueryResult, ts: Timestamp) -> None:
        result.valid_until = ts
        self._subscriptions.remove(result)
        keys = self._keys.pop(result, set())
        for key in keys:
            if self._cache.get(key) is result:
                del self._cache[key]
        self._cached_bytes -= result.size_bytes

    def _published(self, commits: Sequence[Commit]) -> None:
        stale: list[tuple[Commit, list[QueryResult]]] = []
        for commit in commits:
            results = list(self._subscriptions.stale(commit.index_writes()))
            for result in results:
                self._expire(result, commit.ts)
            stale.append((commit, results))
        tracing = self._log.tracing
        for commit, results in stale:
            if tracing is None:
                _notify(results)
                continue
            cause = tracing.commit_published(commit.ts)
            if results:
                attributes = {"camber.results": len(results)}
                with tracing.within(cause), tracing.step("invalidate", attributes):
                    _notify(results)


@dataclass(frozen=True, slots=True)
class _Landed:
    """A finished run, and for whom it was."""

    result: QueryResult
    read_identity: bool
    who: str


def _notify(stale: list[QueryResult]) -> None:
    for result in stale:
        for watcher in tuple(result.watchers):
            watcher.invalidated(result)
