"""The shell around a session's state machine: one client's connection, and what it has started.

Whatever can be answered at once is, within the call that takes a message in: a query that is cached
costs no task. Only what has to wait is one. What all sockets need from time to time is done by one
task for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial
from operator import itemgetter
from typing import Any, Final, TypeAlias, assert_never

from msgspec.structs import replace

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import (
    AuthenticationFailed,
    BadRequest,
    ErrorKind,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestError,
    ScheduleFull,
    StorageFull,
)
from camber.identity.authorization import (
    acting_as_of,
    identity_of_admin_key,
)
from camber.identity.identity import Admin, Anonymous, Identity, User, identity_key
from camber.identity.verified_tokens import VerifiedToken
from camber.runtime.executor import FunctionCall, Origin, Sender, SessionRequest
from camber.runtime.permissions import check_permission
from camber.runtime.queries import request_of
from camber.runtime.results import (
    ActionResult,
    Failure,
    MutationResult,
    QueryResult,
    Request,
    Watcher,
)
from camber.runtime.runtime import session_request_id
from camber.server.client_version import ClientVersion
from camber.server.deliveries import Deliveries
from camber.server.draining import Drain
from camber.server.http_api import caller_of
from camber.server.metrics import Metrics
from camber.server.outlets import Outlet
from camber.sync import frames
from camber.sync.cohort import Cohort
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
)
from camber.sync.messages import Authenticate, Call
from camber.sync.moment import Moment
from camber.sync.session import Session
from camber.sync.subscription import SharedResult, Subscription
from camber.tracing import SpanKind
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.wire import encode_value

_log = logging.getLogger("camber.sync")

_ANONYMOUS: Final = Anonymous()
#: What a subscription asks for, as the query cache knows it, and who asks.
_Asked: TypeAlias = tuple[Request, Identity]
#: How often sockets are looked after, in seconds.
_BEAT_S: Final = 1.0
#: Bytes that are held for a socket without being noticed.
_LIGHT_BYTES: Final = 64 * 1024


class SessionOwners:
    """Which socket may start the mutations of a session: the last one that connected.

    The queue belongs to the session, which outlives sockets: a new socket drops what the old one
    had not started, and starts its own when what runs has ended.
    """

    def __init__(self) -> None:
        self._sockets: dict[str, SyncSocket] = {}

    def adopt(self, session_id: str, socket: SyncSocket) -> asyncio.Future[None] | None:
        """Make `socket` the owner; return the mutation that it has to wait for, if one runs."""
        previous = self._sockets.get(session_id)
        self._sockets[session_id] = socket
        if previous is None or previous is socket:
            return None
        previous.abandon_mutations()
        return previous.mutation

    def release(self, session_id: str, socket: SyncSocket) -> None:
        """Forget an owner whose socket is gone and whose mutations have ended."""
        if self._sockets.get(session_id) is socket:
            del self._sockets[session_id]


class SyncSockets:
    """All clients' sockets of one server, and what they share."""

    def __init__(self, deployment: Deployment, metrics: Metrics, drain: Drain) -> None:
        self.deployment = deployment
        self.host = deployment.host
        self.runtime = deployment.runtime
        self.queries = deployment.runtime.queries
        self.log = deployment.runtime.log
        self.metrics = metrics
        self.owners = SessionOwners()
        self._drain = drain
        self._committer = deployment.engine.committer
        self._is_new_turn = True
        #: What `moment` has returned last; for whoever is called by one who has asked.
        self.now = Moment(0, 0, 0.0)
        self._sockets: dict[SyncSocket, None] = {}
        self._heart: asyncio.Task[None] | None = None
        #: Since a user has signed in on one of them.
        self._review: asyncio.Task[None] | None = None
        #: Those for whom much is held, and how much, as the heart finds them.
        self._heavy: list[tuple[int, SyncSocket]] = []

    def opened(self, socket: SyncSocket) -> None:
        """Take in a socket that is connected."""
        self._sockets[socket] = None
        self.metrics.clients_connected += 1
        self._drain.add(socket)
        if self._heart is None:
            self._heart = self.host.spawn("heartbeat of sockets", self._beat())

    def gone(self, socket: SyncSocket) -> None:
        """Forget a socket that is not."""
        self._sockets.pop(socket, None)
        self.metrics.clients_connected -= 1
        self._drain.remove(socket)
        if not self._sockets:
            for task in (self._heart, self._review):
                if task is not None:
                    task.cancel()
            self._heart = self._review = None

    def review_tokens(self) -> None:
        """Have the tokens of sockets looked at again when other providers or keys are trusted."""
        if self._review is None:
            self._review = self.host.spawn("review of tokens", self._review_tokens())

    async def _review_tokens(self) -> None:
        verifier = self.deployment.verifier
        while True:
            seen = verifier.changes
            pause_s = limits.socket_tokens_reviewed_s
            if not await self._all_tokens_known():
                # A provider that does not answer is no reason to end anything; it is asked again.
                pause_s = limits.provider_asked_again_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await verifier.changed(seen)

    async def _all_tokens_known(self) -> bool:
        """End what goes by a token that would be refused; return whether that is known of all."""
        verifier = self.deployment.verifier
        providers = {socket.token.provider for socket in self._sockets if socket.token is not None}
        await asyncio.gather(*map(verifier.ask, providers))
        is_known = True
        for number, socket in enumerate(list(self._sockets), start=1):
            holds = True if socket.token is None else verifier.holds(socket.token)
            if holds is None:
                is_known = False
            elif not holds:
                socket.end_refused()
            if number % limits.watchers_told_per_turn == 0:
                await self.host.sleep(0)
        return is_known

    async def _beat(self) -> None:
        while True:
            await self.host.sleep(_BEAT_S)
            now_s = self.host.monotonic()
            for number, socket in enumerate(list(self._sockets), start=1):
                if socket in self._sockets:
                    socket.beat(now_s)
                    self._weigh(socket)
                if number % limits.watchers_told_per_turn == 0:
                    # Whoever waits for an answer comes in between.
                    await self.host.sleep(0)
            self._drop_heaviest()

    def _weigh(self, socket: SyncSocket) -> None:
        size = socket.held_bytes
        if size > _LIGHT_BYTES:
            self._heavy.append((size, socket))

    def _drop_heaviest(self) -> None:
        """Drop those for whom the most is held, until what is held for all is within its bound."""
        heavy, self._heavy = sorted(self._heavy, key=itemgetter(0)), []
        self.metrics.held_bytes = total = sum(size for size, _ in heavy)
        while total > limits.sockets_bytes_max:
            size, socket = heavy.pop()
            total -= size
            socket.drop(
                Overloaded(
                    f"{size} bytes are held for this client, the most of all, and for all sockets "
                    f"more than {limits.sockets_bytes_max}",
                    code="TooManyBytesHeld",
                )
            )

    def moment(self) -> Moment:
        """Return when it is now, which is one moment for all that a turn of the loop does."""
        newest_ts = self._committer.newest_ts
        if self._is_new_turn:
            self._is_new_turn = False
            asyncio.get_running_loop().call_soon(self._end_turn)
        elif self.now.newest_ts == newest_ts:
            return self.now
        self.now = Moment(newest_ts, self.host.now_ns(), self.host.monotonic())
        return self.now

    def _end_turn(self) -> None:
        self._is_new_turn = True

    # What cohorts ask: the crowd.

    def find_for_all(self, asked: _Asked, ts: Timestamp) -> QueryResult | None:
        return self.queries.find(asked[0], None, ts)

    def lands(self, asked: _Asked, cohort: Cohort) -> bool:
        return self.queries.lands(asked[0], cohort)

    def told(
        self, asked: _Asked, result: SharedResult, identities: list[Identity], since_s: float
    ) -> None:
        assert isinstance(result, QueryResult)
        moment = self.moment()
        self.metrics.transition_sent(moment.now_s, since_s, len(identities))
        self.log.answered(asked[0], Origin.SYNC_WORKER, identities, result, moment.now_ns)

    def unwatch(self, result: QueryResult, watcher: Watcher) -> None:
        self.queries.unwatch(result, watcher)


_TRY_AGAIN_LATER: Final = 1013
#: Official clients take this code (RFC 6455: going away) as no error, and reconnect.
_GOING_AWAY = Close(code=1001, reason="ServerStopping")


class SyncSocket:
    """One client's socket: the `Receiver` of its connection, and the `Shell` of its session."""

    __slots__ = (
        "_actions", "_deliveries", "_identity", "_inbox", "_is_draining", "_is_quiet", "_key_watch",
        "_mutation_path", "_mutation_since_s", "_queries_running", "_queries_waiting", "_quiet_since_s", "_sender",
        "_session", "_session_id", "_sockets", "_unsent", "_unsent_bytes", "_verifying", "_who", "mutation",
        "outlet", "token",
    )  # fmt: skip

    def __init__(self, sockets: SyncSockets, client: ClientVersion, sender: Sender) -> None:
        self._sockets = sockets
        self._sender = sender
        self.outlet: Outlet
        self._session = Session(
            shell=self, anonymous=_ANONYMOUS, understands_chunks=client.understands_chunks
        )
        self._session_id: str | None = None
        self._identity: Identity = _ANONYMOUS
        self._who = identity_key(self._identity)
        #: What the client goes by, if that is a user's token.
        self.token: VerifiedToken | None = None
        self._deliveries = Deliveries(metrics=sockets.metrics, tracing=sockets.deployment.tracing)
        #: Whether nothing was sent since the last beat, and since when nothing is.
        self._is_quiet = False
        self._quiet_since_s = sockets.host.monotonic()
        #: Frames written since the outlet is full, and bytes of the answers among them.
        self._unsent = 0
        self._unsent_bytes = 0
        self._queries_running = 0
        self._queries_waiting: list[RunQuery] = []
        self._key_watch: asyncio.Task[None] | None = None
        #: While it is found out who the client is: what it has sent meanwhile.
        self._verifying: asyncio.Task[None] | None = None
        self._inbox: list[str] = []
        #: The mutation that runs, or that a socket before this one still runs.
        self.mutation: asyncio.Future[None] | None = None
        self._mutation_since_s: float | None = None
        self._mutation_path = ""
        self._actions: set[asyncio.Task[None]] | None = None
        self._is_draining = False

    def connected(self, outlet: Outlet) -> None:
        """Take in where frames go; from now on the client's messages may come."""
        self.outlet = outlet
        self._sockets.opened(self)

    def lost(self) -> None:
        """Take in that the connection is gone."""
        for query in self._session.disconnected():
            assert isinstance(query.result, QueryResult)
            self._sockets.queries.unwatch(query.result, query)
        self._queries_waiting.clear()
        for task in (self._key_watch, self._verifying):
            if task is not None:
                task.cancel()
        self._deliveries.close()
        if self._session_id is not None:
            self._release_session(self._session_id)
        self._sockets.gone(self)

    def _release_session(self, session_id: str) -> None:
        owners = self._sockets.owners
        if self.mutation is None or self.mutation.done():
            owners.release(session_id, self)
        else:
            self.mutation.add_done_callback(lambda _: owners.release(session_id, self))

    def beat(self, now_s: float) -> None:
        """Do what has to be done from time to time."""
        self.outlet.beat(now_s)
        if self._verifying is None:
            self._end_expired(self._identity)
        if not self._is_quiet:
            self._is_quiet = True
            self._quiet_since_s = now_s
        elif now_s - self._last_sent_s() >= limits.socket_ping_s and not self.outlet.is_full:
            self._quiet_since_s = now_s
            if not self._session.is_closed:
                self.outlet.write_soon(frames.PING)
        since_s = self._mutation_since_s
        if since_s is not None and now_s - since_s > limits.mutation_s_max:
            self._mutation_since_s = None
            self._fail(
                Overloaded(
                    f"{self._mutation_path} has run for {limits.mutation_s_max} s, the most for "
                    "one mutation",
                    code="SystemTimeoutError",
                )
            )

    def _last_sent_s(self) -> float:
        return max(self._quiet_since_s, self._session.moved_s)

    # In.

    def received(self, text: str) -> None:
        if self._verifying is not None:
            self._inbox.append(text)
        elif not self._is_draining:
            self._carry_out(self._session.receive(text, self._sockets.moment()))

    @property
    def held_bytes(self) -> int:
        """Return the bytes that are kept for the client."""
        return self.outlet.held_bytes + self._session.waiting_bytes + sum(map(len, self._inbox))

    def stalled(self) -> None:
        self.drop(
            Overloaded(
                f"less than {limits.slowest_bytes_per_s} bytes a second were taken in, beyond "
                f"{limits.stalled_s_max:g} s",
                code="SlowReader",
            )
        )

    def flooded(self) -> None:
        most = self._sockets.deployment.settings.network.messages_per_s
        self.drop(
            RateLimited(
                f"more than {most} messages a second, the most for one socket; each "
                f"{1 << limits.socket_bytes_per_message_bits} bytes count as one"
            )
        )

    def drop(self, error: RequestError) -> None:
        """Close the connection of a client that takes more than it may; it may come back."""
        self._carry_out(self._session.fail(error))

    def received_binary(self) -> None:
        if self._is_draining:
            return
        msg = "a binary frame; messages are text"
        self._fail(RequestError(msg, kind=ErrorKind.BAD_REQUEST, code="WSMessageInvalidJson"))

    def has_room(self) -> None:
        if self._verifying is None:
            # Nothing happens where it was not held.
            self.outlet.release()
        self._unsent = self._unsent_bytes = 0
        moment = self._sockets.moment()
        for _ in range(self._deliveries.all_sent(moment.now_s)):
            self._session.transition_sent()
        self._carry_out(self._session.renew(moment))

    def _verify(self, message: Authenticate) -> None:
        try:
            found = self._found(message)
        except RequestError as error:
            self._not_authenticated(error)
            return
        if found is not None:
            self._authenticated(found)
            return
        # The token's provider has to be asked, and what the client sends next is by whoever it is.
        self.outlet.hold()
        self._verifying = self._sockets.host.spawn(
            "verify a token", self._verify_later(message.token or "")
        )

    async def _verify_later(self, token: str) -> None:
        found: VerifiedToken | Exception
        try:
            found = await self._sockets.deployment.verifier.verified(token)
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            found = error
        self._verifying = None
        if self._session.is_closed:
            return
        if isinstance(found, Exception):
            self._not_authenticated(found)
        else:
            self._authenticated(found)
        self._go_on()

    def _go_on(self) -> None:
        """Take in what has come while it was found out who the client is."""
        while self._inbox and self._verifying is None:
            self.received(self._inbox.pop(0))
        if self._verifying is None and not self._is_behind:
            self.outlet.release()

    @property
    def _is_behind(self) -> bool:
        """Return whether the client has to take in answers before more is taken in from it."""
        if not self.outlet.is_full:
            return False
        is_long = self._unsent >= limits.frames_unsent_max
        return is_long or self._unsent_bytes > limits.answers_held_bytes

    def _authenticated(self, found: VerifiedToken | Identity) -> None:
        identity: Identity
        if isinstance(found, VerifiedToken):
            self.token, identity = found, found.user
            self._sockets.review_tokens()
        else:
            self.token, identity = None, found
        self._watch_key(identity)
        self._identity, self._who = identity, identity_key(identity)
        self._carry_out(self._session.authenticated(identity, self._sockets.moment()))

    def _not_authenticated(self, error: Exception) -> None:
        if isinstance(error, AuthenticationFailed | BadRequest):
            self._carry_out(self._session.authentication_failed(error))
        else:
            # Such as a provider that does not answer. A client that is told that its token was refused
            # may sign its user out; so it comes back with the same one.
            self._fail(error)

    def _end_expired(self, identity: Identity) -> bool:
        """End the connection if a user's token has ended, and return whether: the client gets a new one."""
        if not isinstance(identity, User) or not identity.has_expired(self._sockets.host.now_ns()):
            return False
        self._fail(AuthenticationFailed("the token has expired", code="TokenExpired"))
        return True

    def end_refused(self) -> None:
        """End the connection: its token would be refused now. A client gets itself another one.

        One that has sent another one already is what that says.
        """
        if self._verifying is None:
            msg = "the token is accepted no more: its provider, or the key that signed it, was given up"
            self._fail(AuthenticationFailed(msg, code="TokenGivenUp"))

    def _found(self, message: Authenticate) -> VerifiedToken | Identity | None:
        """Return who the client is; None if that has to be asked."""
        if message.kind == "None":
            return _ANONYMOUS
        token = message.token or ""
        if message.kind == "User":
            return self._sockets.deployment.verifier.verified_now(token)
        identity = identity_of_admin_key(token, self._sockets.deployment.admin_keys)
        if message.acting_as is not None:
            return replace(identity, acting_as=acting_as_of(message.acting_as))
        return identity

    def _watch_key(self, identity: Identity) -> None:
        """End the connection when the key that it goes by is revoked or expires."""
        if self._key_watch is not None:
            self._key_watch.cancel()
            self._key_watch = None
        if isinstance(identity, Admin) and identity.key_id is not None:
            self._key_watch = self._sockets.host.spawn(
                "key watch", self._key_ended(identity.key_id)
            )

    async def _key_ended(self, key_id: str) -> None:
        await self._sockets.deployment.issued_keys.ended(key_id)
        msg = "the admin key was revoked or has expired"
        self._carry_out(self._session.fail(AuthenticationFailed(msg, code="BadAdminKey")))

    # Effects.

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Push():
                    self._push(effect)
                case Send():
                    self._answer(effect.frame)
                case RunMutation():
                    self._start_mutation(effect)
                case RunQuery():
                    self._queries_waiting.append(effect)
                    self._run_queries()
                case Unwatch():
                    self._sockets.queries.unwatch(effect.result, effect.query)
                case Close():
                    if effect.code == _TRY_AGAIN_LATER:
                        self._sockets.metrics.refused[effect.reason] += 1
                    self.outlet.close(effect.code, _reason(effect.reason))
                case Verify():
                    self._verify(effect.message)
                case Adopt():
                    self._session_id = effect.session_id
                    self.mutation = self._sockets.owners.adopt(effect.session_id, self)
                case RunAction():
                    self._start_action(effect)
                case Note():
                    _log.warning("a client: %s", effect.text)
                case _:
                    assert_never(effect)

    def _push(self, push: Push) -> None:
        for frame in push.frames:
            self._write(frame)
        if self.outlet.is_full:
            self._deliveries.queued()
            return
        self._deliveries.sent(self._sockets.now.now_s)
        if self._session.transition_sent():
            self._carry_out(self._session.renew(self._sockets.moment()))

    def _write(self, frame: bytes) -> None:
        outlet = self.outlet
        outlet.write_soon(frame)
        self._is_quiet = False
        if outlet.is_full:
            # A client that sends and does not read must not fill our memory with answers.
            self._unsent += 1
            if self._unsent == limits.frames_unsent_max:
                outlet.hold()

    def _answer(self, frame: bytes) -> None:
        """Write what the client has asked for, which is never left out, and so has a bound."""
        self._write(frame)
        outlet = self.outlet
        if not outlet.is_full:
            return
        self._unsent_bytes += len(frame)
        if self._unsent_bytes > limits.answers_held_bytes:
            outlet.hold()
        if self._unsent_bytes > limits.answers_unsent_bytes_max and not self._session.is_closed:
            self.drop(
                Overloaded(
                    f"{self._unsent_bytes} bytes of answers wait for this client to take them in; "
                    f"{limits.answers_unsent_bytes_max} may",
                    code="SlowReader",
                )
            )

    def abandon_mutations(self) -> None:
        """Forget mutations that have not started: another socket owns the session now."""
        self._session.abandon_mutations()

    async def drain(self) -> None:
        """Take nothing more in, let what runs end, answer it, and close.

        Clients reconnect by themselves, and send again what was not answered.
        """
        self._is_draining = True
        self._session.abandon_mutations()
        running = {*(self._actions or ()), *([] if self.mutation is None else [self.mutation])}
        if running:
            await asyncio.wait(running)
        self._carry_out([_GOING_AWAY])

    # Queries.

    def find(self, query: Subscription, ts: Timestamp) -> QueryResult | None:
        sockets, identity = self._sockets, self._identity
        asked = query.asked
        if asked is None or asked[1] is not identity:
            call = self._call(query.call, identity, "", query.journal)
            asked = query.asked = request_of(call), identity
        request: Request = asked[0]
        found = sockets.queries.find(request, self._who, ts)
        if found is None:
            return None
        if found.request is not request and found.request == request:
            # The same object for all: what is looked at for each client is then in the caches.
            query.asked = found.request, identity
        if isinstance(identity, Admin):
            try:
                check_permission(self._call(query.call, identity, "", query.journal))
            except PermissionDenied:
                # It is told when it is run.
                return None
        sockets.log.answered(request, Origin.SYNC_WORKER, [identity], found, sockets.now.now_ns)
        return found

    @property
    def crowd(self) -> SyncSockets | None:
        sockets = self._sockets
        # Admins are asked for their permission, spans are of one client each, and who takes in
        # slowly skips what others see.
        if (
            isinstance(self._identity, Admin)
            or sockets.deployment.tracing is not None
            or self.outlet.is_full
        ):
            return None
        return sockets

    def invalidated(self, since_s: float | None = None) -> None:
        self._deliveries.touched(self._sockets.moment().now_s if since_s is None else since_s)

    def broken(self, error: Exception) -> None:
        self._fail(error)

    def renew(self, at: Timestamp | None = None) -> None:
        try:
            self._carry_out(self._session.renew(self._sockets.moment(), at))
        except Exception as error:  # noqa: BLE001  # this client's, and no other's of the same push
            self._fail(error)

    def _run_queries(self) -> None:
        while self._queries_waiting and self._queries_running < limits.queries_concurrent_max:
            self._queries_running += 1
            self._run_query(self._queries_waiting.pop(0))

    def _run_query(self, effect: RunQuery) -> None:
        query = effect.query
        call = self._call(
            query.call, effect.identity, self._sockets.runtime.new_request_id(), query.journal
        )
        told = partial(self._query_ended, effect.run)
        try:
            check_permission(call)
        except PermissionDenied as error:
            denied = QueryResult(
                ts=effect.ts, packed=None, failure=_denied(error), log_lines=(), journal=None
            )
            told(denied)
            return
        with self._deliveries.running():
            who = self._who if effect.identity is self._identity else identity_key(effect.identity)
            self._sockets.queries.ask(call, request_of(call), who, effect.ts, told)

    def _query_ended(self, run: int, result: QueryResult | Exception) -> None:
        self._queries_running -= 1
        if isinstance(result, Exception):
            self._fail(result)
            return
        try:
            self._carry_out(self._session.query_finished(run, result, self._sockets.moment()))
        except Exception as error:  # noqa: BLE001  # this client's, and no other's of the same run
            self._fail(error)
        self._run_queries()

    # Mutations and actions.

    def _start_mutation(self, effect: RunMutation) -> None:
        running = self._spanned(effect, self._run_mutation(effect, self.mutation))
        self.mutation = self._sockets.host.spawn(f"mutation {effect.call.path}", running)

    def _start_action(self, effect: RunAction) -> None:
        running = self._spanned(effect, self._run_action(effect))
        action = self._sockets.host.spawn(f"action {effect.call.path}", running)
        if self._actions is None:
            self._actions = set()
        self._actions.add(action)
        action.add_done_callback(self._actions.discard)

    def _spanned(
        self, effect: RunMutation | RunAction, running: Coroutine[Any, Any, None]
    ) -> Coroutine[Any, Any, None]:
        """Return what runs, within the span of the message that asked for it if there are spans."""
        tracing = self._sockets.deployment.tracing
        if tracing is None:
            return running
        attributes = {"camber.function": effect.call.path, "network.protocol.name": "websocket"}
        span = tracing.start(
            f"sync {effect.call.path}",
            attributes,
            kind=SpanKind.SERVER,
            start_ns=effect.received_ns,
        )

        async def within() -> None:
            with tracing.within(span):
                await running
            span.end()

        return within()

    async def _run_mutation(self, effect: RunMutation, before: asyncio.Future[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
        if self._end_expired(effect.identity):
            return
        session = None
        runtime = self._sockets.runtime
        if effect.session_id is None:
            request_id = runtime.new_request_id()
        else:
            session = SessionRequest(session=effect.session_id, request=effect.request_id)
            request_id = session_request_id(session)
        self._mutation_path = effect.call.path
        self._mutation_since_s = self._sockets.host.monotonic()
        try:
            result = await runtime.mutation(
                self._call(effect.call, effect.identity, request_id, sender=self._sender),
                session=session,
                visible=self._session.mutation_visible,
            )
        # Repeating is no help while there is no room: a person is told, and queries go on.
        except (PermissionDenied, StorageFull, ScheduleFull) as error:
            result = MutationResult(ts=None, value=None, failure=_denied(error), log_lines=())
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            self._fail(error)
            return
        finally:
            self._mutation_since_s = None
        self._mutation_ended(effect.request_id, result)

    def _mutation_ended(self, request_id: int, result: MutationResult) -> None:
        failure = result.failure
        moment = self._sockets.moment()
        if failure is not None:
            effects = self._session.mutation_failed(request_id, failure, result.log_lines, moment)
        else:
            assert result.value is not None
            assert result.ts is not None
            json = encode_value(unpack(result.value))
            effects = self._session.mutation_succeeded(
                request_id, json, result.ts, result.log_lines, moment
            )
        self._carry_out(effects)

    async def _run_action(self, effect: RunAction) -> None:
        if self._end_expired(effect.identity):
            return
        request_id = self._sockets.runtime.new_request_id()
        if effect.session_id is not None:
            request_id = session_request_id(
                SessionRequest(session=effect.session_id, request=effect.request_id)
            )
        try:
            call = self._call(effect.call, effect.identity, request_id, sender=self._sender)
            result = await self._sockets.runtime.action(call)
        except PermissionDenied as error:
            result = ActionResult(value=None, failure=_denied(error), log_lines=())
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            self._fail(error)
            return
        failure = result.failure
        moment = self._sockets.moment()
        if failure is not None:
            effects = self._session.action_failed(
                effect.request_id, failure, result.log_lines, moment
            )
        else:
            assert result.value is not None
            json = encode_value(unpack(result.value))
            effects = self._session.action_succeeded(
                effect.request_id, json, result.log_lines, moment
            )
        self._carry_out(effects)

    def _call(
        self,
        call: Call,
        identity: Identity,
        request_id: str,
        journal: str | None = None,
        # Queries have none: others are given their results too.
        sender: Sender | None = None,
    ) -> FunctionCall:
        return FunctionCall(
            path=call.path,
            arguments=call.arguments,
            arguments_error=call.arguments_error,
            identity=identity,
            caller=caller_of(identity),
            origin=Origin.SYNC_WORKER,
            client=self._session_id or "",
            sender=sender,
            request_id=request_id,
            component=call.component_path if isinstance(identity, Admin) else "",
            journal=journal,
        )

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, RequestError):
            _log.error("a client's request met a bug", exc_info=error)
            msg = "the server failed; its output says why"
            error = RequestError(msg, code="InternalServerError")
        self._carry_out(self._session.fail(error))


def _denied(error: PermissionDenied | StorageFull | ScheduleFull) -> Failure:
    """Return the failure of one function while the others go on."""
    return Failure(message=error.sentence, data=None, headline=error.sentence)


def _reason(reason: str) -> str:
    return reason.encode()[: limits.close_reason_bytes_max].decode(errors="ignore")
