"""One client's side of the conversation, as a state machine.

Two kinds of version move through it. What the client has *asked for* grows with each message; what
it has been *sent* follows, one Transition at a time. A Transition is computed at one timestamp for
all queries: those whose results hold there are left alone, the others are run at that very
timestamp. While one is computed, or while two wait unsent, changes only mark that another is due,
so a slow client skips states and never queues them.

A mutation's response goes out before the first Transition that includes its commit, so that a
client can drop its optimistic update at the moment the real result arrives: from the moment the
commit is visible until the response is sent no Transition begins.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, assert_never

from camber import limits
from camber.errors import BadRequest, ErrorKind, Overloaded, RequestError
from camber.sync import frames
from camber.sync.effects import (
    Adopt,
    Close,
    Effect,
    Note,
    RunAction,
    RunMutation,
    RunQuery,
    Send,
    SharedResult,
    Unwatch,
    Verify,
    Watch,
    close_of,
    is_fatal,
)
from camber.sync.frames import ClockReport, FailedCall, Version
from camber.sync.messages import (
    AddQuery,
    Authenticate,
    Call,
    Connect,
    MalformedMessage,
    ModifyQuerySet,
    RemoveQuery,
    RequestAction,
    RequestMutation,
    Telemetry,
    UnknownMessage,
    decode_message,
)
from camber.values.timestamp import Timestamp


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happens: the newest timestamp, and the wall clock in nanoseconds."""

    newest_ts: Timestamp
    now_ns: int


@dataclass(slots=True)
class _Subscription:
    """One query that the client has asked for."""

    call: Call
    journal: str | None
    result: SharedResult | None = None
    #: The identity version that `result` was computed for.
    identity: int = 0
    #: What was last sent of it on this socket; None before anything was.
    sent: object = None
    was_sent: bool = False


@dataclass(slots=True)
class _Pending:
    """A Transition that is being computed: where it leads, and what is still running."""

    end: Version
    removed: tuple[int, ...]
    running: dict[int, tuple[int, _Subscription]] = field(default_factory=dict)
    results: list[tuple[int, _Subscription, SharedResult]] = field(default_factory=list)


class Session:
    """The state machine of one socket. Its methods return the effects to carry out, in order."""

    def __init__(self, *, anonymous: Any, understands_chunks: bool) -> None:
        self._identity = anonymous
        self._understands_chunks = understands_chunks
        self._session_id: str | None = None
        self._connected = False
        self._skew_ms = 0
        self._asked_query_set = 0
        self._asked_identity = 0
        self._sent = frames.INITIAL
        self._queries: dict[int, _Subscription] = {}
        self._removed: list[int] = []
        self._due = False
        self._pending: _Pending | None = None
        self._unsent = 0
        self._next_run = 0
        self._mutations: deque[RunMutation] = deque()
        self._mutation_running = False
        self._mutation_visible = False
        self._actions_running = 0
        self._told_unknown = False
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Return whether the socket is to be closed: nothing is taken in any more."""
        return self._closed

    # Messages.

    def receive(self, text: str | bytes, moment: Moment) -> list[Effect]:
        """Take in a frame."""
        if self._closed:
            return []
        try:
            message = decode_message(text)
        except UnknownMessage as unknown:
            if self._told_unknown:
                return []
            self._told_unknown = True
            return [Note(text=f"ignored a message of the unknown type {unknown}")]
        except MalformedMessage as error:
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
        return [Adopt(session_id=message.session_id)]

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
        effects: list[Effect] = []
        for change in message.modifications:
            known = change.query_id in self._queries
            match change:
                case AddQuery() if not known:
                    self._queries[change.query_id] = _Subscription(change.call, change.journal)
                case RemoveQuery() if known:
                    del self._queries[change.query_id]
                    self._removed.append(change.query_id)
                    effects.append(Unwatch(query_id=change.query_id))
                case _:
                    # A client's bookkeeping went wrong: it starts again from nothing.
                    return self._close(Close(code=1011, reason="InternalServerError"))
        self._asked_query_set = message.new_version
        self._due = True
        return effects

    def _authenticate(self, message: Authenticate) -> list[Effect]:
        if message.base_version != self._asked_identity:
            return self._close(Close(code=1011, reason="InternalServerError"))
        return [Verify(message=message)]

    def authenticated(self, identity: Any, moment: Moment) -> list[Effect]:
        """Take in who the client is from now on; all its queries run again."""
        self._identity = identity
        self._asked_identity += 1
        self._due = True
        return self._advance(moment)

    def authentication_failed(self, error: RequestError) -> list[Effect]:
        """Take in that an Authenticate was refused."""
        told = frames.auth_error(error.sentence, base_version=self._asked_identity, attempted=True)
        return [Send(frames=(told,)), *self._close(Close())]

    # Mutations and actions.

    def _queue_mutation(self, message: RequestMutation, moment: Moment) -> list[Effect]:
        if len(self._mutations) + self._mutation_running >= limits.mutations_queued_max:
            return self.fail(
                Overloaded(
                    f"{limits.mutations_queued_max} mutations of this client wait already",
                    code="TooManyConcurrentMutations",
                )
            )
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
        return [self._mutations.popleft()]

    def abandon_mutations(self) -> None:
        """Forget mutations that have not started: another socket has taken the session over."""
        self._mutations.clear()

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
        # After every response, whatever it says: clients settle the request at a Transition.
        self._due = True
        return [Send(frames=(frame,)), *self._advance(moment), *self._start_mutation()]

    def _start_action(self, message: RequestAction, moment: Moment) -> list[Effect]:
        if self._actions_running >= limits.actions_in_flight_max:
            return self.fail(
                Overloaded(
                    f"{limits.actions_in_flight_max} actions of this client run already",
                    code="TooManyInflightActionsForSingleClient",
                )
            )
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
        return self._action_ended(frames.action_succeeded(request_id, result, log_lines), moment)

    def action_failed(
        self, request_id: int, failure: FailedCall, log_lines: tuple[str, ...], moment: Moment
    ) -> list[Effect]:
        """Take in that an action failed."""
        return self._action_ended(frames.action_failed(request_id, failure, log_lines), moment)

    def _action_ended(self, frame: bytes, moment: Moment) -> list[Effect]:
        self._actions_running -= 1
        if self._closed:
            return []
        self._due = True
        return [Send(frames=(frame,)), *self._advance(moment)]

    # Transitions.

    def invalidated(self, moment: Moment) -> list[Effect]:
        """Take in that the result of a query does not hold any more."""
        self._due = True
        return self._advance(moment)

    def transition_sent(self, moment: Moment) -> list[Effect]:
        """Take in that a Transition has left for the client."""
        self._unsent -= 1
        return self._advance(moment)

    def query_finished(self, run: int, result: SharedResult, moment: Moment) -> list[Effect]:
        """Take in the result of a run."""
        pending = self._pending
        if self._closed or pending is None or run not in pending.running:
            return []
        query_id, query = pending.running.pop(run)
        pending.results.append((query_id, query, result))
        return self._complete(moment)

    def _advance(self, moment: Moment) -> list[Effect]:
        """Begin a Transition if one is due and may begin."""
        if (
            self._closed
            or not self._due
            or self._pending is not None
            or self._mutation_visible
            or self._unsent >= limits.transitions_unsent_max
        ):
            return []
        self._due = False
        end = Version(
            query_set=self._asked_query_set, identity=self._asked_identity, ts=moment.newest_ts
        )
        pending = _Pending(
            end=end,
            # Removed and added again: the addition says it all.
            removed=tuple(id_ for id_ in self._removed if id_ not in self._queries),
        )
        self._removed.clear()
        self._pending = pending
        effects: list[Effect] = []
        for query_id, query in self._queries.items():
            result = query.result
            if result is not None and query.identity == end.identity and result.holds_at(end.ts):
                continue
            run = self._next_run
            self._next_run += 1
            pending.running[run] = (query_id, query)
            effects.append(
                RunQuery(
                    run=run,
                    call=query.call,
                    journal=query.journal,
                    identity=self._identity,
                    ts=end.ts,
                )
            )
        return effects or self._complete(moment)

    def _complete(self, moment: Moment) -> list[Effect]:
        """Send the Transition once nothing of it is running."""
        pending = self._pending
        assert pending is not None
        if pending.running:
            return []
        self._pending = None
        effects: list[Effect] = []
        modifications = [frames.query_removed(query_id) for query_id in pending.removed]
        for query_id, query, result in pending.results:
            if self._queries.get(query_id) is not query:
                # Removed meanwhile: this Transition is of before, the next one says so.
                modifications.append(result.modification(query_id))
                continue
            if not query.was_sent or query.sent != result.comparable:
                modifications.append(result.modification(query_id))
            query.was_sent, query.sent = True, result.comparable
            query.result, query.identity = result, pending.end.identity
            query.journal = result.journal
            effects.append(Watch(query_id=query_id, result=result))
            if result.valid_until is not None:
                self._due = True
        return [self._transition(pending, modifications, moment), *effects, *self._advance(moment)]

    def _transition(self, pending: _Pending, modifications: list[bytes], moment: Moment) -> Send:
        start, end = self._sent, pending.end
        clock = None
        if end.identity > start.identity:
            clock = ClockReport(self._skew_ms, moment.now_ns)
        frame = frames.transition(start, end, modifications, clock)
        self._sent = end
        self._unsent += 1
        parts = frames.chunks(frame) if self._understands_chunks else [frame]
        return Send(frames=tuple(parts), is_transition=True)

    # Ends.

    def fail(self, error: RequestError) -> list[Effect]:
        """Take in an error that ends the connection."""
        if self._closed:
            return []
        effects: list[Effect] = []
        if is_fatal(error):
            effects.append(Send(frames=(frames.fatal_error(str(error)),)))
        elif error.kind in {ErrorKind.UNAUTHENTICATED, ErrorKind.AUTH_UPDATE_FAILED}:
            told = frames.auth_error(
                error.sentence,
                base_version=self._sent.identity,
                attempted=error.kind is ErrorKind.AUTH_UPDATE_FAILED,
            )
            return [Send(frames=(told,)), *self._close(Close())]
        return effects + self._close(close_of(error))

    def disconnected(self) -> None:
        """Take in that the socket is gone; what runs goes on, what waits does not start."""
        self._closed = True
        self._mutations.clear()

    def _close(self, close: Close) -> list[Effect]:
        self._closed = True
        self._mutations.clear()
        return [close]
