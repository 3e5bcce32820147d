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

When a commit touches a result that thousands watch, all are told at once, which only marks; one of
them is let ask for it again; and the others are called when that run has landed and the result is
there to be taken. They are called in turns of the loop, so that others are served in between.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from camber import limits
from camber.engine.engine import Engine
from camber.functions.definition import FunctionKind
from camber.identity.identity import identity_key
from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.runtime.executor import Caller, Executor, FunctionCall, QueryExecuted
from camber.runtime.function_log import FunctionLog
from camber.runtime.results import QueryResult, Request, Watcher
from camber.storage.store import Commit
from camber.values.timestamp import Timestamp

#: Cached results that are looked at for each new one while the cache is too large.
_EVICTION_STEPS = 64


#: A request; with who asked, as `identity_key` tells them apart, if the run read that.
_Key: TypeAlias = Request | tuple[Request, str]

#: Takes a result, or why there is none.
Told: TypeAlias = Callable[[QueryResult | Exception], None]


#: A result that nobody has asked for.
_NOT_FOUND = QueryResult(ts=0, packed=None, failure=None, log_lines=(), journal=None)


class CacheState(NamedTuple):
    """What the cache has of a query: since when it holds, and who watches it; None if nothing."""

    holds_since: Timestamp | None
    watchers: int
    bytes: int
    #: Whether it is one user's own.
    is_personal: bool
    is_failure: bool


_NOT_KEPT = CacheState(None, 0, 0, is_personal=False, is_failure=False)


class _Asked(NamedTuple):
    """Somebody who waits for a run."""

    call: FunctionCall
    request: Request
    who: str
    ts: Timestamp
    told: Told
    since_s: float


class _Flight:
    """A run of a query: who waits for its result, and who wants to know that there is one."""

    __slots__ = ("asked", "watchers")

    def __init__(self) -> None:
        self.asked: list[_Asked] = []
        self.watchers: dict[Watcher, None] = {}


def request_of(call: FunctionCall) -> Request:
    """Return what the cache knows a call by."""
    return Request(call.path, call.arguments, call.journal, call.caller.value, call.component)


class Queries:
    """Runs queries through the cache. Lives on the event loop."""

    def __init__(self, *, engine: Engine, executor: Executor, log: FunctionLog) -> None:
        self._engine = engine
        self._executor = executor
        self._log = log
        self._cache: OrderedDict[_Key, QueryResult] = OrderedDict()
        self._cached_bytes = 0
        #: What was found last. It may have left the cache: then it has no keys.
        self._found = _NOT_FOUND
        self._flights: dict[_Key, _Flight] = {}
        #: Paths that have read the identity: their flights are not shared across identities.
        self._personal: set[str] = set()
        self._subscriptions: Subscriptions[QueryResult] = Subscriptions()
        engine.on_publish(self._published)

    async def run(self, call: FunctionCall, ts: Timestamp) -> QueryResult:
        """Return a result that holds at `ts`.

        A query that fails has a result too, which is shared with those who wait for the same run
        and kept only while somebody watches it.
        """
        request, who = request_of(call), identity_key(call.identity)
        found = self.find(request, who, ts)
        if found is not None:
            self._log.hit(call, found)
            return found
        told: asyncio.Future[QueryResult] = asyncio.get_running_loop().create_future()

        def tell(result: QueryResult | Exception) -> None:
            if told.done():
                return
            if isinstance(result, Exception):
                told.set_exception(result)
            else:
                told.set_result(result)

        self.ask(call, request, who, ts, tell)
        return await told

    def find(self, request: Request, who: str | None, ts: Timestamp) -> QueryResult | None:
        """Return a result that holds at `ts`, if there is one.

        `request` and `who` are those of the call, kept by whoever asks often. For nobody, it is
        one that is the same whoever asks.
        """
        last = self._found
        if last.request is request and last.keys and last.observed_ns is None and last.holds_at(ts):
            # Asked for by one client after the other. Nobody's own: that has another key.
            return last
        key: _Key = request
        if who is not None and request.path in self._personal:
            key = (request, who)
            if key not in self._cache:
                key = request
        result = self._cache.get(key)
        # A failure is watched by those who saw it, never given to those who ask anew.
        if (
            result is None
            or result.failure is not None
            or not result.holds_at(ts)
            or (result.observed_ns is not None and not self._is_recent(result.observed_ns))
        ):
            return None
        self._cache.move_to_end(key)
        self._found = result
        return result

    def ask(
        self, call: FunctionCall, request: Request, who: str, ts: Timestamp, told: Told
    ) -> None:
        """Run a query that `find` does not find, and call `told` with a result that holds at `ts`.

        Or wait for one who runs the same: `told` is called later in any case.
        """
        key: _Key = (request, who) if call.path in self._personal else request
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._engine.host.spawn(f"query {call.path}", self._fly(flight, key))
        flight.asked.append(_Asked(call, request, who, ts, told, self._engine.host.monotonic()))

    def lands(self, request: Request, watcher: Watcher) -> bool:
        """Call `watcher` when the run that is under way has landed; return whether one is."""
        flight = self._flights.get(request)
        if flight is None:
            return False
        flight.watchers[watcher] = None
        return True

    def state_of(self, call: FunctionCall) -> CacheState:
        """Return what is kept for clients, or for holders of keys, who call the same."""
        who = identity_key(call.identity)
        for caller in (Caller.CLIENT, Caller.ADMIN):
            request = request_of(replace(call, caller=caller, journal=None))
            for key in (request, (request, who)):
                result = self._cache.get(key)
                if result is not None and result.valid_until is None:
                    return CacheState(
                        holds_since=result.ts,
                        watchers=sum(map(_count, result.watchers)),
                        bytes=result.kept_bytes,
                        is_personal=key is not request,
                        is_failure=result.failure is not None,
                    )
        return _NOT_KEPT

    @property
    def cached_bytes(self) -> int:
        """Return about how much memory cached results take."""
        return self._cached_bytes

    @property
    def results_watched(self) -> int:
        """Return how many results hold, each watched for commits that touch it."""
        return len(self._subscriptions)

    def unwatch(self, result: QueryResult, watcher: Watcher) -> None:
        """Take a watcher back. A result that nobody watches may leave the cache."""
        if result.valid_until is not None:
            return
        result.unwatch(watcher)
        # A newer one may have taken its place while it was watched.
        if not result.watchers and (result.failure is not None or not result.keys):
            self._forget(result)

    def _is_recent(self, observed_ns: int) -> bool:
        """Return whether what the function saw of the clock is still good enough."""
        age_ns = self._engine.host.now_ns() - observed_ns
        # A clock that was set back makes it too old as well.
        return 0 <= age_ns < limits.observed_time_s_max * 1e9

    async def _fly(self, flight: _Flight, key: _Key) -> None:
        """Run what the first who asked has asked for: always taken by that one."""
        first = flight.asked[0]
        who: str | None = None
        landed: QueryResult | Exception
        try:
            asked_ns = self._engine.host.now_ns()
            executed = await self._executed(first.call, first.ts)
            landed = executed.result
            if executed.observed_time:
                landed.observed_ns = asked_ns
            if executed.read_identity:
                self._personal.add(first.call.path)
                who = first.who
            self._keep(landed, executed.reads, first.request, who)
        except Exception as error:  # noqa: BLE001  # told to all who wait
            landed = error
        del self._flights[key]
        first.told(landed)
        self._in_turns(self._tell(flight, landed, who))

    def _tell(
        self, flight: _Flight, landed: QueryResult | Exception, who: str | None
    ) -> Iterator[int]:
        """Tell all but the first; `who` is given if the run has read the identity."""
        now_s = self._engine.host.monotonic()
        ts = flight.asked[0].ts
        for asked in flight.asked[1:]:
            if isinstance(landed, Exception):
                asked.told(landed)
            elif who in {None, asked.who} and landed.holds_at(asked.ts):
                self._log.hit(asked.call, landed, now_s - asked.since_s)
                asked.told(landed)
            else:
                self._ask_again(asked)
            yield 1
        shared = landed if isinstance(landed, QueryResult) and who is None else None
        for watcher in flight.watchers:
            rest = watcher.renew(ts, shared)
            if rest is None:
                yield 1
            else:
                yield from rest

    def _ask_again(self, asked: _Asked) -> None:
        call, request, who, ts, told, since_s = asked
        found = self.find(request, who, ts)
        if found is None:
            self.ask(call, request, who, ts, told)
        else:
            self._log.hit(call, found, self._engine.host.monotonic() - since_s)
            told(found)

    def _in_turns(self, steps: Iterator[int]) -> None:
        """Do some of the steps now and the others later, with the loop's other work in between.

        Each says how many it has told.
        """
        done = 0
        for told in steps:
            done += told
            if done >= limits.watchers_told_per_turn:
                asyncio.get_running_loop().call_soon(self._in_turns, steps)
                return

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

    def _keep(self, result: QueryResult, reads: ReadSet, request: Request, who: str | None) -> None:
        """Put a new result under watch, unless a commit has touched it since its snapshot."""
        write_log = self._engine.committer.write_log
        if not write_log.holds_since(result.ts):
            result.valid_until = result.ts + 1
            return
        # What is not published yet will be told of when it is.
        conflict = write_log.conflict(reads, since=result.ts, upto=self._engine.newest_ts)
        if conflict is not None:
            result.valid_until = conflict.ts
            return
        self._subscriptions.add(result, reads)
        result.kept_bytes = result.size_bytes + len(request.arguments)
        self._cached_bytes += result.kept_bytes
        if result.journal is not None and result.journal != request.journal:
            self._store(request, who, result)
            # Running again with its own journal gives the same result (semantics 3.7).
            request = request._replace(journal=result.journal)
        self._store(request, who, result)
        self._evict(result)

    def _store(self, request: Request, who: str | None, result: QueryResult) -> None:
        key: _Key = request if who is None else (request, who)
        previous = self._cache.pop(key, None)
        if previous is not None and previous is not result:
            previous.keys = tuple(other for other in previous.keys if other != key)
            if not previous.keys and not previous.watchers:
                self._forget(previous)
        self._cache[key] = result
        result.keys = (*result.keys, key)
        # The last is that of whoever has seen it.
        result.request = key

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
        self._end(result, ts)
        self._subscriptions.remove(result)

    def _expire_all(self, ts: Timestamp) -> list[QueryResult]:
        """Let no result hold any more, without a look at how they are filed.

        Returns those that did hold.
        """
        ended = [result for result in self._subscriptions if result.valid_until is None]
        self._subscriptions = Subscriptions()
        for result in ended:
            self._end(result, ts)
        return ended

    def _end(self, result: QueryResult, ts: Timestamp) -> None:
        result.valid_until = ts
        for key in result.keys:
            if self._cache.get(key) is result:
                del self._cache[key]
        result.keys = ()
        self._cached_bytes -= result.kept_bytes

    def _published(self, commits: Sequence[Commit]) -> None:
        stale: list[tuple[Commit, list[QueryResult]]] = []
        bug: Exception | None = None
        for commit in commits:
            ended: list[QueryResult] = []
            try:
                for result in tuple(self._subscriptions.stale(commit.writes)):
                    ended.append(result)
                    self._expire(result, commit.ts)
            except Exception as error:  # noqa: BLE001  # raised when everybody has been told
                # What the commit touches is not known, so nothing is known to hold after it.
                bug = error
                ended += self._expire_all(commit.ts)
            stale.append((commit, ended))
        tracing = self._log.tracing
        for commit, results in stale:
            if tracing is None:
                self._notify(results)
                continue
            cause = tracing.commit_published(commit.ts)
            if results:
                attributes = {"camber.results": len(results)}
                with tracing.within(cause), tracing.step("invalidate", attributes):
                    self._notify(results)
        if bug is not None:
            raise bug

    def _notify(self, stale: list[QueryResult]) -> None:
        """Tell all who watch, and let them go on after those who wait for these commits."""
        watched = [result for result in stale if result.watchers]
        for result in watched:
            for watcher in result.watchers:
                watcher.invalidated(result)
        if watched:
            asyncio.get_running_loop().call_soon(self._in_turns, self._renew(watched))

    def _renew(self, stale: list[QueryResult]) -> Iterator[int]:
        for result in stale:
            for watcher in tuple(result.watchers):
                rest = watcher.renew()
                if rest is None:
                    yield 1
                else:
                    yield from rest
                flight = self._flights.get(result.request)
                if flight is not None:
                    flight.watchers.update(result.watchers)
                    break


def _count(watcher: Watcher) -> int:
    """Return how many watch: in a cohort all its members do."""
    return len(watcher) if isinstance(watcher, Sized) else 1
