"""The shell around a session's state machine: one WebSocket, and the tasks it starts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Any, assert_never

from msgspec.structs import replace
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import (
    AuthenticationFailed,
    ErrorKind,
    Overloaded,
    PermissionDenied,
    RequestError,
    StorageFull,
)
from camber.identity.authorization import (
    acting_as_of,
    identity_of_admin_key,
    identity_of_token,
)
from camber.identity.identity import Admin, Anonymous, Identity
from camber.runtime.executor import FunctionCall, Origin, SessionRequest
from camber.runtime.results import ActionResult, Failure, MutationResult, QueryResult
from camber.runtime.runtime import session_request_id
from camber.server.client_version import ClientVersion
from camber.server.deliveries import Deliveries
from camber.server.http_api import caller_of
from camber.server.metrics import Metrics
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
    Unwatch,
    Verify,
    Watch,
)
from camber.sync.messages import Authenticate, Call
from camber.sync.session import Moment, Session
from camber.tracing import SpanKind
from camber.values.packed import unpack
from camber.values.wire import encode_value

_log = logging.getLogger("camber.sync")


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


#: Official clients take this code (RFC 6455: going away) as no error, and reconnect.
_GOING_AWAY = Close(code=1001, reason="ServerStopping")


class _QueryWatcher:
    """Tells a socket that one of its queries is stale."""

    __slots__ = ("_socket", "result")

    def __init__(self, socket: SyncSocket, result: QueryResult) -> None:
        self._socket = socket
        self.result = result

    def invalidated(self, result: QueryResult) -> None:
        """Note that the result does not hold any more."""
        del result
        self._socket.invalidated()


class SyncSocket:
    """One client's WebSocket."""

    def __init__(
        self,
        *,
        websocket: WebSocket,
        deployment: Deployment,
        owners: SessionOwners,
        metrics: Metrics,
        client: ClientVersion,
    ) -> None:
        self._websocket = websocket
        self._deployment = deployment
        self._host = deployment.host
        self._runtime = deployment.runtime
        self._owners = owners
        self._metrics = metrics
        self._session = Session(anonymous=Anonymous(), understands_chunks=client.understands_chunks)
        self._session_id: str | None = None
        self._outbox: deque[Send | Close] = deque()
        self._outbox_filled = asyncio.Event()
        self._outbox_has_room = asyncio.Event()
        self._outbox_has_room.set()
        self._watchers: dict[int, _QueryWatcher] = {}
        self._queries_running = asyncio.Semaphore(limits.queries_concurrent_max)
        self._last_sent = self._host.monotonic()
        self._advance_scheduled = False
        self._tracing = deployment.tracing
        self._deliveries = Deliveries(host=self._host, metrics=metrics, tracing=self._tracing)
        self._key_watch: asyncio.Task[None] | None = None
        #: The mutation that runs, or that a socket before this one still runs.
        self.mutation: asyncio.Future[None] | None = None
        self._actions: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def serve(self) -> None:
        """Talk to the client until the socket is gone."""
        await self._websocket.accept()
        self._metrics.clients_connected += 1
        writer = self._host.spawn("socket writer", self._write())
        pinger = self._host.spawn("socket pinger", self._ping())
        try:
            await self._read()
        finally:
            self._metrics.clients_connected -= 1
            self._session.disconnected()
            for query_id in list(self._watchers):
                self._unwatch(query_id)
            pinger.cancel()
            if self._key_watch is not None:
                self._key_watch.cancel()
            if self._websocket.client_state is WebSocketState.DISCONNECTED:
                writer.cancel()
            await asyncio.gather(writer, pinger, return_exceptions=True)
            self._deliveries.close()
            if self._session_id is not None:
                self._release_session(self._session_id)

    def _release_session(self, session_id: str) -> None:
        if self.mutation is None or self.mutation.done():
            self._owners.release(session_id, self)
        else:
            self.mutation.add_done_callback(lambda _: self._owners.release(session_id, self))

    # In.

    async def _read(self) -> None:
        while True:
            try:
                message = await self._websocket.receive()
            except (WebSocketDisconnect, RuntimeError):
                return
            if message["type"] == "websocket.disconnect":
                return
            if self._session.is_closed or self._is_draining:
                continue
            # A client that sends and does not read must not fill our memory with answers.
            await self._outbox_has_room.wait()
            text = message.get("text")
            if text is None:
                error = RequestError(
                    "a binary frame; messages are text",
                    kind=ErrorKind.BAD_REQUEST,
                    code="WSMessageInvalidJson",
                )
                self._carry_out(self._session.fail(error))
                continue
            for effect in self._session.receive(text, self._moment()):
                if isinstance(effect, Verify):
                    # Nothing else is taken in before it is known who sends it.
                    await self._verify(effect.message)
                else:
                    self._carry_out([effect])

    async def _verify(self, message: Authenticate) -> None:
        try:
            identity = self._identity(message)
        except RequestError as error:
            self._carry_out(self._session.authentication_failed(error))
        else:
            self._watch_key(identity)
            self._carry_out(self._session.authenticated(identity, self._moment()))

    def _identity(self, message: Authenticate) -> Identity:
        if message.kind == "None":
            return Anonymous()
        token = message.token or ""
        if message.kind == "User":
            return identity_of_token(token)
        identity = identity_of_admin_key(token, self._deployment.admin_keys)
        if message.acting_as is not None:
            return replace(identity, acting_as=acting_as_of(message.acting_as))
        return identity

    def _watch_key(self, identity: Identity) -> None:
        """End the connection when the key that it goes by is revoked or expires."""
        if self._key_watch is not None:
            self._key_watch.cancel()
            self._key_watch = None
        if isinstance(identity, Admin) and identity.key_id is not None:
            self._key_watch = self._host.spawn("key watch", self._key_ended(identity.key_id))

    async def _key_ended(self, key_id: str) -> None:
        await self._deployment.issued_keys.ended(key_id)
        msg = "the admin key was revoked or has expired"
        self._carry_out(self._session.fail(AuthenticationFailed(msg, code="BadAdminKey")))

    def _moment(self) -> Moment:
        return Moment(self._runtime.newest_ts, self._host.now_ns())

    # Effects.

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send() | Close():
                    if isinstance(effect, Send) and effect.is_transition:
                        self._deliveries.queued()
                    self._outbox.append(effect)
                    self._outbox_filled.set()
                    if len(self._outbox) >= limits.frames_unsent_max:
                        self._outbox_has_room.clear()
                case RunQuery():
                    with self._deliveries.running():
                        self._host.spawn(f"query {effect.call.path}", self._run_query(effect))
                case RunMutation():
                    self._start_mutation(effect)
                case RunAction():
                    running = self._spanned(effect, self._run_action(effect))
                    action = self._host.spawn(f"action {effect.call.path}", running)
                    self._actions.add(action)
                    action.add_done_callback(self._actions.discard)
                case Watch():
                    self._watch(effect)
                case Unwatch():
                    self._unwatch(effect.query_id)
                case Adopt():
                    self._session_id = effect.session_id
                    self.mutation = self._owners.adopt(effect.session_id, self)
                case Note():
                    _log.warning("a client: %s", effect.text)
                case Verify():
                    msg = "only _read verifies, since it must wait"
                    raise AssertionError(msg)
                case _:
                    assert_never(effect)

    def _watch(self, effect: Watch) -> None:
        self._unwatch(effect.query_id)
        watcher = _QueryWatcher(self, effect.result)
        self._watchers[effect.query_id] = watcher
        self._runtime.queries.watch(effect.result, watcher)

    def _unwatch(self, query_id: int) -> None:
        watcher = self._watchers.pop(query_id, None)
        if watcher is not None:
            self._runtime.queries.unwatch(watcher.result, watcher)

    def invalidated(self) -> None:
        """Take in that a result is stale; those of one commit are taken in together."""
        if not self._advance_scheduled:
            self._advance_scheduled = True
            self._deliveries.touched()
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        self._advance_scheduled = False
        self._carry_out(self._session.invalidated(self._moment()))

    def abandon_mutations(self) -> None:
        """Forget mutations that have not started: another socket owns the session now."""
        self._session.abandon_mutations()

    async def drain(self) -> None:
        """Take nothing more in, let what runs end, answer it, and close.

        Clients reconnect by themselves, and send again what was not answered.
        """
        self._is_draining = True
        self._session.abandon_mutations()
        running = {*self._actions, *([] if self.mutation is None else [self.mutation])}
        if running:
            await asyncio.wait(running)
        self._carry_out([_GOING_AWAY])

    # What runs.

    async def _run_query(self, effect: RunQuery) -> None:
        try:
            async with self._queries_running:
                request_id = self._runtime.new_request_id()
                call = self._call(effect.call, effect.identity, request_id, effect.journal)
                result = await self._runtime.query(call, ts=effect.ts)
        except PermissionDenied as error:
            result = QueryResult(
                ts=effect.ts, packed=None, failure=_denied(error), log_lines=(), journal=None
            )
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            self._fail(error)
            return
        self._carry_out(self._session.query_finished(effect.run, result, self._moment()))

    def _start_mutation(self, effect: RunMutation) -> None:
        before = self.mutation
        running = self._spanned(effect, self._run_mutation(effect, before))
        self.mutation = self._host.spawn(f"mutation {effect.call.path}", running)

    def _spanned(
        self, effect: RunMutation | RunAction, running: Coroutine[Any, Any, None]
    ) -> Coroutine[Any, Any, None]:
        """Return what runs, within the span of the message that asked for it if there are spans."""
        tracing = self._tracing
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
        session = None
        request_id = self._runtime.new_request_id()
        if effect.session_id is not None:
            session = SessionRequest(session=effect.session_id, request=effect.request_id)
            request_id = session_request_id(session)
        running = self._host.spawn(
            "mutation",
            self._runtime.mutation(
                self._call(effect.call, effect.identity, request_id),
                session=session,
                visible=self._session.mutation_visible,
            ),
        )
        try:
            result = await self._within_limit(running, effect.call.path)
        # Repeating is no help while the disk is full: a person is told, and queries go on.
        except (PermissionDenied, StorageFull) as error:
            result = MutationResult(ts=None, value=None, failure=_denied(error), log_lines=())
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            self._fail(error)
            # Nobody else of this session may start before it has ended.
            await asyncio.wait([running])
            return
        self._mutation_ended(effect.request_id, result)

    async def _within_limit(
        self, running: asyncio.Task[MutationResult], path: str
    ) -> MutationResult:
        done, _ = await asyncio.wait([running], timeout=limits.mutation_s_max)
        if not done:
            raise Overloaded(
                f"{path} has run for {limits.mutation_s_max} s, the most for one mutation",
                code="SystemTimeoutError",
            )
        return running.result()

    def _mutation_ended(self, request_id: int, result: MutationResult) -> None:
        failure = result.failure
        moment = self._moment()
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
        request_id = self._runtime.new_request_id()
        if effect.session_id is not None:
            request_id = session_request_id(
                SessionRequest(session=effect.session_id, request=effect.request_id)
            )
        try:
            call = self._call(effect.call, effect.identity, request_id)
            result = await self._runtime.action(call)
        except PermissionDenied as error:
            result = ActionResult(value=None, failure=_denied(error), log_lines=())
        except Exception as error:  # noqa: BLE001  # told to the client, and logged if it is ours
            self._fail(error)
            return
        failure = result.failure
        moment = self._moment()
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
        self, call: Call, identity: Identity, request_id: str, journal: str | None = None
    ) -> FunctionCall:
        return FunctionCall(
            path=call.path,
            arguments=call.arguments,
            arguments_error=call.arguments_error,
            identity=identity,
            caller=caller_of(identity),
            origin=Origin.SYNC_WORKER,
            request_id=request_id,
            component_path=call.component_path if isinstance(identity, Admin) else "",
            journal=journal,
        )

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, RequestError):
            _log.error("a client's request met a bug", exc_info=error)
            msg = "the server failed; its output says why"
            error = RequestError(msg, code="InternalServerError")
        self._carry_out(self._session.fail(error))

    # Out.

    async def _write(self) -> None:
        while True:
            await self._outbox_filled.wait()
            self._outbox_filled.clear()
            while self._outbox:
                item = self._outbox.popleft()
                self._outbox_has_room.set()
                if isinstance(item, Close):
                    await _quietly(self._websocket.close(item.code, _reason(item.reason)))
                    return
                if not await self._send(item):
                    self._outbox_has_room.set()
                    return

    async def _send(self, item: Send) -> bool:
        """Send frames; return whether the socket is still there."""
        for frame in item.frames:
            try:
                await self._websocket.send_text(frame.decode())
            except (WebSocketDisconnect, RuntimeError):
                return False
        self._last_sent = self._host.monotonic()
        if item.is_transition:
            self._deliveries.sent(self._last_sent)
            self._carry_out(self._session.transition_sent(self._moment()))
        return True

    async def _ping(self) -> None:
        while True:
            silent = self._host.monotonic() - self._last_sent
            if silent < limits.socket_ping_s:
                await self._host.sleep(limits.socket_ping_s - silent)
                continue
            self._last_sent = self._host.monotonic()
            if not self._outbox:
                self._carry_out([Send(frames=(frames.PING,))])


def _denied(error: PermissionDenied | StorageFull) -> Failure:
    """Return the failure of one function while the others go on."""
    return Failure(message=error.sentence, data=None, headline=error.sentence)


def _reason(reason: str) -> str:
    return reason.encode()[: limits.close_reason_bytes_max].decode(errors="ignore")


async def _quietly(closing: Awaitable[None]) -> None:
    """Close a socket that may be gone already: then there is nobody to tell."""
    try:
        await closing
    except (WebSocketDisconnect, RuntimeError):
        return
