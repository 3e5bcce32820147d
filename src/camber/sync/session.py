"""One client's side of the conversation, as a state machine.

Two kinds of version move through it. What the client has *asked for* grows with each message; what
it has been *sent* follows, one Transition at a time. A Transition is computed at one timestamp for
all queries: those whose results hold there are left alone, the others are looked up or run at that
very timestamp. While one is computed, or while two wait unsent, changes only mark that another is
due, so a slow client skips states and never queues them.

A mutation's response goes out before the first Transition that includes its commit, so that a
client can drop its optimistic update at the moment the real result arrives: from the moment the
commit is visible until the response is sent no Transition begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never

from camber import limits
from camber.errors import BadRequest, ErrorKind, Overloaded, RequestError
from camber.sync import frames
from camber.sync.cohort import Cohort, Place, shared_frames
from camber.sync.effects import (
    Adopt,
    Close,
    Effect,
    Note,
    Push,
    RunAction,
    RunMutation,
    RunQuery,
    Send,
    Unwatch,
    Verify,
    close_of,
    is_fatal,
)
from camber.sync.frames import ClockReport, FailedCall, Version
from camber.sync.messages import (
    AddQuery,
    Authenticate,
    Connect,
    ModifyQuerySet,
    RemoveQuery,
    RequestAction,
    RequestMutation,
    Telemetry,
    UnknownMessage,
    decode_message,
)
from camber.sync.moment import Moment
from camber.sync.subscription import Outlet, SharedResult, Shell, Subscription
from camber.values.timestamp import Timestamp


class _Pending:
    """A Transition that is being computed: where it leads, and what is still running."""

    __slots__ = ("end", "removed", "results", "running")

    def __init__(
        self,
        end: Version,
        removed: Sequence[int],
        results: list[tuple[Subscription, SharedResult]],
        running: dict[int, Subscription],
    ) -> None:
        self.end = end
        self.removed = removed
        self.results = results
        self.running = running


#: Bytes of arguments that are few: a thousand actions with as many take 16 MiB.
_LARGE_BYTES: Final = 16 * 1024

#: What most messages find there to do.
_NO_EFFECTS: list[Effect] = []


class Session:
    """The state machine of one socket. Its methods return the effects to carry out, in order."""

    __slots__ = (
        "_action_bytes", "_actions_running", "_asked_identity", "_asked_query_set", "_closed", "_cohort",
        "_connected", "_due", "_identity", "_mutation_running", "_mutation_visible", "_mutations",
        "_mutations_bytes", "_next_run",
        "_pending", "_queries", "_queries_bytes", "_removed", "_sent", "_session_id", "_skew_ms",
        "_stale", "_stepped", "_told_unknown", "_understands_chunks", "_unsent", "number", "shell",
    )  # fmt: skip

    def __init__(self, *, shell: Shell, anonymous: Any, understands_chunks: bool) -> None:
        self.shell = shell
        self._identity = anonymous
        self._understands_chunks = understands_chunks
        self._session_id: str | None = None
        self._connected = False
        self._skew_ms = 0
        self._asked_query_set = 0
        self._asked_identity = 0
        self._sent = frames.INITIAL
        self._queries: dict[int, Subscription] = {}
        #: Those whose results may not hold at the newest timestamp, or for the identity.
        self._stale: dict[int, Subscription] = {}
        self._removed: list[int] = []
        self._due = False
        self._pending: _Pending | None = None
        self._unsent = 0
        #: The query that the last Transition was about, if it was about no other.
        self._stepped: Subscription | None = None
        #: While this is in lock-step with others: what was sent, and the result of a query, are
        #: what the cohort says. It knows members by numbers.
        self._cohort: Cohort | None = None
        self.number = 0
        self._next_run = 0
        self._mutations: list[RunMutation] = []
        self._mutation_running = False
        self._mutation_visible = False
        self._actions_running = 0
        #: Bytes of the arguments of mutations that wait, and of actions that run; of these by request,
        #: and only where they are many.
        self._mutations_bytes = 0
        #: And of those of its subscriptions.
        self._queries_bytes = 0
        self._action_bytes: dict[int, int] | None = None
        self._told_unknown = False
        self._closed = False

    @property
    def identity(self) -> Any:
        """Return who the client is."""
        return self._identity

    @property
    def outlet(self) -> Outlet:
        """Return where the client's frames go."""
        return self.shell.outlet

    @property
    def moved_s(self) -> float:
        """Return when it was last told something with others, by the monotonic clock; or 0."""
        return 0.0 if self._cohort is None else self._cohort.moved_s

    @property
    def is_closed(self) -> bool:
        """Return whether the socket is to be closed: nothing is taken in any more."""
        return self._closed

    # Messages.

    def receive(self, text: str | bytes, moment: Moment) -> list[Effect]:
        """Take in a frame."""
        if self._closed:
            return []
        if self._cohort is not None:
            self._leave(self._cohort)
            if self._due:
                # What the others wait for was to come with theirs.
                return [*self._advance(moment), *self.receive(text, moment)]
        try:
            message = decode_message(text)
        except UnknownMessage as unknown:
            if self._told_unknown:
                return []
            self._told_unknown = True
            return [Note(text=f"ignored a message of the unknown type {unknown}")]
        except RequestError as error:
            return self.fail(error)
        match message:
            case Connect():
                return self._connect(message, moment)
            case ModifyQuerySet():
                return self._modify(message) + self._advance(moment)
            case RequestMutation():
                return self._queue_mutation(message, moment)
            case RequestAction():
                return self._start_action(message, moment)
            case Authenticate():
                return self._authenticate(message)
            case Telemetry():
                return []
            case _:
                assert_never(message)

    def _connect(self, message: Connect, moment: Moment) -> list[Effect]:
        if self._connected:
            msg = "Connect was sent twice on one socket"
            return self.fail(BadRequest(msg, code="WSMessageInvalidJson"))
        self._connected = True
        self._session_id = message.session_id
        if message.client_ms is not None:
            self._skew_ms = int(message.client_ms) - moment.now_ns // 1_000_000
        if message.max_observed_ts > moment.newest_ts:
            # The client has seen more than this server: it must wait until we have caught up.
            return self._close(Close(code=1011, reason="InternalServerError"))
        return [Adopt(message.session_id)]

    def _modify(self, message: ModifyQuerySet) -> list[Effect]:
        if message.base_version != self._asked_query_set:
            return self.fail(
                BadRequest(
                    f"the query set is at version {self._asked_query_set}, the change is based "
                    f"on {message.base_version}",
                    code="BaseVersionMismatch",
                )
            )
        if message.new_version <= message.base_version:
            return self.fail(
                BadRequest(
                    f"a query set's version grows: {message.new_version} after "
                    f"{message.base_version}",
                    code="BaseVersionMismatch",
                )
            )
        added = sum(isinstance(change, AddQuery) for change in message.modifications)
        if len(self._queries) + added > limits.subscriptions_max:
            return self.fail(
                Overloaded(
                    f"{len(self._queries)} subscriptions, and {added} more are asked for; one socket "
                    f"may have {limits.subscriptions_max}",
                    code="TooManySubscriptions",
                )
            )
        effects: list[Effect] = []
        for change in message.modifications:
            known = change.query_id in self._queries
            match change:
                case AddQuery() if not known:
                    query = Subscription(self, change.query_id, change.call, change.journal)
                    self._queries[change.query_id] = self._stale[change.query_id] = query
                    self._queries_bytes += len(change.call.arguments)
                case RemoveQuery() if known:
                    query = self._queries.pop(change.query_id)
                    self._queries_bytes -= len(query.call.arguments)
                    self._stale.pop(change.query_id, None)
                    self._removed.append(change.query_id)
                    if query.result is not None:
                        effects.append(Unwatch(query, query.result))
                case _:
                    # A client's bookkeeping went wrong: it starts again from nothing.
                    return self._close(Close(code=1011, reason="InternalServerError"))
        if self._queries_bytes > limits.arguments_waiting_bytes_max:
            return [*effects, *self._too_many_arguments("TooManySubscriptions")]
        self._asked_query_set = message.new_version
        self._due = True
        return effects

    def _authenticate(self, message: Authenticate) -> list[Effect]:
        if message.base_version != self._asked_identity:
            return self._close(Close(code=1011, reason="InternalServerError"))
        return [Verify(message)]

    def authenticated(self, identity: Any, moment: Moment) -> list[Effect]:
        """Take in who the client is from now on; all its queries run again."""
        if self._cohort is not None:
            self._leave(self._cohort)
        self._identity = identity
        self._asked_identity += 1
        self._stale = dict(self._queries)
        self._due = True
        return self._advance(moment)

    def authentication_failed(self, error: RequestError) -> list[Effect]:
        """Take in that an Authenticate was refused."""
        told = frames.auth_error(error.sentence, base_version=self._asked_identity, attempted=True)
        return [Send(frames.framed(told)), *self._close(Close())]

    # Mutations and actions.

    def _queue_mutation(self, message: RequestMutation, moment: Moment) -> list[Effect]:
        if len(self._mutations) + self._mutation_running >= limits.mutations_queued_max:
            return self.fail(
                Overloaded(
                    f"{limits.mutations_queued_max} mutations of this client wait already",
                    code="TooManyConcurrentMutations",
                )
            )
        size = len(message.call.arguments)
        if self.waiting_bytes + size > limits.arguments_waiting_bytes_max:
            return self._too_many_arguments("TooManyConcurrentMutations")
        self._mutations_bytes += size
        self._mutations.append(
            RunMutation(
                request_id=message.request_id,
                call=message.call,
                identity=self._identity,
                session_id=self._session_id,
                received_ns=moment.now_ns,
            )
        )
        return self._start_mutation()

    def _start_mutation(self) -> list[Effect]:
        if self._mutation_running or not self._mutations or self._closed:
            return []
        self._mutation_running = True
        started = self._mutations.pop(0)
        self._mutations_bytes -= len(started.call.arguments)
        return [started]

    @property
    def waiting_bytes(self) -> int:
        """Return the bytes of arguments that are kept: of what waits, what runs and what is watched."""
        actions = self._action_bytes
        return (
            self._queries_bytes + self._mutations_bytes + (sum(actions.values()) if actions else 0)
        )

    def _too_many_arguments(self, code: str) -> list[Effect]:
        return self.fail(
            Overloaded(
                "the arguments of what this client waits for and watches have more than "
                f"{limits.arguments_waiting_bytes_max} bytes",
                code=code,
            )
        )

    def _forget_mutations(self) -> None:
        self._mutations.clear()
        self._mutations_bytes = 0

    def abandon_mutations(self) -> None:
        """Forget mutations that have not started: another socket has taken the session over."""
        self._forget_mutations()

    def mutation_visible(self) -> None:
        """Note that the running mutation's commit can be read by now."""
        self._mutation_visible = True

    def mutation_succeeded(
        self,
        request_id: int,
        result: bytes,
        ts: Timestamp,
        log_lines: tuple[str, ...],
        moment: Moment,
    ) -> list[Effect]:
        """Take in that the running mutation committed."""
        frame = frames.mutation_succeeded(request_id, result, ts, log_lines)
        return self._mutation_ended(frame, moment)

    def mutation_failed(
        self, request_id: int, failure: FailedCall, log_lines: tuple[str, ...], moment: Moment
    ) -> list[Effect]:
        """Take in that the running mutation failed."""
        return self._mutation_ended(frames.mutation_failed(request_id, failure, log_lines), moment)

    def _mutation_ended(self, frame: bytes, moment: Moment) -> list[Effect]:
        self._mutation_running = self._mutation_visible = False
        if self._closed:
            return []
        if self._cohort is not None:
            self._leave(self._cohort)
        # After every response, whatever it says: clients settle the request at a Transition.
        self._due = True
        return [Send(frames.framed(frame)), *self._advance(moment), *self._start_mutation()]

    def _start_action(self, message: RequestAction, moment: Moment) -> list[Effect]:
        if self._actions_running >= limits.actions_in_flight_max:
            return self.fail(
                Overloaded(
                    f"{limits.actions_in_flight_max} actions of this client run already",
                    code="TooManyInflightActionsForSingleClient",
                )
            )
        size = len(message.call.arguments)
        if size > _LARGE_BYTES:
            if self.waiting_bytes + size > limits.arguments_waiting_bytes_max:
                return self._too_many_arguments("TooManyInflightActionsForSingleClient")
            self._action_bytes = self._action_bytes or {}
            self._action_bytes[message.request_id] = size
        self._actions_running += 1
        return [
            RunAction(
                request_id=message.request_id,
                call=message.call,
                identity=self._identity,
                session_id=self._session_id,
                received_ns=moment.now_ns,
            )
        ]

    def action_succeeded(
        self, request_id: int, result: bytes, log_lines: tuple[str, ...], moment: Moment
    ) -> list[Effect]:
        """Take in that an action ended."""
        frame = frames.action_succeeded(request_id, result, log_lines)
        return self._action_ended(request_id, frame, moment)

    def action_failed(
        self, request_id: int, failure: FailedCall, log_lines: tuple[str, ...], moment: Moment
    ) -> list[Effect]:
        """Take in that an action failed."""
        frame = frames.action_failed(request_id, failure, log_lines)
        return self._action_ended(request_id, frame, moment)

    def _action_ended(self, request_id: int, frame: bytes, moment: Moment) -> list[Effect]:
        self._actions_running -= 1
        if self._action_bytes is not None:
            self._action_bytes.pop(request_id, None)
        if self._closed:
            return []
        if self._cohort is not None:
            self._leave(self._cohort)
        self._due = True
        return [Send(frames.framed(frame)), *self._advance(moment)]

    # Transitions.

    def stale(self, query: Subscription) -> None:
        """Take in that the result of a query does not hold any more."""
        if self._cohort is not None:
            self._leave(self._cohort)
        self._stale[query.query_id] = query
        self._due = True
        self.shell.invalidated()

    def renew(self, moment: Moment, at: Timestamp | None = None) -> list[Effect]:
        """Begin the Transition that is due, if it may begin.

        It may end at `at`, when results are known to hold, rather than at the newest timestamp,
        when they may have to be run again; but it never goes back. What follows a response is
        not begun here: that goes to the newest timestamp, by itself.
        """
        if not self._due:
            return _NO_EFFECTS
        if at is None or at < self._sent.ts:
            at = moment.newest_ts
        return self._advance_to(at, moment)

    def transition_sent(self) -> bool:
        """Take in that a Transition has left for the client; return whether another is due."""
        self._unsent -= 1
        if self._due:
            return True
        if self._stepped is not None:
            self._join(self._stepped)
        return False

    def query_finished(self, run: int, result: SharedResult, moment: Moment) -> list[Effect]:
        """Take in the result of a run."""
        pending = self._pending
        if self._closed or pending is None or run not in pending.running:
            return []
        pending.results.append((pending.running.pop(run), result))
        if pending.running:
            return []
        self._pending = None
        return self._complete(pending.end, pending.removed, pending.results, moment)

    def _advance(self, moment: Moment) -> list[Effect]:
        """Begin a Transition to the newest timestamp if one is due and may begin."""
        return self._advance_to(moment.newest_ts, moment) if self._due else _NO_EFFECTS

    def _advance_to(self, ts: Timestamp, moment: Moment) -> list[Effect]:
        """Begin the Transition that is due, if it may begin."""
        if (
            self._closed
            or self._pending is not None
            or self._mutation_visible
            or self._unsent >= limits.transitions_unsent_max
        ):
            return _NO_EFFECTS
        self._due = False
        end = Version(self._asked_query_set, self._asked_identity, ts)
        removed: Sequence[int] = ()
        if self._removed:
            # Removed and added again: the addition says it all.
            removed = [id_ for id_ in self._removed if id_ not in self._queries]
            self._removed.clear()
        results: list[tuple[Subscription, SharedResult]] = []
        unknown: list[Subscription] = []
        for query in self._stale.values():
            result = query.result
            if result is not None and query.identity == end.identity and result.holds_at(ts):
                ended = result.valid_until
                if ended is not None and ended <= moment.newest_ts:
                    # A commit after this Transition has ended it: the next one is due for that.
                    continue
                # It was dropped before it was watched: nothing says that it has changed.
            found = self.shell.find(query, ts)
            if found is None:
                unknown.append(query)
            else:
                results.append((query, found))
        if not unknown:
            return self._complete(end, removed, results, moment)
        return self._run(unknown, _Pending(end, removed, results, {}))

    def _run(self, queries: list[Subscription], pending: _Pending) -> list[Effect]:
        self._pending = pending
        effects: list[Effect] = []
        for query in queries:
            run = self._next_run
            self._next_run += 1
            pending.running[run] = query
            effects.append(
                RunQuery(run=run, query=query, identity=self._identity, ts=pending.end.ts)
            )
        return effects

    def _complete(
        self,
        end: Version,
        removed: Sequence[int],
        results: list[tuple[Subscription, SharedResult]],
        moment: Moment,
    ) -> list[Effect]:
        """Send the Transition of which nothing is running any more."""
        changed: list[tuple[int, SharedResult]] = []
        effects: list[Effect] = []
        for query, result in results:
            query_id = query.query_id
            if self._queries.get(query_id) is not query:
                # Removed meanwhile: this Transition is of before, the next one says so.
                changed.append((query_id, result))
                continue
            comparable = result.comparable
            if query.sent is not comparable and query.sent != comparable:
                changed.append((query_id, result))
                query.sent = comparable
            previous = query.result
            if previous is not None and previous is not result and previous.valid_until is None:
                effects.append(Unwatch(query, previous))
            query.result, query.identity = result, end.identity
            if query.journal != result.journal:
                query.journal, query.asked = result.journal, None
            if result.valid_until is None and end.identity == self._asked_identity:
                self._stale.pop(query_id, None)
                result.watch(query)
        if self._stale:
            self._due = True
        self._stepped = None
        if len(results) == 1 and not removed and end.identity == self._sent.identity:
            start, self._sent = self._sent, end
            self._stepped, result = results[0]
            place = Place(end, self._stepped.query_id, self._understands_chunks)
            effects.append(Push(shared_frames(result, start, place, is_changed=len(changed) == 1)))
        else:
            effects.append(Push(self._transition(end, removed, changed, moment)))
        self._unsent += 1
        return [*effects, *self._advance(moment)] if self._due else effects

    def _transition(
        self,
        end: Version,
        removed: Sequence[int],
        changed: list[tuple[int, SharedResult]],
        moment: Moment,
    ) -> tuple[bytes, ...]:
        start, self._sent = self._sent, end
        clock = None
        if end.identity > start.identity:
            clock = ClockReport(self._skew_ms, moment.now_ns)
        modifications = [frames.query_removed(query_id) for query_id in removed]
        modifications += [result.modification(query_id) for query_id, result in changed]
        text = frames.transition(start, end, modifications, clock)
        parts = frames.chunks(text) if self._understands_chunks else (text,)
        return tuple(map(frames.framed, parts))

    # In lock-step with others (`cohort`).

    def _join(self, query: Subscription) -> None:
        """Be a member of the cohort that is where the last Transition, about `query`, has led."""
        result = query.result
        if (
            result is None
            or result.valid_until is not None
            or not result.is_anybodys
            or query.asked is None
            or self._closed
            or self._unsent
            or self._pending is not None
            or self._mutation_running
            or self._queries.get(query.query_id) is not query
            or self._sent.query_set != self._asked_query_set
            or self._sent.identity != self._asked_identity
        ):
            return
        crowd = self.shell.crowd
        if crowd is None:
            return
        cohorts = result.cohorts
        if cohorts is None:
            cohorts = result.cohorts = {}
        place = Place(self._sent, query.query_id, self._understands_chunks)
        cohort = cohorts.get(place)
        if cohort is None:
            if place not in cohorts:
                # Alone so far. Who is first stays on its own, and is ahead of the others.
                if len(cohorts) < limits.cohorts_per_result_max:
                    cohorts[place] = None
                return
            cohort = cohorts[place] = Cohort(crowd, place, query.asked, result)
            result.watch(cohort)
        result.unwatch(query)
        self._cohort = cohort
        self.number = cohort.add(self)

    def change_to(self, cohort: Cohort) -> None:
        """Be a member of another cohort that is in the same place."""
        self._cohort = cohort
        self.number = cohort.add(self)

    def _leave(self, cohort: Cohort) -> None:
        """Be on its own again, where the others are."""
        cohort.leave(self)
        self._stand(cohort, cohort.version, cohort.result, cohort.due_since_s)

    def fall_behind(self, version: Version, result: SharedResult, since_s: float) -> None:
        """Be on its own where the others were before the step of which it was not told."""
        assert self._cohort is not None
        self._stand(self._cohort, version, result, since_s)

    def _stand(
        self, cohort: Cohort, version: Version, result: SharedResult, since_s: float | None
    ) -> None:
        self._cohort = None
        self._sent = version
        query = self._queries[cohort.query_id]
        query.result, query.sent = result, result.comparable
        if result.valid_until is None:
            result.watch(query)
        else:
            self._stale[query.query_id] = query
            self._due = True
            self.shell.invalidated(since_s)

    def go_ahead(self) -> None:
        """Leave, and ask for what the others wait for."""
        assert self._cohort is not None
        self._leave(self._cohort)
        self.shell.renew()

    def break_off(self, error: Exception) -> None:
        """End the connection, which could not be written to."""
        self.shell.broken(error)

    # Ends.

    def fail(self, error: RequestError) -> list[Effect]:
        """Take in an error that ends the connection."""
        if self._closed:
            return []
        if self._cohort is not None:
            self._leave(self._cohort)
        effects: list[Effect] = []
        if is_fatal(error):
            effects.append(Send(frames.framed(frames.fatal_error(str(error)))))
        elif error.kind in {ErrorKind.UNAUTHENTICATED, ErrorKind.AUTH_UPDATE_FAILED}:
            told = frames.auth_error(
                error.sentence,
                base_version=self._sent.identity,
                attempted=error.kind is ErrorKind.AUTH_UPDATE_FAILED,
            )
            return [Send(frames.framed(told)), *self._close(Close())]
        return effects + self._close(close_of(error))

    def disconnected(self) -> list[Subscription]:
        """Take in that the socket is gone; what runs goes on, what waits does not start.

        Returns what it has looked at.
        """
        if self._cohort is not None:
            self._leave(self._cohort)
        self._closed = True
        self._forget_mutations()
        return [query for query in self._queries.values() if query.result is not None]

    def _close(self, close: Close) -> list[Effect]:
        if self._cohort is not None:
            self._leave(self._cohort)
        self._closed = True
        self._forget_mutations()
        return [close]
