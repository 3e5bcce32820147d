"""Clients that watch queries while others write, and what each was shown, moment by moment.

A client is a real socket's state machine and shell, without the wire: frames go into a list, from
which the client takes them when it is its turn. After each Transition it notes all that it shows;
the judge runs every query again on the model, as of the Transition's timestamp.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from camber.runtime.executor import Sender
from camber.server.client_version import UNKNOWN
from camber.server.draining import Drain
from camber.server.metrics import Metrics
from camber.server.sync_socket import SyncSocket, SyncSockets
from camber.sync.frames import text_of as text_of_frame
from camber.values.value import canonical
from camber.values.wire import encode_value
from tests.proofs.judging import Attempt, Judge, Program
from tests.proofs.model import END, Model, Refused, is_accepted
from tests.proofs.operations import OPERATIONS, Replaying
from tests.proofs.plain import from_json, same
from tests.proofs.serving import ISSUER, Answer, Serving, token_of
from tests.sync.client import Books, text_of, ts_of

#: Frames that a client may leave lying before its outlet is full.
_ROOM = 2


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One query of a client: a program that reads, or a page of a query."""

    id: int
    program: Program | None = None
    ids: list[str] = field(default_factory=list)
    page: dict[str, Any] | None = None
    cursor: str | None = None
    end: str | None = None

    def call(self, serving: Serving) -> dict[str, Any]:
        """Return what a client asks for."""
        if self.program is not None:
            arguments = serving.arguments(self.program, self.ids)
            return {"udfPath": "programs:read", "args": [in_json(arguments)]}
        assert self.page is not None
        options: dict[str, Any] = {"numItems": self.page["items"], "cursor": self.cursor}
        if self.end is not None:
            options["endCursor"] = self.end
        told: dict[str, Any] = {"spec": self.page["query"], "paginationOpts": options}
        return {"udfPath": "programs:page", "args": [in_json(told)]}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a client shows after a Transition: of each query a result, all of one moment."""

    ts: int
    who: str | None
    results: list[tuple[Watched, Any, str | None, str | None]]
    #: The pages of a list that it scrolls through, in order, if all are there.
    scrolled: list[Watched]


class Connection(Protocol):
    """A connection to a server, which a client has opened."""

    def received(self, text: str) -> None:
        """Take in a message of the client's."""

    def has_room(self) -> None:
        """Take in that the client has taken in all that lay there."""

    def lost(self) -> None:
        """Take in that the client is gone."""


class Client:
    """One client: does what it is told, one thing after another, and takes in what it is sent."""

    def __init__(
        self, serving: Serving, connecting: Callable[[Client], Connection], commands: list[Any]
    ) -> None:
        self.shown: list[Shown] = []
        self._serving = serving
        self._connecting = connecting
        self._commands = list(commands)
        self._session = str(uuid.UUID(int=len(serving.sessions) + 1, version=4))
        serving.sessions.append(self._session)
        self._queries: dict[int, Watched] = {}
        self._list: list[Watched] = []
        self._halves: tuple[Watched, Watched, Watched] | None = None
        self._next_id = 0
        self._who: str | None = None
        self._token_type = "None"
        self._requests: dict[int, tuple[Program, list[str], int]] = {}
        self._unanswered: dict[int, dict[str, Any]] = {}
        self._journals: dict[int, str | None] = {}
        #: The result of each program, and what its pages were pinned by when it came.
        self._came: dict[int, tuple[Any, str | None]] = {}
        self._sent_again: set[int] = set()
        self._newest_seen = 0
        self._connect()

    # The connection.

    def _connect(self) -> None:
        self.books = Books()
        self._frames: list[str] = []
        self.is_full = False
        self._closed: str | None = None
        self._sets: dict[int, dict[int, Watched]] = {0: {}}
        self._whos: dict[int, str | None] = {0: None}
        self._connection = self._connecting(self)
        self._send(
            type="Connect",
            sessionId=self._session,
            connectionCount=0,
            lastCloseReason="InitialConnect",
            maxObservedTimestamp=text_of(self._newest_seen),
            clientTs=0,
        )
        if self._who is not None:
            self._authenticate()
        self._modify(list(self._queries.values()), [])
        self._sent_again |= self._unanswered.keys()
        for message in self._unanswered.values():
            self._send(**message)

    def _send(self, **message: Any) -> None:
        self._connection.received(json.dumps(message))

    def arrived(self, text: str) -> None:
        """Let a message lie until it is taken in."""
        self._frames.append(text)

    # As an outlet, for sockets that have no wire.

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._frames))

    def write(self, frame: bytes) -> None:
        self.arrived(text_of_frame(frame).decode())
        self.is_full = self.is_full or len(self._frames) > _ROOM

    def write_soon(self, frame: bytes) -> None:
        self.write(frame)

    def close(self, code: int, reason: str) -> None:
        self._closed = f"{code} {reason}"

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def beat(self, now_s: float) -> None: ...

    # What it may do.

    @property
    def possible(self) -> list[Callable[[], None]]:
        if self._closed is not None and not self._frames:
            return [self._reconnect]
        found: list[Callable[[], None]] = [self._take_in] if self._frames else []
        return [*found, self._act] if self._commands else found

    @property
    def is_answered(self) -> bool:
        is_shown = self.books.version["querySet"] == max(self._sets)
        return is_shown and not self._commands and not self._unanswered and not self._frames

    def look_again(self) -> None:
        """Ask for a Transition, which is to what is newest by now."""
        self._modify([], [])

    def _reconnect(self) -> None:
        self._connection.lost()
        self._connect()

    def _act(self) -> None:
        kind, *told = self._commands.pop(0)
        getattr(self, f"_{kind}")(*told)

    def _watch(self, program: Program) -> None:
        self._add(program=program, ids=self._serving.ids[:3])

    def _scroll(self, page: dict[str, Any]) -> None:
        """Begin a list, page by page; there is one at a time."""
        if not self._list:
            self._list = [self._add(page=page)]

    def _more(self) -> None:
        last = self._result(self._list[-1]) if self._list else None
        if self._halves is None and isinstance(last, dict) and not last["isDone"]:
            page = self._list[-1].page
            self._list.append(self._add(page=page, cursor=last["continueCursor"]))

    def _split(self, at: int) -> None:
        if self._halves is not None or not self._list:
            return
        whole = self._list[at % len(self._list)]
        result = self._result(whole)
        if isinstance(result, dict) and result["splitCursor"] is not None:
            middle = result["splitCursor"]
            self._halves = (
                whole,
                self._add(page=whole.page, cursor=whole.cursor, end=middle),
                self._add(page=whole.page, cursor=middle, end=result["continueCursor"]),
            )

    def _forget(self, at: int) -> None:
        others = [each for each in self._queries.values() if each.program is not None]
        if others:
            self._remove(others[at % len(others)])

    def _do(self, program: Program) -> None:
        request = len(self._requests)
        ids = list(self._serving.ids)
        self._requests[request] = (replace(program, who=self._who), ids, self._serving.newest_ts)
        path = "programs:write_and_fail" if program.raises else "programs:write"
        arguments = self._serving.arguments(program, ids)
        message = {"type": "Mutation", "requestId": request, "udfPath": path}
        self._unanswered[request] = {**message, "args": [in_json(arguments)]}
        self._send(**self._unanswered[request])

    def _become(self, who: str | None, token_type: str) -> None:
        # Who a mutation was sent for is not told again when it is sent again.
        if not self._unanswered:
            self._who, self._token_type = who, token_type
            self._authenticate()

    def _authenticate(self) -> None:
        version = max(self._whos)
        self._whos[version + 1] = self._who
        told: dict[str, Any] = {}
        if self._token_type == "User":
            assert self._who is not None
            told = {"value": token_of(self._who)}
        elif self._token_type == "Admin":
            user = {"tokenIdentifier": f"{ISSUER}|{self._who}", "subject": self._who}
            key = self._serving.deployment.admin_keys.key
            told = {"value": key, "acting_as": {**user, "issuer": ISSUER}}
        self._send(type="Authenticate", baseVersion=version, tokenType=self._token_type, **told)

    def _drop(self) -> None:
        """The connection is lost, with all that was on its way."""
        self._reconnect()

    # Query sets.

    def _add(self, **what: Any) -> Watched:
        query = Watched(id=self._next_id, **what)
        self._next_id += 1
        self._queries[query.id] = query
        self._modify([query], [])
        return query

    def _remove(self, *queries: Watched) -> None:
        for query in queries:
            del self._queries[query.id]
        self._modify([], list(queries))

    def _modify(self, added: list[Watched], removed: list[Watched]) -> None:
        version = max(self._sets)
        self._sets[version + 1] = dict(self._queries)
        changes: list[dict[str, Any]] = [
            {
                "type": "Add",
                "queryId": each.id,
                "journal": self._journals.get(each.id),
                **each.call(self._serving),
            }
            for each in added
        ]
        changes += [{"type": "Remove", "queryId": each.id} for each in removed]
        self._send(
            type="ModifyQuerySet",
            baseVersion=version,
            newVersion=version + 1,
            modifications=changes,
        )

    def _result(self, query: Watched) -> Any:
        return self.books.results.get(query.id)

    # What comes in.

    def _take_in(self) -> None:
        before = self.books.transitions
        self.books.receive(self._frames.pop(0))
        assert self.books.fatal is None, self.books.fatal
        assert self.books.auth_error is None, self.books.auth_error
        for request in [each for each in self._unanswered if each in self.books.responses]:
            del self._unanswered[request]
            self._check_order(request)
            self._answered(request, self.books.responses[request])
        if self.books.transitions > before:
            self._note()
            self._swap()
        if self.is_full and not self._frames:
            self.is_full = False
            self._connection.has_room()

    def _check_order(self, request: int) -> None:
        """A response comes before what shows its commit, unless it was sent for once more."""
        response = self.books.responses[request]
        if response["success"] and request not in self._sent_again:
            assert ts_of(response["ts"]) > ts_of(self.books.version["ts"]), "shown before told"

    def _note(self) -> None:
        version = self.books.version
        queries = self._sets[version["querySet"]]
        assert set(self.books.results) == set(queries), "not the results of the query set"
        ts = ts_of(version["ts"])
        assert ts >= self._newest_seen, "time goes back for a client"
        self._newest_seen = ts
        results = []
        for id_, query in queries.items():
            shown, journal = self.books.results[id_], self.books.journals[id_]
            given = self._journals.get(id_)
            if query.program is not None:
                # It stands as it came until it comes anew.
                came, given_then = self._came.get(id_, (None, None))
                given = given_then if came is shown else given
                self._came[id_] = (shown, given)
            results.append((query, shown, given, journal))
            self._journals[id_] = journal
        complete = all(isinstance(self._result(each), dict) for each in self._list)
        listed = all(each.id in queries for each in self._list)
        scrolled = list(self._list) if complete and listed else []
        who = self._whos[version["identity"]]
        self.shown.append(Shown(ts=ts, who=who, results=results, scrolled=scrolled))

    def _swap(self) -> None:
        """Take two halves for a page as soon as both are there."""
        if self._halves is None:
            return
        whole, *halves = self._halves
        if all(isinstance(self._result(half), dict) for half in halves):
            at = self._list.index(whole)
            self._list[at : at + 1] = halves
            self._halves = None
            self._remove(whole)

    def _answered(self, request: int, response: dict[str, Any]) -> None:
        program, ids, before = self._requests[request]
        attempt = Attempt(
            source=f"request {request} of {self._session}",
            program=program,
            begin_ts=0,
            ids=ids,
            pages=[],
            ids_known=[],
            pages_known=[],
        )
        if response["success"]:
            attempt.seen = from_json(response["result"])
            answer = Answer(
                attempt=attempt, ts=ts_of(response["ts"]), request=(self._session, request)
            )
        else:
            assert program.raises, response
            attempt.seen = from_json(response["errorData"]["seen"])
            between = (before, self._serving.newest_ts)
            answer = Answer(attempt=attempt, ts=0, failed_between=between)
        self._serving.answered.append(answer)

    def leave(self) -> None:
        """Close the connection."""
        self._connection.lost()


def in_json(value: Any) -> Any:
    return json.loads(encode_value(canonical(value)))


async def watch(serving: Serving, scripts: list[list[Any]]) -> list[Client]:
    """Let clients do what their scripts say, and take in all that comes of it."""
    metrics = Metrics()
    sockets = SyncSockets(serving.deployment, metrics, Drain(serving.host))

    def connecting(client: Client) -> Connection:
        socket = SyncSocket(sockets, UNKNOWN, Sender(ip=None, user_agent=None))
        socket.connected(client)
        return socket

    clients = [Client(serving, connecting, script) for script in scripts]
    await serving.run(clients)
    for client in clients:
        client.leave()
    await asyncio.sleep(0)
    return clients


def judge_shown(judge: Judge, clients: list[Client], newest_ts: int) -> None:
    """Hold what clients were shown against every query run afresh, at that very moment."""
    for client in clients:
        for shown in client.shown:
            state = judge.at(shown.ts)
            for query, result, journal, next_journal in shown.results:
                _judge_result(judge, query, result, journal, next_journal, shown, state)
            _judge_list(judge, shown)
        if client.shown:
            _judge_rest(judge, client, newest_ts)


def _judge_result(
    judge: Judge,
    query: Watched,
    result: Any,
    journal: str | None,
    next_journal: str | None,
    shown: Shown,
    state: Any,
) -> None:
    if query.program is not None:
        attempt = Attempt(
            source=f"query {query.id} at {shown.ts}",
            program=replace(query.program, who=shown.who),
            begin_ts=0,
            ids=query.ids,
            pages=[],
            ids_known=[],
            pages_known=[],
            seen=from_json(result),
            journals_given=_parts(journal),
            journals_made=_parts(next_journal),
        )
        # Run again, its pages end where they ended; what comes of it may be the same, and not sent.
        again = replace(attempt, journals_given=attempt.journals_made)
        scored = judge.until(shown.ts)
        if not judge.explains(attempt, state, scored=scored):
            judge.replay(again, state, scored=scored)
        return
    model = Model(state, judge.cursors, born_after=0.0, scored=judge.until(shown.ts))
    expected, found = _page_at(model, query, result, journal, next_journal)
    assert same(expected, found), (
        f"query {query.id} at {shown.ts}: {query.page}\n shows {found}\n not   {expected}"
    )


def _parts(journal: str | None) -> list[str]:
    """Return the journals of the pages that a query has read, in their order."""
    return [] if journal is None else journal.split(",")


def _page_at(
    model: Model, query: Watched, result: Any, journal: str | None, next_journal: str | None
) -> tuple[Any, Any]:
    assert query.page is not None
    known = {
        "query": query.page["query"],
        "cursor": query.cursor,
        "end": query.end if query.end is not None else query.cursor,
        "split": None,
        "journal": journal,
    }
    if query.end is not None:
        mode = "whole"
    elif journal is not None:
        mode = "again"
    else:
        mode = "first" if query.cursor is None else "next"
    told = {**query.page, "mode": mode, "page": 0, "rows_max": None}
    if isinstance(result, dict):
        found = {**from_json(result), "journal": next_journal}
    else:
        found = from_json(result[2]) or result[1]
    try:
        return OPERATIONS["page"].on_model(Replaying(model, [], [known]), told, found), found
    except Refused as refused:
        return {"isConvexSystemError": True, "paginationError": refused.code}, found


def _judge_list(judge: Judge, shown: Shown) -> None:
    """The pages of a list, one after another, are what there is, up to where they end."""
    if not shown.scrolled:
        return
    results = {query.id: result for query, result, *_ in shown.results}
    pages = [from_json(results[query.id]) for query in shown.scrolled]
    spec = shown.scrolled[0].page
    assert spec is not None
    listed = [document for page in pages for document in page["page"]]
    may_be = [
        everything if pages[-1]["isDone"] else everything[: len(listed)]
        for everything in _everything(judge, spec["query"], pages[0]["continueCursor"], shown)
    ]
    assert any(same(listed, wanted) for wanted in may_be), (
        f"a gap or a duplicate at {shown.ts}: {listed}, not {may_be[0]}"
    )


def _everything(judge: Judge, query: dict[str, Any], first_end: str, shown: Shown) -> list[Any]:
    """Return all that a query finds; of a search, by whatever scores its pages may have."""
    scored = judge.until(shown.ts)
    model = Model(judge.at(shown.ts), judge.cursors, born_after=0.0, scored=scored)
    if "search" not in query:
        return [model.accepted(query)]
    _, position = judge.cursors.positions[first_end]
    places = [] if position == END else [statistics for statistics, _ in position]
    return [
        [document for _, document in model.ranked(query, each) if is_accepted(query, document)]
        for each in places or model.statistics(query)
    ]


def _judge_rest(judge: Judge, client: Client, newest_ts: int) -> None:
    """After quiet nobody is stale: what is shown last is what there is now."""
    last = client.shown[-1]
    before, now = judge.at(last.ts), judge.at(newest_ts)
    if same(before, now):
        return
    at_rest = replace(last, ts=newest_ts)
    for query, result, _, journal in last.results:
        _judge_result(judge, query, result, journal, journal, at_rest, now)
